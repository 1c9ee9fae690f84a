"""The reduced campaign in whole, as `make verify` runs it: what the published one says at length must show here."""

from pathlib import Path

import pytest

from calowatch.core.recipe import recipe_path
from calowatch.data.prepare import PrepareOptions, prepare
from calowatch.evaluate.campaign.cells import cells_of
from calowatch.evaluate.campaign.recipe import load_campaign
from calowatch.evaluate.campaign.run import CampaignOptions
from calowatch.evaluate.campaign.training import write_training_store
from calowatch.evaluate.campaign.write import evaluate_campaign

OURS, SOURCE = "binomial-response-he", "cnn-vae-lstm-rin-dc"
EVIDENCES = {"source", "z", "mixture", "calibrated"}


def _trained(campaign, folder):
    """Return bundles of our network and of the deployed one, trained on the campaign's own runs for seconds."""
    # Loads torch, which the rest of this module does without.
    from calowatch.train.request import TrainRequest
    from calowatch.train.verb import train

    write_training_store(campaign, folder / "store")
    made = []
    # Ours last: of networks, the deployed one and the last are drawn.
    for name, data, steps in ((SOURCE, "campaign", 20), (OURS, "campaign-rates", 6)):
        recipe = folder / f"{data}.toml"
        apart = recipe_path(data).read_text().replace("stride = 1", "stride = 5")
        recipe.write_text(apart)
        prepare(recipe, folder / data, PrepareOptions(store=folder / "store"))
        request = TrainRequest(folder / name, data=(folder / data,), device="cpu", max_steps=steps)
        train(name, request)
        made.append(folder / name)
    return tuple(made)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder, campaign = tmp_path_factory.mktemp("reduced"), load_campaign("reduced")
    return evaluate_campaign(campaign, CampaignOptions(folder / "out", _trained(campaign, folder)))


@pytest.fixture(scope="module")
def result(outcome):
    return outcome.result


def _rate(cell, model, evidence, capture="0.99"):
    return cell["figures"][model][evidence]["channel"]["fpr"][capture][0]


@pytest.mark.slow
def test_every_model_and_statistic_has_its_row_and_every_cell_its_figures(outcome, result):
    models = [*load_campaign("reduced").baselines, SOURCE, OURS]
    assert [who["name"] for who in result["contestants"]] == ["true p", *models]
    assert all(set(who["evidences"]) == EVIDENCES for who in result["contestants"][1:])
    wanted = [cell.name for cell in cells_of(load_campaign("reduced"))]
    assert [cell["name"] for cell in result["cells"]] == wanted
    for cell in result["cells"]:
        assert cell["n_faults"] >= 200 or cell["n_saturated"] > 0
        for model in models:
            assert set(cell["figures"][model]) == (EVIDENCES if cell["n_faults"] else set())
    base = outcome.markdown.partition("## Base point")[2].partition("\n## ")[0]
    for model in models:
        assert all(f"| {model}, {said} |" in base for said in ("source score", "z", "calibrated mixture"))


@pytest.mark.slow
def test_the_report_is_written(outcome):
    assert all(path.is_file() for path in outcome.files)
    names = {path.name for path in outcome.files}
    assert {"report.html", "campaign.json", "campaign.csv", "campaign.md", "factor-evidence.png"} <= names
    pictures = [path for path in outcome.files if path.parent.name == "faults"]
    assert {OURS, SOURCE} <= {Path(path).stem.partition("-")[2] for path in pictures}


@pytest.mark.slow
def test_our_network_stays_near_the_reference_it_begins_as(result):
    other = [cell for cell in result["cells"] if cell["unit"] == "channel" and cell["duration"] == 5]
    for cell in (cell for cell in other if cell["conditions"] in ("other", "pileup")):
        told = {
            (model, by): cell["figures"][model][by]["channel"]["roc_auc"][0]
            for model, by in (
                (OURS, "mixture"),
                (OURS, "source"),
                ("reference", "mixture"),
                ("ring", "mixture"),
            )
        }
        ours = told.pop((OURS, "mixture"))
        assert ours > told.pop(("reference", "mixture")) - 0.05  # six steps with faults in what it sees
        assert ours > max(told.values()) - 0.001


@pytest.mark.slow
def test_evidence_beats_the_published_score_on_the_same_weights(result):
    cells = [
        cell for cell in result["cells"] if cell["factor"] in (0.8, 0.9) and cell["conditions"] == "other"
    ]
    assert len(cells) > 5
    better = [_rate(cell, "reference", "mixture") <= _rate(cell, "reference", "source") for cell in cells]
    assert sum(better) >= 0.8 * len(better)


@pytest.mark.slow
def test_the_reference_is_near_what_its_evidence_gives_at_the_true_p(result):
    for cell in result["cells"]:
        if cell["conditions"] in ("other", "later", "prescale") and cell["unit"] == "channel":
            told = {
                name: cell["figures"][name]["mixture"]["channel"]["roc_auc"][0]
                for name in ("reference", "true p")
            }
            assert told["reference"] > told["true p"] - 0.01


@pytest.mark.slow
def test_no_score_beats_who_knows_all(result):
    for cell in result["cells"]:
        bound = cell["figures"]["true p"]["known"]["channel"]["roc_auc"]
        for figures in cell["figures"].values():
            for told in figures.values():
                assert told["channel"]["roc_auc"][1] <= bound[2] + 0.002


@pytest.mark.slow
def test_healthy_runs_raise_about_as_many_alarms_as_the_threshold_was_fixed_for(result):
    judgement, main = result["campaign"]["judgement"], result["campaign"]["healthy"]
    for who in result["contestants"]:
        if who["name"] in ("true p", "reference"):
            told = who["false_alarms"][main]["z"]
            rate = told["flags"] / (told["n_ls"] / result["campaign"]["window"] * result["n_channels"])
            assert 0.2 < rate / judgement["channel_rate"] < 5
