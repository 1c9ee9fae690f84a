"""What several trainings say about experts, in plain words, from the numbers alone."""

import numpy as np
import pandas as pd

__all__ = ["expert_words"]

_CHANGE = 0.02  # of a similarity, below which nobody should speak of a change
_DROP = 0.001  # of AUC
_OF_LARGEST = ("token_entropy", "mean_entropy", "information_patch", "information_class")


def expert_words(seeds: pd.DataFrame, epochs: pd.DataFrame) -> tuple[str, ...]:
    """Return the verdict.

    Parameters
    ----------
    seeds
        One row per seed: ``auc``, ``dead``, ``token_entropy``, ``information_class`` and so on.
    epochs
        One row per seed and epoch: ``experts_cka``, ``experts_cosine``; epoch 0 is before training.
    """
    return (
        *(
            _course(epochs, name, words)
            for name, words in (("experts_cka", "CKA"), ("experts_cosine", "cosine"))
        ),
        _work(seeds),
        _removed(seeds),
    )


def _course(epochs: pd.DataFrame, name: str, words: str) -> str:
    first, early, last = [], [], []
    for _, part in epochs.groupby("seed"):
        line = part.sort_values("epoch")[name].to_numpy(np.float64)
        first.append(line[0])
        early.append(line[1] if len(line) > 1 else line[0])
        last.append(line[-1])
    n, change = len(last), np.subtract(last, early)
    rose, fell = int((change > _CHANGE).sum()), int((change < -_CHANGE).sum())
    longest = int(epochs["epoch"].max())
    course = (
        f"Similarity of experts by {words}: {np.mean(first):.3f} before training, {np.mean(early):.3f} after the first "
        f"epoch, {np.mean(last):.3f} after {longest} (means of {n} seeds); it rose by more than {_CHANGE} in {rose} of "
        f"them and fell in {fell}"
    )
    most = max(1, int(np.ceil(0.8 * n)))
    if rose >= most:
        return f"{course}: trained longer, experts become alike."
    if fell >= most:
        return f"{course}: trained longer, experts part."
    return f"{course}: that experts become alike when trained longer is not borne out."


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
    verdict = "so no expert is needed" if most.max() < _DROP else "so some experts matter"
    return (
        f"AUC {seeds['auc'].mean():.4f} (lowest {seeds['auc'].min():.4f}); without the expert missed most it loses "
        f"{most.mean():z.4f} on average and {most.max():z.4f} at most, {verdict}."
    )
