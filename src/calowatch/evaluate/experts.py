"""Do experts specialise, and do they become alike when they are trained longer? Several seeds, epoch by epoch."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from calowatch.bundle.classifier import ClassifierBundle
from calowatch.core.errors import InputError
from calowatch.core.files import check_place, file_hash, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.core.training import ImageTraining
from calowatch.data.image_sets import image_files, open_images
from calowatch.data.image_splits import ImageSides, deal_images
from calowatch.data.images import ImageData
from calowatch.evaluate.experts_words import expert_words
from calowatch.metrics.ranking import roc_auc
from calowatch.metrics.routing import (
    balance,
    cka,
    cosine_similarity,
    dead_experts,
    load,
    mean_entropy,
    mutual_information,
    token_entropy,
)
from calowatch.models.classifiers import build_classifier
from calowatch.models.moe_vit import expert_answers, mixtures, without_expert
from calowatch.models.vit import ViT
from calowatch.present.experts import experts_page, write_experts_figure

__all__ = ["ExpertsResult", "ExpertsTask", "LearnLong", "LearnedLong", "evaluate_experts"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COMPARED = 32
"""Images on which experts are compared, as while training."""

LOOKED_AT = 2000
"""Images at most on which routing and removed experts are judged."""

_BATCH = 256
_ALIKE = ("experts_cka", "experts_cosine")


@dataclass(frozen=True, eq=False)
class LearnedLong:
    """A classifier fresh from training, with one row per epoch as `calowatch.train` logs it."""

    bundle: ClassifierBundle
    history: pd.DataFrame


LearnLong = Callable[[ImageTraining, ImageData, ImageSides], LearnedLong]
"""Trains a recipe on some sides of some images, handed in: evaluation itself knows no training."""


@dataclass(frozen=True, eq=False)
class ExpertsTask:
    """What to study.

    Parameters
    ----------
    recipe
        Of a mixture of experts.
    name
        Its name, for people.
    files
        Images.
    seeds
        How many trainings, each with a seed and a dealing of its own.
    epochs
        Of each.
    seed
        The first one.
    at_most
        Take the first images of each class only.
    command
        What was typed, for the page.
    """

    recipe: ImageTraining
    name: str
    files: tuple[Path, ...]
    seeds: int = 5
    epochs: int = 20
    seed: int = 0
    at_most: int | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if min(self.seeds, self.epochs) < 1:
            raise InputError(
                "--seeds and --epochs", "1 or more", f"{self.seeds}, {self.epochs}", "raise them"
            )


@dataclass(frozen=True, eq=False)
class ExpertsResult:
    """What came out.

    Parameters
    ----------
    document
        All as JSON takes it.
    seeds
        One row per seed.
    epochs
        One row per seed and epoch; epoch 0 is before training.
    verdict
        In plain words.
    files
        What was written.
    """

    document: Mapping[str, Any]
    seeds: pd.DataFrame
    epochs: pd.DataFrame
    verdict: tuple[str, ...]
    files: tuple[Path, ...]


def evaluate_experts(
    task: ExpertsTask, out: Path | str, learn: LearnLong, progress: Progress = SILENT
) -> ExpertsResult:
    """Train a mixture of experts from several seeds and tell how its experts share the work and how alike they are.

    Seeds that an earlier, interrupted call finished are not trained again.

    Parameters
    ----------
    task
        What to study.
    out
        Folder for ``experts.json``, ``experts.csv``, ``experts-epochs.csv``, ``experts.md``, ``experts.png`` and
        ``seeds/``.
    learn
        Trains a recipe on given sides of given images.
    progress
        Shown one step per seed.

    Raises
    ------
    InputError
        For a recipe without experts, or files that do not fit it.
    """
    out = Path(out)
    check_place(out)
    if task.recipe.network.name != "moe-vit":
        raise InputError(
            task.name, "a recipe of a mixture of experts", task.recipe.network.name, "use runs-moe-vit"
        )
    files = image_files(task.files, task.recipe.data.kind)
    data = open_images(files, task.recipe.data.model_copy(update={"at_most": task.at_most}), progress)
    sources = [{"name": path.name, "sha256": file_hash(path)} for path in files]
    studied = []
    for number in progress.track(range(task.seed, task.seed + task.seeds), "seeds", task.seeds):
        found = _finished(task, data, number, out / "seeds", (learn, sources))
        progress.note(f"seed {number}: AUC {found['auc']:.4f}, CKA of experts {found['experts_cka']:.3f}")
        studied.append(found)
    seeds, epochs = _tables(studied)
    words = expert_words(seeds, epochs)
    document = {
        "recipe": task.name,
        "command": task.command,
        "classes": list(data.classes),
        "verdict": list(words),
        "seeds": studied,
        "provenance": provenance("evaluate experts", sources=sources, seed=task.seed),
    }
    return ExpertsResult(document, seeds, epochs, words, _write(out, document, seeds, epochs))


def _write(
    out: Path, document: Mapping[str, Any], seeds: pd.DataFrame, epochs: pd.DataFrame
) -> tuple[Path, ...]:
    names = ("experts.json", "experts.csv", "experts-epochs.csv", "experts.md", "experts.png")
    paths = tuple(out / name for name in names)
    write_json(paths[0], document)
    seeds.to_csv(paths[1], index=False)
    epochs.to_csv(paths[2], index=False)
    write_experts_figure(paths[4], seeds, epochs, str(document["recipe"]))
    paths[3].write_text(experts_page(document, seeds, paths[4].name), encoding="utf-8")
    return paths


def _tables(studied: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        {name: value for name, value in each.items() if name not in ("epochs", "removed", "load", "mark")}
        | {f"auc_drop_{expert}": drop for expert, drop in enumerate(each["removed"])}
        | {f"load_{expert}": share for expert, share in enumerate(each["load"])}
        for each in studied
    ]
    epochs = [{"seed": each["seed"], **row} for each in studied for row in each["epochs"]]
    return pd.DataFrame(rows), pd.DataFrame(epochs)


def _finished(
    task: ExpertsTask,
    data: ImageData,
    seed: int,
    folder: Path,
    given: tuple[LearnLong, list[dict[str, str]]],
) -> dict[str, Any]:
    learn, sources = given
    # By the loss: an accuracy of 1 would pick the first epoch that has it, and the study is about the later ones.
    fit = task.recipe.fit.model_copy(update={"epochs": task.epochs, "patience": None, "monitor": "loss"})
    recipe = task.recipe.model_copy(update={"seed": seed, "fit": fit})
    settings = [sources, recipe.model_dump(mode="json"), task.at_most]
    mark = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"seed{seed}.json"
    if path.is_file():
        try:
            held: dict[str, Any] = json.loads(path.read_text())
        except ValueError:
            held = {}
        if held.get("mark") == mark:
            return held
    sides = deal_images(data, recipe.data.split, seed)
    learned = learn(recipe, data, sides)
    found = {"seed": seed, **_study(learned, recipe, data, sides), "mark": mark}
    write_json(path, found)
    return found


def _study(learned: LearnedLong, recipe: ImageTraining, data: ImageData, sides: ImageSides) -> dict[str, Any]:
    """Return the figures of a training on the side it has not seen, or has chosen by where there is no other."""
    network = learned.bundle.network
    assert isinstance(network, ViT)
    side = "test" if len(sides.test) else "validation"
    rows = sides.of(side)
    # Evenly through the side: neighbours are alike.
    rows = rows[np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).round().astype(np.int64)]
    x, scalars = (torch.from_numpy(each) for each in learned.bundle.prepared(*_read(data, rows)))
    labels = data.labels[rows]
    logits, routing = _scores(network, x, scalars)
    auc = _auc(labels, logits)
    removed = [
        auc - _auc(labels, _scores(without_expert(network, expert), x, scalars)[0])
        for expert in range(mixtures(network)[0].options.experts)
    ]
    torch.manual_seed(recipe.seed)
    fresh = build_classifier(recipe.network.name, learned.bundle.geometry, recipe.network.options).eval()
    assert isinstance(fresh, ViT)
    begun = _alike(fresh, x[:COMPARED])
    return {
        "side": side,
        "images": len(rows),
        "auc": auc,
        "accuracy": float((logits.argmax(axis=1) == labels).mean()),
        **_shared(routing, network, labels),
        **_alike(network, x[:COMPARED]),
        "removed": removed,
        "epochs": [{"epoch": 0, **begun}, *_history(learned.history)],
    }


def _read(data: ImageData, rows: Ints) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    read = data.take(rows)
    return read["x"], read["scalars"]


@torch.no_grad()
def _scores(network: ViT, x: torch.Tensor, scalars: torch.Tensor) -> tuple[Floats, list[Floats]]:
    """Return two logits per image (of one output, half of it for and against) and the routing of each block."""
    parts = [
        network(*some) for some in zip(torch.split(x, _BATCH), torch.split(scalars, _BATCH), strict=True)
    ]
    logits = torch.cat([part.logits for part in parts]).double().numpy()
    if logits.shape[1] == 1:
        logits = np.concatenate([-logits / 2, logits / 2], axis=1)
    blocks = zip(*(part.routing for part in parts), strict=True)
    return logits, [torch.cat(block).double().numpy() for block in blocks]


def _auc(labels: Ints, logits: Floats) -> float:
    """Return the AUC of two classes, or the mean of each class against the rest."""
    scores = logits - logits.max(axis=1, keepdims=True)
    if logits.shape[1] == 2:
        return roc_auc(labels == 1, scores[:, 1] - scores[:, 0])
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return float(np.mean([roc_auc(labels == c, log_p[:, c]) for c in range(logits.shape[1])]))


def _shared(routing: list[Floats], network: ViT, labels: Ints) -> dict[str, Any]:
    """Return how the router shares out patches, mean of all blocks; information in nats, at most ln(experts)."""
    _, wide = network.patches.tiles
    patches = [block[:, network.first_patch :] for block in routing]
    place = np.arange(patches[0].shape[1])
    groups = {"class": labels[:, None], "ieta": place // wide, "iphi": place % wide, "patch": place}
    work = np.mean([load(block) for block in patches], axis=0)
    return {
        "load": work.tolist(),
        "balance": float(np.mean([balance(block) for block in patches])),
        "dead": float(np.mean([len(dead_experts(block)) for block in patches])),
        "token_entropy": float(np.mean([token_entropy(block) for block in patches])),
        "mean_entropy": float(np.mean([mean_entropy(block) for block in patches])),
        **{
            f"information_{name}": float(np.mean([mutual_information(block, group) for block in patches]))
            for name, group in groups.items()
        },
    }


def _alike(network: ViT, x: torch.Tensor) -> dict[str, float]:
    """Return how alike experts answer the same tokens, mean of all pairs and blocks."""
    answers = [block.double().numpy() for block in expert_answers(network, x)]
    pairs = np.triu_indices(answers[0].shape[2], 1)
    found = ((cka(block)[pairs], cosine_similarity(block)[pairs]) for block in answers)
    alike = np.mean([[each.mean() for each in both] for both in found], axis=0)
    return dict(zip(_ALIKE, alike.tolist(), strict=True))


def _history(history: pd.DataFrame) -> list[dict[str, float]]:
    """Return the numbers of each epoch as JSON takes them."""
    return [
        {str(name): float(value) for name, value in row.items() if np.isreal(value) and np.isfinite(value)}
        for row in history.select_dtypes("number").to_dict("records")
    ]
