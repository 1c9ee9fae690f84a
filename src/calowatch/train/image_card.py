"""The card of a classifier: what it is, what it was made of, what it is worth, what it is not for."""

from collections.abc import Mapping

from calowatch.bundle.classifier import ClassifierBundle
from calowatch.metrics.classification import Figure

__all__ = ["card"]

_CARD = """# {name}: {classes}

{summary}
{parameters:,} learned numbers. Input: {images} images, channels {channels}.

## Worth, on the {side} side

| figure | value, interval of 95 % |
|---|---|
{figures}
{warning}
## Made of

{files}

Split: {split}, seed {seed}.
{sides}

## Made by

{epochs}{seconds:.1f} s on {device}; calowatch {version}, {created}.
The whole recipe stands in `manifest.json`: saved as a TOML file, `calowatch train` makes the same classifier again.

## Not for

Images of another detector, another layout or other classes: it always names one of its own.
`calowatch evaluate run` with `--other` tells how strange images are to it.
"""

_LEAKS = """
Single images were dealt to the sides. Neighbours of a run are near-duplicates, so these figures say how well the
classifier remembers, not how well it has learned.
"""


def card(bundle: ClassifierBundle, side: str, figures: Mapping[str, Figure]) -> str:
    """Return the card in Markdown.

    Parameters
    ----------
    bundle
        The classifier, its manifest complete.
    side, figures
        What it is worth on which side.
    """
    manifest, recipe = bundle.manifest, bundle.recipe
    training, split = manifest["training"], manifest["split"]
    sides = [
        f"* {name}: " + ", ".join(f"{count:,} {held}" for held, count in counts.items())
        for name, counts in split["images"].items()
    ]
    if split["equal_images"]:
        sides.append(f"* {split['equal_images']} validation and test images equal a training image")
    leaks = manifest["images"] == "runs" and recipe.data.split.by in ("random", "stratified")
    epochs = (
        f"{training['epochs']} epochs, the best is {training['best_epoch']}; " if "epochs" in training else ""
    )
    return _CARD.format(
        name=bundle.name,
        classes=" against ".join(bundle.classes),
        summary=f"{recipe.summary}." + (f" After {recipe.paper}." if recipe.paper else ""),
        parameters=manifest["n_parameters"],
        images=manifest["images"],
        channels=", ".join(manifest["channels"]),
        side=side,
        figures="\n".join(f"| {name} | {_told(figure)} |" for name, figure in figures.items()),
        warning=_LEAKS if leaks else "",
        files="\n".join(
            f"* `{each['name']}`, {each['images']:,} images, SHA-256 `{each['sha256']}`"
            for each in manifest["sources"]
        ),
        split=recipe.data.split.by,
        seed=recipe.seed,
        sides="\n".join(sides),
        epochs=epochs,
        seconds=training["seconds"],
        device=training["device"],
        version=manifest["provenance"]["calowatch"],
        created=manifest["provenance"]["created"],
    )


def _told(figure: Figure) -> str:
    if figure.value is None:
        return "-" if figure.low is None else f"at least {figure.low:.4g}"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4f}"
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"
