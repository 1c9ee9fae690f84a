"""``calowatch demo-images``: electrons against photons and quarks against gluons from end to end, small."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calowatch.core.progress import Progress
    from calowatch.evaluate.classify import Evaluated
    from calowatch.evaluate.explore import Explored
    from calowatch.present.panels import Panel
    from calowatch.present.panels_page import Section, Table

__all__ = ["demo_images"]

COLLISIONS = 2000
TASKS: dict[str, dict[str, int]] = {
    "egamma": {"egamma-trees": 0, "egamma-two-branch": 8},
    "jets": {"jets-trees": 0, "jets-three-input": 6},
}
"""Recipes of each task, with epochs."""
TITLES = {"egamma": "Electrons against photons", "jets": "Quark against gluon jets"}
_SHOWN = {"egamma": ("mean_energy", "ratio_energy"), "jets": ("mean_tracks", "mean_ecal", "mean_hcal")}
_CAPTIONS = {
    "mean_energy": "Mean energy per crystal, logarithmic: electrons are drawn out along iphi, since they radiate in "
    "the tracker and bend in the field.",
    "ratio_energy": "Red: more energy in electrons than in photons. What tells them apart lies beside the centre.",
    "mean_tracks": "Mean momentum of tracks per pixel: gluon jets are wider and hold more particles.",
    "mean_ecal": "The same for energies in ECAL.",
    "mean_hcal": "The same for energies in HCAL, whose towers are 5 x 5 pixels.",
}
_WORDS = {
    "egamma": ("electron", "photon"),
    "jets": ("quark jet", "gluon jet"),
}
"""What is looked for, and what it is told from."""
_SPLITS = {"egamma": "stratified", "jets": "chunks"}
"""Jets of a chunk may share pile-up; electrons and photons share nothing."""
_FIGURES = ("roc_auc", "accuracy", "rejection_50", "rejection_90")


def demo_images(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for everything it makes.")
    ] = Path("demo-images"),
    n_egamma: Annotated[
        int, typer.Option("--n-egamma", min=1000, help="Electron and photon images.")
    ] = 12_000,
    n_jets: Annotated[int, typer.Option("--n-jets", min=400, help="Jets.")] = 1200,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes on this machine that simulate at a time.")
    ] = 2,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of simulation and training.")] = 7,
    json: Annotated[
        bool, typer.Option("--json", help="Print the figures of all models as JSON, nothing else.")
    ] = False,
) -> None:
    """Simulate electrons, photons and jets, train boosted trees and a small network on each, and judge them.

    A small version of the real thing, in minutes: too few images for networks to beat trees. Needs the extras ml and
    physics. Writes report.html, and a folder for every step.

    Examples
    --------
    \b
    calowatch demo-images
    calowatch demo-images --out elsewhere --workers 8 --seed 8
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.evaluate.explore import explore

    progress = terminal_progress()
    files = {
        "egamma": _egamma(out, n_egamma, (workers, seed), progress),
        "jets": _jets(out, n_jets, (workers, seed), progress),
    }
    explored, judged = {}, {}
    for task, sources in files.items():
        explored[task] = explore(list(sources), out / f"explored-{task}", progress=progress)
        judged[task] = {
            name: _trained(name, (epochs, _SPLITS[task]), (sources, out), seed, progress)
            for name, epochs in TASKS[task].items()
        }
    report = _report(out, explored, judged)
    if json:
        figures = {
            name: found.document["figures"] for each in judged.values() for name, found in each.items()
        }
        print_json({"figures": figures, "report": str(report)})
        return
    for task, found in judged.items():
        typer.echo(TITLES[task])
        for name, each in found.items():
            typer.echo(f"  {name:<20} ROC-AUC {_text(each, 'roc_auc')}")
    typer.echo(f"Report: {report}")


def _egamma(out: Path, n: int, how: tuple[int, int], progress: "Progress") -> tuple[Path, ...]:
    from calowatch.simulate.chunks import Place
    from calowatch.simulate.egamma_files import EgammaRequest, simulate_egamma

    workers, seed = how
    return tuple(
        simulate_egamma(EgammaRequest(n, out / "egamma", seed, place=Place(workers)), progress).files
    )


def _jets(out: Path, n: int, how: tuple[int, int], progress: "Progress") -> tuple[Path, ...]:
    from calowatch.simulate.chunks import Place
    from calowatch.simulate.jets import JetSettings
    from calowatch.simulate.jets_files import JetRequest, simulate_jets
    from calowatch.simulate.pileup import PileupRequest

    workers, seed = how
    file = out / "jets.parquet"
    # Collisions without diffraction are more, and larger, than a trigger without condition sees: 15 are as 21.
    settings = JetSettings(n=n, seed=seed, pileup=15.0, chunk=max(n // 8, 50))
    library = PileupRequest(COLLISIONS, "demo", process="nonDiffractive")
    simulate_jets(file, JetRequest(settings, library, place=Place(workers)), progress)
    return (file,)


def _trained(
    name: str, how: tuple[int, str], places: tuple["Sequence[Path]", Path], seed: int, progress: "Progress"
) -> "Evaluated":
    """Train by a shipped recipe, with a larger test side and few epochs, and judge."""
    from calowatch.core.recipe import recipe_path
    from calowatch.core.training import ImageSplit, ImageTraining, load_training
    from calowatch.evaluate.classify import EvaluateRequest, evaluate_run
    from calowatch.train.images import train_images
    from calowatch.train.request import TrainRequest

    (epochs, by), (sources, out) = how, places
    recipe = load_training(recipe_path(name))
    assert isinstance(recipe, ImageTraining)
    split = ImageSplit.model_validate({"by": by, "train": 0.6, "validation": 0.15, "test": 0.25})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": split})})
    request = TrainRequest(
        out / "models" / name, tuple(sources), seed=seed, epochs=epochs or None, progress=progress
    )
    trained = train_images(recipe, request)
    return evaluate_run(trained.folder, EvaluateRequest(out / "judged" / name, progress=progress))


def _report(out: Path, explored: "dict[str, Explored]", judged: "dict[str, dict[str, Evaluated]]") -> Path:
    from calowatch.core.files import staged_files
    from calowatch.core.provenance import provenance
    from calowatch.present.panels_page import Page, write_page

    sections = [_section(task, explored[task], judged[task]) for task in judged]
    notes = (
        "Generated events, not CMS data, and few of them: no network has seen enough to beat the trees.",
    )
    page = Page(
        "Images of particles", "simulated, learned, judged", notes, sections, provenance("demo-images")
    )
    with staged_files(out, ("report.html",)) as scratch:
        write_page(scratch, "report", page, png=False)
    return out / "report.html"


def _section(task: str, explored: "Explored", judged: "dict[str, Evaluated]") -> "Section":
    from base64 import b64encode

    from calowatch.present.panels_page import Picture, Section

    shown = {path.stem: path for path in explored.files if path.suffix == ".png"}
    pictures = [
        Picture(_CAPTIONS[name], f"data:image/png;base64,{b64encode(shown[name].read_bytes()).decode()}")
        for name in _SHOWN[task]
        if name in shown
    ]
    return Section(
        TITLES[task],
        _summary(task, judged),
        (_models(judged), _observables(explored)),
        {f"roc_{task}": _roc(judged)},
        pictures,
    )


def _summary(task: str, judged: "dict[str, Evaluated]") -> str:
    """Return the result in plain words, and what the columns of the table mean."""
    worth = {name: found.report.figures["roc_auc"].value or 0.0 for name, found in judged.items()}
    best = max(worth, key=lambda name: worth[name])
    found, other = _WORDS[task]
    n = next(iter(judged.values())).document["n"]
    return (
        f"Given one {found} and one {other}, {best} names the {found} in {100 * worth[best]:.0f} of 100 cases; "
        f"guessing would in 50. That is what ROC-AUC says. Rejection: of so many {other}s one is taken for a {found}, "
        f"where 50 or 90 % of the {found}s are found. All of {n:,} images that no model has learned from, with "
        "intervals of 95 %."
    )


def _text(found: "Evaluated", name: str) -> str:
    from calowatch.present.classify import figure_text

    figure = found.report.figures.get(name)
    return "undefined" if figure is None else figure_text(name, figure)


def _models(judged: "dict[str, Evaluated]") -> "Table":
    from calowatch.present.classify import FIGURE_NAMES
    from calowatch.present.panels_page import Table

    head = ("model", *(FIGURE_NAMES[name] for name in _FIGURES))
    return Table(head, [(name, *(_text(found, each) for each in _FIGURES)) for name, found in judged.items()])


def _observables(explored: "Explored") -> "Table":
    from calowatch.present.panels_page import Table

    best = explored.document["observables"][:8]
    rows = [(row["observable"], f"{max(row['auc'], 1 - row['auc']):.3f}") for row in best]
    return Table(("one observable alone", "ROC-AUC, either way round"), rows)


def _roc(judged: "dict[str, Evaluated]") -> "Panel":
    from calowatch.present.explore_colours import series_colours
    from calowatch.present.panels import Panel, Series

    chance = Series([0.0, 1.0], [0.0, 1.0], "chance", "#8a8a8a", dash=":")
    curves = [
        Series(curve.false_positive_rate, curve.true_positive_rate, name, colour, dash=dash)
        for (name, found), colour, dash in zip(
            judged.items(), series_colours(len(judged)), "-:--", strict=False
        )
        for curve in list(found.report.curves.values())[:1]
    ]
    ends = (-0.02, 1.02)
    words = "share of others taken for it", "share found"
    return Panel("ROC", *words, [chance, *curves], x_ends=ends, y_ends=ends, square=True)
