"""``calowatch evaluate``: what trained things are worth, on data they have not seen."""

import typer

from calowatch.cli import (
    evaluate_campaign,
    evaluate_experts,
    evaluate_learning,
    evaluate_run,
    evaluate_shortcuts,
)

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Say what trained things are worth, on data they have not seen.")


@app.callback()
def _verbs() -> None:
    """Say what trained things are worth, on data they have not seen."""


app.command("run")(evaluate_run.run)
app.command("shortcuts")(evaluate_shortcuts.shortcuts)
app.command("campaign")(evaluate_campaign.campaign)
app.command("experts")(evaluate_experts.experts)
app.command("learning-curve")(evaluate_learning.learning_curve)
