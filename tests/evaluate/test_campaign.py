"""A campaign of a few windows from end to end: what it promises of cells, order, resuming, bounds and its report."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calowatch.bundle.baseline import BaselineWindows, save_baseline
from calowatch.core.errors import ConflictError, InputError, UnknownNameError
from calowatch.evaluate.campaign import run as running
from calowatch.evaluate.campaign.alarms import count_alarms, threshold_of_a_day
from calowatch.evaluate.campaign.cells import cells_of, kept_windows, place
from calowatch.evaluate.campaign.data import CampaignData, Pool
from calowatch.evaluate.campaign.folder import check_folder, claim_folder
from calowatch.evaluate.campaign.leaks import check_unseen
from calowatch.evaluate.campaign.models import contestants
from calowatch.evaluate.campaign.recipe import load_campaign
from calowatch.evaluate.campaign.run import CampaignOptions
from calowatch.evaluate.campaign.scoring import Bench, Workbench
from calowatch.evaluate.campaign.table import collect, long_table
from calowatch.evaluate.campaign.training import write_training_store
from calowatch.evaluate.campaign.write import evaluate_campaign
from calowatch.io.store import open_run
from calowatch.models.baselines import Template
from calowatch.present.campaign_words import deployed


class Here:
    """Runs the pieces of a campaign in this process, at once: what the pool of processes does, without its start."""

    def submit(self, work, *given):
        from concurrent.futures import Future

        done = Future()
        try:
            done.set_result(work(*given))
        except BaseException as error:  # noqa: BLE001 - as a pool does
            done.set_exception(error)
        return done


def _small(**more):
    """Return the shipped campaign ``tiny``, smaller still: HO, which is quick."""
    given = load_campaign("tiny").model_dump()
    given |= {
        "subdets": ("HE",),
        "axes": {"unit": ("channel", "rbx"), "factor": (0.6, 2.0), "duration": (20,)},
        "also": (),
        "conditions": {"other": given["conditions"]["other"], "later": given["conditions"]["later"]},
        "baselines": ("reference",),
        **more,
    }
    return type(load_campaign("tiny")).model_validate(given)


@pytest.fixture(scope="module")
def campaign():
    return _small()


@pytest.fixture(scope="module")
def done(campaign, tmp_path_factory):
    """The campaign, run once in this process."""
    out = tmp_path_factory.mktemp("campaign") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "_executor", _here)
        outcome = evaluate_campaign(campaign, CampaignOptions(out), "calowatch evaluate campaign small")
    return out, outcome


def _here(workers):
    from contextlib import nullcontext

    return nullcontext(Here())


def test_every_shipped_campaign_has_what_was_asked():
    published = load_campaign("published")
    cells = cells_of(published)
    assert len({cell.name for cell in cells}) == len(cells)
    base = cells[0]
    assert (base.unit, base.factor, base.duration, base.ring) == ("channel", 0.8, 5, "middle")
    # One axis at a time: every cell differs from the base point in one respect, but those named as others.
    for cell in cells:
        changed = [
            name for name in ("unit", "factor", "conditions") if getattr(cell, name) != getattr(base, name)
        ]
        changed += ["duration"] * (cell.duration != base.duration)
        changed += ["ring"] * (cell.unit == "channel" and cell.ring != base.ring)
        assert len(changed) <= 1 or any(axis == "also" for axis, _ in cell.axes)
    assert published.faults.least >= 2000
    other = published.conditions["other"]
    assert other.n_ls * len(other.pileup) >= 15_000
    mean = np.mean(published.training.pileup)
    assert all(0.2 <= abs(pileup / mean - 1) <= 0.4 for pileup in published.conditions["pileup"].pileup)
    axes = {axis for cell in cells for axis, _ in cell.axes}
    assert axes == {"base", "unit", "factor", "duration", "ring", "statistics", "shift", "also"}


def test_runs_are_of_nobody_else():
    for name in ("published", "reduced", "tiny"):
        campaign = load_campaign(name)
        kinds = {"training": campaign.training, "validation": campaign.validation, **campaign.conditions}
        numbers = {key: {run.run for run in campaign.runs(kind)} for key, kind in kinds.items()}
        later = [key for key, kind in kinds.items() if kind.later]
        apart = [own for key, own in numbers.items() if key not in later]
        assert len(set.union(*apart)) == sum(map(len, apart))
        assert all(numbers[key] == numbers["training"] for key in later)


def test_cells_are_placed_by_their_seed_alone(campaign, tmp_path):
    data = CampaignData(campaign, tmp_path)
    cells = cells_of(campaign)
    first, again = (place(cells[1], CampaignData(campaign, tmp_path)) for _ in range(2))
    assert first.stretches == again.stretches
    assert [[vars(f) for f in faults] for faults in first.faults] == [
        [vars(f) for f in faults] for faults in again.faults
    ]
    assert first.n_faults >= campaign.faults.least
    long = place(next(cell for cell in cells if cell.duration == 20), data)
    for faults in long.faults:
        for fault in faults:
            assert fault.last - fault.first == 19
            assert fault.last < long.stretches[0].n_windows * campaign.window
    kept = kept_windows(long.pool, [first, long])
    assert {
        stretch.first for stretch in (*first.stretches, *long.stretches) if first.pool == long.pool
    } <= set(kept)


def test_saturated_units_are_left_out_and_counted(campaign, tmp_path):
    data = CampaignData(campaign, tmp_path)
    double = next(cell for cell in cells_of(campaign) if cell.factor == 2.0)
    placed = place(double, data)
    p = data.typical_p(placed.pool)
    used = {int(placed.units.members[f.unit][0]) for faults in placed.faults for f in faults}
    assert 0 < placed.n_saturated < placed.n_units
    assert (2.0 * p[list(used)] < 1).all()
    nothing = place(replace(double, factor=30.0), data)
    assert (nothing.n_faults, nothing.stretches) == (0, ())


def test_result_holds_every_figure(done, campaign):
    _, outcome = done
    result = outcome.result
    json.dumps(result, allow_nan=False)
    assert [who["name"] for who in result["contestants"]] == ["true p", "reference"]
    base = result["cells"][0]["figures"]
    assert set(base["true p"]) == {"z", "mixture", "known"}
    assert set(base["reference"]) == {"source", "z", "mixture", "calibrated"}
    table = long_table(result)
    figures = set(table["figure"])
    wanted = {"fpr_at_0.9", "fpr_at_0.95", "fpr_at_0.99", "roc_auc", "pr_auc", "precision", "recall", "f1"}
    assert wanted | {"found", "named", "delay_ls_0.5", "false_alarms_per_day"} <= figures
    inside = table.dropna(subset=["low", "high", "value"])
    assert (inside["low"] <= inside["value"] + 1e-9).all()
    assert (inside["value"] <= inside["high"] + 1e-9).all()
    told = next(who for who in result["contestants"] if who["name"] == "reference")
    assert told["n_parameters"] == 6768
    assert told["ms_per_ls"] > 0
    assert told["training_seconds"] > 0


def test_nothing_beats_who_knows_all(done):
    for cell in done[1].result["cells"]:
        bound = cell["figures"]["true p"]["known"]["channel"]["roc_auc"][0]
        for figures in cell["figures"].values():
            assert all(told["channel"]["roc_auc"][0] <= bound + 0.01 for told in figures.values())


def test_the_reference_stays_near_its_bound_and_the_source_score_does_not(done):
    base = next(cell for cell in done[1].result["cells"] if cell["factor"] == 0.6)["figures"]
    assert base["reference"]["mixture"]["channel"]["roc_auc"][0] > 0.999
    assert (
        base["reference"]["source"]["channel"]["pr_auc"][0] <= base["reference"]["z"]["channel"]["pr_auc"][0]
    )


def test_files_are_whole(done):
    out, outcome = done
    assert all(path.is_file() for path in outcome.files)
    page = (out / "report.html").read_text()
    assert "http" not in page.split("<body>")[0]
    assert page.count('<img src="data:image/png') == 2  # one picture per kind of unit
    assert "| reference, source score |" in (out / "campaign.md").read_text()
    assert "seed 1" in outcome.markdown
    assert json.loads((out / "campaign.json").read_text())["provenance"]["seed"] == 1
    assert not list(out.glob("work/*/healthy-*[0-9].npz"))  # what is large is gone


def test_a_second_call_computes_nothing_and_says_the_same(done, campaign, monkeypatch):
    out, outcome = done
    monkeypatch.setattr(running, "_executor", _here)
    monkeypatch.setattr(running, "_work", lambda *_: pytest.fail("a piece was done twice"))
    everyone = running.run_campaign(campaign, CampaignOptions(out))
    assert collect(Workbench(Bench(campaign, out)), everyone)["cells"] == outcome.result["cells"]


def test_a_lost_piece_is_done_again_to_the_same_result(done, campaign, monkeypatch):
    out, _ = done
    lost = sorted(out.glob("work/reference-*/cell-rbx*.json"))
    assert lost
    before = json.loads(lost[0].read_text())
    lost[0].unlink()
    monkeypatch.setattr(running, "_executor", _here)
    running.run_campaign(campaign, CampaignOptions(out))
    assert json.loads(lost[0].read_text()) == before


def test_another_model_joins_without_the_others_being_scored_again(done, campaign, monkeypatch, tmp_path):
    out, _ = done
    channel = Workbench(Bench(campaign, out)).data.table["channel"].to_numpy(np.int64)
    model = BaselineWindows("ring", Template("run3", channel, np.zeros(len(channel))), campaign.window)
    save_baseline(tmp_path / "flat", model, {"runs": []})
    monkeypatch.setattr(running, "_executor", _here)
    everyone = running.run_campaign(campaign, CampaignOptions(out, (tmp_path / "flat",)))
    assert [who.name for who in everyone] == ["true p", "reference", "flat"]
    with pytest.raises(InputError, match="different names"):
        contestants([tmp_path / "flat", tmp_path / "flat"], campaign)


def test_a_bundle_of_other_channels_is_refused(done, campaign, monkeypatch, tmp_path):
    channel = Workbench(Bench(campaign, tmp_path)).data.table["channel"].to_numpy(np.int64)[:100]
    model = BaselineWindows("ring", Template("run3", channel, np.zeros(len(channel))), campaign.window)
    save_baseline(tmp_path / "few", model, {"runs": []})
    monkeypatch.setattr(running, "_executor", _here)
    with pytest.raises(InputError, match="100 channels"):
        running.run_campaign(campaign, CampaignOptions(done[0], (tmp_path / "few",)))


def test_a_folder_of_something_else_is_left_alone(campaign, tmp_path):
    (tmp_path / "mine.txt").write_text("dear")
    with pytest.raises(ConflictError):
        running.run_campaign(campaign, CampaignOptions(tmp_path))


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"faults": {"least": 9}}, {"judgement": {"channel_rate": 0.2}}]
)
def test_work_of_other_settings_is_refused(campaign, change, tmp_path):
    claim_folder(campaign, tmp_path)
    check_folder(campaign, tmp_path)
    given = campaign.model_dump()
    inner = {
        key: {**given[key], **value} if isinstance(value, dict) else value for key, value in change.items()
    }
    with pytest.raises(ConflictError, match=r"other settings.*delete .*work"):
        running.run_campaign(type(campaign).model_validate({**given, **inner}), CampaignOptions(tmp_path))


def test_work_that_does_not_tell_its_settings_is_refused(campaign, tmp_path):
    (tmp_path / "campaign.json").write_text("{}")
    check_folder(campaign, tmp_path)  # a finished campaign whose work was deleted
    (tmp_path / "work" / "runs").mkdir(parents=True)
    with pytest.raises(ConflictError, match="does not tell its settings"):
        check_folder(campaign, tmp_path)


def test_a_killed_rerun_leaves_the_result_and_can_go_on(campaign, monkeypatch, tmp_path):
    (tmp_path / "campaign.json").write_text('{"finished": true}')

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_executor", _here)
    monkeypatch.setattr(running, "draw_run", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            running.run_campaign(campaign, CampaignOptions(tmp_path))
        assert (tmp_path / "campaign.json").read_text() == '{"finished": true}'
    (tmp_path / "campaign.json").unlink()  # as after a first call that was killed
    check_folder(campaign, tmp_path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"healthy": "othr"}, "did you mean other"),
        ({"base": {"ring": "midle"}}, "did you mean middle"),
        ({"axes": {"unit": ("tower",)}}, "unit"),
        ({"rings": {"middle": (0.7, 0.3)}}, "the first must be the lower"),
        ({"rings": {"middle": (float("nan"), 0.3)}}, "less than or equal to 1"),
        (
            {"validation": {"said": "validation", "pileup": (48.0,), "first_run": 390002}},
            "run 390002 is in training and in validation",
        ),
        (
            {"conditions": {"other": {"said": "other", "pileup": (48.0,), "first_run": 391001}}},
            "run 391001 is in validation and in conditions.other",
        ),
    ],
)
def test_a_campaign_that_cannot_be_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        _small(**change)


def test_without_the_deployed_network_none_stands_for_it():
    other = {"name": "ours", "kind": "network", "model": "binomial-response"}
    theirs = {"name": "theirs", "kind": "network", "model": "cnn-vae-lstm+rin+dc"}
    assert deployed({"contestants": [other]}) is None
    assert deployed({"contestants": [other, theirs]}) == "theirs"


def test_unknown_campaigns_are_named():
    with pytest.raises(UnknownNameError, match="published"):
        load_campaign("publishd")


def test_alarms_that_last_count_once():
    window, channel = np.array([0, 1, 2, 9, 10, 0]), np.array([5, 5, 5, 5, 5, 6])
    # Windows 9 and 10 are of two runs: alarms of channel 5 are 0-2, 9 and 10, of channel 6 there is one.
    assert count_alarms(window, channel, 10) == 4
    assert count_alarms(window[:0], channel[:0], 10) == 0


def test_threshold_of_one_alarm_a_day():
    pool = Pool("other", "other runs", (None, None), 0, 10_000, 5)
    rng = np.random.default_rng(1)
    top = rng.exponential(size=(4000, 8)).astype(np.float32)
    where = rng.integers(0, 6000, (4000, 8))
    threshold, allowed = threshold_of_a_day(top, where, pool, 20_000)
    assert allowed == 5
    window, rank = np.nonzero(top > threshold)
    assert count_alarms(window, where[window, rank], pool.per_run) == 5


def test_training_store_ends_where_training_ends(campaign, tmp_path):
    sides = write_training_store(campaign, tmp_path / "store")
    run = open_run(tmp_path / "store", sides["train"][0])
    assert run.sizes["ls"] == campaign.train_ls
    data = CampaignData(campaign, tmp_path / "runs")
    assert data.pools["later"].first_ls == campaign.train_ls
    assert len(sides["validation"]) == len(campaign.validation.pileup)


@pytest.mark.parametrize(
    "change, word",
    [
        ({"conditions": {"training": "pileup"}}, "training runs"),
        ({"conditions": {"validation": "pileup"}}, "validation runs"),
        ({"conditions": {"a/b": "pileup"}}, "pattern"),
        ({"validation": {"later": True, "said": "x"}}, "validation with later"),
        ({"training": {"later": True, "said": "x"}}, "training with later"),
        ({"other_ls": 10}, "in a line"),
        ({"other_ls": 3}, "in a line"),
        ({"train_ls": 4}, "in a line"),
        ({"axes": {"factor": (float("inf"),)}}, "finite"),
        ({"subdets": ("HE", "HE")}, "twice"),
        ({"baselines": ("ring", "ring")}, "twice"),
        ({"layout": "xx"}, "layout"),
        ({"rings": {"middle": (0.3, 1.7)}}, "less than or equal to 1"),
        ({"window_of": "spoon"}, "spoon"),
    ],
)
def test_nonsense_is_refused_before_any_run_is_drawn(change, word):
    given = load_campaign("tiny").model_dump()
    conditions = dict(given["conditions"])
    for name, source in change.get("conditions", {}).items():
        conditions[name] = conditions[source] | {"first_run": 399001}
    if "other_ls" in change:
        conditions["other"] = conditions["other"] | {"n_ls": change["other_ls"]}
    given["conditions"] = conditions
    if "window_of" in change:
        given["faults"] = {**given["faults"], "per_window": {**given["faults"]["per_window"], "spoon": 1}}
    plain = {
        key: value for key, value in change.items() if key not in ("conditions", "other_ls", "window_of")
    }
    with pytest.raises(ValueError, match=word):
        type(load_campaign("tiny")).model_validate(given | plain)


def test_a_bundle_that_does_not_tell_its_runs_is_told(campaign, tmp_path):
    assert "does not tell the runs" in check_unseen(tmp_path, {}, campaign)
