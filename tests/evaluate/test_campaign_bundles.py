"""Bundles of a campaign are opened whole before any work, and refused for what they are or have seen."""

import json
from pathlib import Path

import numpy as np
import pytest

from calowatch.bundle.baseline import BaselineWindows, save_baseline
from calowatch.core.errors import FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.core.recipe import PerEvent
from calowatch.data.preparation import Preparation
from calowatch.detector.table import channel_table
from calowatch.evaluate.campaign import run as running
from calowatch.evaluate.campaign.bundles import find_bundles
from calowatch.evaluate.campaign.leaks import check_unseen
from calowatch.evaluate.campaign.models import contestants
from calowatch.evaluate.campaign.recipe import Campaign, load_campaign
from calowatch.evaluate.campaign.run import CampaignOptions
from calowatch.models.baselines import Template

HO = channel_table("run3").query("subdet == 'HO'")["channel"].to_numpy(np.int64)


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    given = load_campaign("tiny").model_dump()
    return Campaign.model_validate({**given, "subdets": ("HO",), "layout": "ho"})


def _baseline(folder: Path, era: str = "run3", channel=HO) -> Path:
    model = BaselineWindows("ring", Template(era, channel, np.zeros(len(channel))), 5)
    save_baseline(folder, model, {"runs": []})
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A network of random weights on HO."""
    from calowatch.bundle.network import NetworkParts, save_network
    from calowatch.models.api import NetworkRequest, build
    from calowatch.models.geometry import Geometry

    request = NetworkRequest("binomial", (), {"latent": 1})
    preparation = Preparation([PerEvent()], HO, np.ones(len(HO), bool))
    preparation.fit([(np.ones((2, len(HO)), np.int32), np.full(2, 100))])
    parts = NetworkParts(
        build(request, Geometry.of_layout("ho")),
        request,
        "ho",
        "run3",
        5,
        HO,
        preparation,
        np.ones(len(HO)),
        "binomial",
    )
    folder = tmp_path_factory.mktemp("bundles") / "net"
    save_network(folder, parts)
    return folder


def _copy(network: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for path in network.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_whole_bundle_takes_part(campaign, network):
    (who,) = contestants([network], campaign)
    assert (who.name, who.kind) == ("net", "network")


@pytest.mark.parametrize("break_it", ["cut", "lose", "forge"])
def test_a_damaged_network_is_told_before_any_work(campaign, network, tmp_path, monkeypatch, break_it):
    folder = _copy(network, tmp_path / "models" / "net")
    weights = folder / "weights.safetensors"
    if break_it == "lose":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-100])
    if break_it == "forge":  # cut, and the manifest none the wiser
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["sha256"]["weights.safetensors"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(running, "_executor", lambda _: pytest.fail("work began"))
    out = tmp_path / "out"
    with pytest.raises(FormatError, match=r"net/weights\.safetensors" if break_it != "forge" else "net: "):
        running.run_campaign(campaign, CampaignOptions(out, (_baseline(tmp_path / "flat"), folder)))
    assert not out.exists()


def test_bundles_that_do_not_fit_are_refused_by_their_folder(campaign, network, tmp_path):
    old = channel_table("2018").query("subdet == 'HO'")["channel"].to_numpy(np.int64)
    with pytest.raises(InputError, match="old: expected a bundle for run3, found one for 2018"):
        contestants([_baseline(tmp_path / "old", "2018", old)], campaign)
    with pytest.raises(InputError, match=r"few: expected the 2160 channels of HO.*layout ho"):
        contestants([_baseline(tmp_path / "few", channel=HO[:50])], campaign)
    longer = campaign.model_copy(update={"window": 6})
    with pytest.raises(InputError, match=r"net: expected windows of 6.*found windows of 5"):
        contestants([network], longer)


@pytest.mark.parametrize("name", ["ring", "reference", "pca", "ewma", "true p"])
def test_names_of_baselines_and_of_the_bound_are_taken(campaign, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"kind": "network"}))
    with pytest.raises(InputError, match=f"found one called {name}. Fix: rename the folder"):
        contestants([folder], campaign)


def test_folders_that_are_no_bundles_are_told(tmp_path):
    for name in ("a", "b", "b.training", "c.training", "notes", ".cache"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        (tmp_path / name / "manifest.json").write_text("{}")
    progress = SilentProgress()
    assert [path.name for path in find_bundles([tmp_path, tmp_path / "a"], progress)] == ["a", "b", "a"]
    assert len(progress.notes) == 2
    assert "c.training is no bundle (a training that was not finished)" in progress.notes[0]
    assert "notes is no bundle" in progress.notes[1]
    with pytest.raises(FormatError, match="nor in a folder of it"):
        find_bundles([tmp_path / "notes"])
    with pytest.raises(FormatError, match="no such folder"):
        find_bundles([tmp_path / "lost"])


def test_the_command_says_in_one_line_which_file_is_broken(network, tmp_path, capsys):
    from calowatch.cli import main

    folder = _copy(network, tmp_path / "net")
    (folder / "score_sigma.npz").unlink()
    (tmp_path / "notes").mkdir()
    assert main(["evaluate", "campaign", "tiny", "-b", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert "notes is no bundle" in told[0]
    assert [line for line in told if "error:" in line] == told[-1:]
    assert "net/score_sigma.npz: expected a file that the manifest names, found none" in told[-1]
    assert not (tmp_path / "out").exists()


def _manifest(train, validation="", **more):
    """Return the part of a manifest that tells what a bundle has seen."""
    runs = [{"run": run, "n_ls": 9, "first_ls": 1, "last_ls": 9} for run in train]
    given = {"name": "net", "kind": "network", "runs": runs, **more}
    if validation:
        split = {"by": "run", "train": ["1-380000"], "validation": [validation]}
        given["dataset"] = {"recipe": {"split": split}}
        given["provenance"] = {"sources": [{"run": run} for run in (*train, 391001, 392001)]}
    return given


@pytest.mark.parametrize(
    ("manifest", "word"),
    [
        (_manifest((390001, 391001)), r"trained on 391001\..*simulate campaign tiny.*campaign-rates"),
        (_manifest((392001,)), "trained on 392001"),
        (_manifest((370001,), "392000-"), "validated on 392001"),
        (_manifest((390001,), calibrated_on=[{"run": 392001}]), "validated on 392001"),
        (_manifest((390001,), validated_on=[{"run": 392001}]), "validated on 392001"),
    ],
)
def test_a_bundle_that_saw_what_is_judged_on_is_refused(campaign, manifest, word):
    with pytest.raises(InputError, match=word):
        check_unseen(Path("net"), manifest, campaign)


def test_a_bundle_of_the_campaigns_own_recipe_takes_part(campaign):
    own = _manifest((390001,), "391001-391004", validated_on=[{"run": 391001, "n_ls": 500}])
    assert check_unseen(Path("net"), own, campaign) == ""


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"runs": [{"run": 390002, "n_ls": 20, "last_ls": 31}]}, "trained on lumisection 31 of run 390002"),
        ({"runs": [{"run": 390002, "n_ls": 31}]}, "trained on 31 lumisections of run 390002"),
        ({"calibrated_on": [{"run": 390001, "n_ls": 5, "last_ls": 35}]}, "calibrated on lumisection 35"),
        ({"validated_on": [{"run": 390001, "n_ls": 5, "last_ls": 35}]}, "validated on lumisection 35"),
    ],
)
def test_later_lumisections_of_the_training_runs_are_judged_on_too(campaign, more, word):
    with pytest.raises(InputError, match=rf"up to lumisection 30: campaign tiny.*{word}"):
        check_unseen(Path("net"), _manifest((390001,), **more), campaign)
    kept = {name: given for name, given in campaign.conditions.items() if not given.later}
    without = campaign.model_copy(update={"conditions": kept})
    assert check_unseen(Path("net"), _manifest((390001,), **more), without) == ""


def test_a_bundle_that_does_not_tell_its_lumisections_is_warned_of(campaign):
    told = check_unseen(Path("net"), _manifest((), runs=[{"run": 390001, "n_ls": 30}]), campaign)
    assert "does not tell which lumisections of 390001" in told
    assert check_unseen(Path("net"), _manifest((), runs=[{"run": 371001, "n_ls": 900}]), campaign) == ""
