"""What several trainings say about experts, in plain words, from the numbers alone."""

import numpy as np
import pandas as pd

__all__ = ["expert_words"]

_CHANGE = 0.02  # of a similarity, below which nobody should speak of a change
_DROP = 0.001  # of AUC
_LEARNED = 0.75  # of AUC, below which experts have learned no task to share
_CEILING = 0.9995  # of AUC, from which on nothing can be seen to matter
_OF_LARGEST = ("token_entropy", "mean_entropy", "information_patch", "information_class")
_MEASURES = {"experts_cka": "CKA", "experts_cosine": "cosine"}
_COURSES = {1: "experts become alike", -1: "experts part", 0: "they take no common course"}


def expert_words(seeds: pd.DataFrame, epochs: pd.DataFrame) -> tuple[str, ...]:
    """Return the verdict; of seeds that learned the task, since the experts of others have nothing to share.

    Parameters
    ----------
    seeds
        One row per seed: ``seed``, ``auc``, ``dead``, ``token_entropy``, ``information_class`` and so on.
    epochs
        One row per seed and epoch: ``experts_cka``, ``experts_cosine``; epoch 0 is before training.
    """
    learned = seeds[seeds["auc"] >= _LEARNED]
    unlearned = _unlearned(seeds[seeds["auc"] < _LEARNED])
    if learned.empty:
        return (f"{unlearned} What experts do in them says nothing: train longer, or on more images.",)
    epochs = epochs[epochs["seed"].isin(learned["seed"])]
    words = (unlearned, *_courses(epochs), _work(learned), _removed(learned))
    return tuple(sentence for sentence in words if sentence)


def _unlearned(seeds: pd.DataFrame) -> str:
    if seeds.empty:
        return ""
    listed = ", ".join(f"{row['seed']} ({row['auc']:.4f})" for row in seeds.to_dict("records"))
    return f"Not learned the task, by AUC below {_LEARNED}, have the networks of seeds {listed}."


def _courses(epochs: pd.DataFrame) -> tuple[str, ...]:
    """Return what either measure says, and what both say together."""
    told, signs = [], {}
    for name, words in _MEASURES.items():
        sentence, signs[name] = _course(epochs, name, words)
        told.append(sentence)
    if epochs["epoch"].max() < 2:
        told.append("After one epoch nothing can be said of what becomes of experts that are trained longer.")
    else:
        told.append(_together(signs["experts_cka"], signs["experts_cosine"]))
    return tuple(told)


def _course(epochs: pd.DataFrame, name: str, words: str) -> tuple[str, int]:
    """Return one measure's course, and whether it rises (1), falls (-1) or neither in most seeds."""
    first, early, last = [], [], []
    for _, part in epochs.groupby("seed"):
        line = part.sort_values("epoch")[name].to_numpy(np.float64)
        first.append(line[0])
        early.append(line[1] if len(line) > 1 else line[0])
        last.append(line[-1])
    n, change = len(last), np.subtract(last, early)
    rose, fell = int((change > _CHANGE).sum()), int((change < -_CHANGE).sum())
    longest = int(epochs["epoch"].max())
    start = (
        f"Similarity of experts by {words}: {np.mean(first):.3f} before training, {np.mean(early):.3f} after the first "
        "epoch"
    )
    seeds = f"(means of {n} seed{'s' if n > 1 else ''})"
    if longest < 2:
        return f"{start} {seeds}.", 0
    most = max(1, int(np.ceil(0.8 * n)))
    course = f"{start}, {np.mean(last):.3f} after {longest} {seeds}; "
    course += f"it rose by more than {_CHANGE} in {rose} of them and fell in {fell}."
    return course, int(rose >= most) - int(fell >= most)


def _together(by_cka: int, by_cosine: int) -> str:
    """Return one verdict of both: CKA compares which tokens experts tell apart, the cosine what they answer."""
    claim = "that experts become alike when trained longer"
    if by_cka == by_cosine:
        verdict = {1: "is borne out", -1: "is refuted", 0: "is not borne out"}[by_cka]
        return f"Together: by both measures {_COURSES[by_cka]}; {claim} {verdict}."
    aside = ""
    if (by_cka, by_cosine) == (1, 0):
        aside = ": they come to tell the same tokens apart, without coming to give the same answers"
    return (
        f"Together: by CKA {_COURSES[by_cka]}, by cosine {_COURSES[by_cosine]}{aside}; {claim} is borne out by "
        f"{'one measure of two' if 1 in (by_cka, by_cosine) else 'neither'}, which is no confirmation."
    )


def _work(seeds: pd.DataFrame) -> str:
    n = sum(name.startswith("load_") for name in seeds.columns)
    share = {name: f"{100 * seeds[name].mean() / np.log(n):.1f} %" for name in _OF_LARGEST}
    return (
        f"Of {n} experts, {seeds['dead'].mean():.1f} do next to nothing (mean of blocks and seeds). The shares of a "
        f"patch have {share['token_entropy']} of the largest entropy, the whole load {share['mean_entropy']}. Which "
        f"expert is asked tells {share['information_patch']} of what it could about the place of a patch, and "
        f"{share['information_class']} about the class."
    )


def _removed(seeds: pd.DataFrame) -> str:
    drops = seeds[[name for name in seeds.columns if name.startswith("auc_drop_")]].to_numpy(np.float64)
    most = drops.max(axis=1)
    if most.max() >= _DROP:
        verdict = "so some experts matter"
    elif seeds["auc"].min() >= _CEILING:
        verdict = (
            "so no expert is needed for this task; but it is at its ceiling, where a loss could hardly show, and says "
            "nothing of harder ones"
        )
    else:
        verdict = "so no expert is needed"
    return (
        f"AUC {seeds['auc'].mean():.4f} (lowest {seeds['auc'].min():.4f}); without the expert missed most it loses "
        f"{most.mean():z.4f} on average and {most.max():z.4f} at most, {verdict}."
    )
