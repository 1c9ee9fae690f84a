"""The card of a network of occupancy: what it is, what it was made of, how its training went, what it is not for."""

import json
from collections.abc import Mapping
from typing import Any

from calowatch.core.training import OccupancyTraining

__all__ = ["card"]

_CARD = """# {model}

{summary}

{parameters:,} learned numbers. It expects {predicts} of {channels:,} channels, from {window}.
Layout {layout}, era {era}.

## Training

| what | value |
|---|---|
{training}

![Learning curves](curves.png)

Each epoch stands in `metrics.csv`.

## Made of

Runs {runs}; data set `{data}`, prepared by {steps}.
Hash of the counts: `{hash}`.

## Made by

```sh
{command}
```

calowatch {version}, Python {python}, torch {torch}, {created}. The recipe:

```json
{recipe}
```

## Not for

Another detector era or other channels. Its expectation is only as healthy as the runs it learned from. How far to trust
its alarms stands in `calibration.json`; the published score comes from `score_sigma.npz`.
"""


def card(manifest: Mapping[str, Any], recipe: OccupancyTraining, data: Mapping[str, Any]) -> str:
    """Return the card in Markdown.

    Parameters
    ----------
    manifest
        Of the bundle.
    recipe
        As it was trained, options of the command line included.
    data
        What tells the data set from others.
    """
    training, record = manifest["training"], manifest["provenance"]
    rows = {
        "loss": manifest["loss"],
        "epochs": f"{training['epochs']}, the best is {training['best_epoch']}",
        "best monitored figure": f"{training['best_value']:.6g}",
        **{f"last {name.replace('_', ' ')}": f"{value:.6g}" for name, value in training["final"].items()},
        "steps": training["steps"],
        "seconds": f"{training['seconds']:.1f} on {training['device']}",
        "seed": training["seed"],
    }
    steps = [step["step"] for step in data["recipe"]["preparation"]["steps"]]
    seconds = (
        "single lumisections" if manifest["window"] == 1 else f"windows of {manifest['window']} lumisections"
    )
    return _CARD.format(
        model=manifest["model"],
        summary=f"{recipe.summary}." + (f" After {recipe.paper}." if recipe.paper else ""),
        parameters=manifest["n_parameters"],
        predicts="the probability of a digi" if manifest["predicts"] == "logit" else "the prepared occupancy",
        channels=manifest["n_channels"],
        layout=manifest["layout"],
        era=manifest["era"],
        window=seconds,
        training="\n".join(f"| {name} | {value} |" for name, value in rows.items()),
        runs=", ".join(f"{run['run']} ({run['n_ls']} LS)" for run in manifest["runs"]),
        data=data["name"],
        steps=", ".join(steps),
        hash=data["store"],
        command=f"calowatch train RECIPE.toml --data DATA --out BUNDLE --seed {training['seed']}",
        version=record["calowatch"],
        python=record["python"],
        torch=record["libraries"].get("torch", "unknown"),
        created=record["created"],
        recipe=json.dumps(
            recipe.model_dump(mode="json", exclude={"dataset"}, exclude_defaults=True), indent=1
        ),
    )
