"""The reduced campaign in whole, as `make verify` runs it: what the published one says at length must show here."""

import pytest

from calowatch.evaluate.campaign.recipe import load_campaign
from calowatch.evaluate.campaign.run import CampaignOptions
from calowatch.evaluate.campaign.write import evaluate_campaign


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("reduced") / "out"
    return evaluate_campaign(load_campaign("reduced"), CampaignOptions(out)).result


def _rate(cell, model, evidence, capture="0.99"):
    return cell["figures"][model][evidence]["channel"]["fpr"][capture][0]


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
