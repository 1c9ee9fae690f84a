"""The report file: complete, escaped, offline, and written whole or not at all."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from calowatch.core.errors import ConflictError
from calowatch.core.progress import SilentProgress
from calowatch.detector.table import channel_table
from calowatch.present import report as report_module
from calowatch.present.maps import index_grid
from calowatch.present.payload import unpacked
from calowatch.present.report import MOST_TIMELINES, write_report

HOSTILE = "</script><script>alert('x')</script><img src=http://evil.example/x>"
FAULTS = (
    ("HEM15", "rbx", "dead", 0.0, 3),
    ("HEP07-RM3-F4", "fibre", "sporadic", 0.5, 5),
    ("HB+5-20-1", "channel_name", "hot", 2.0, 1),
)


class Page(HTMLParser):
    """Collects a page's text, its attributes that load something, its tags and the data of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.tags, self.words, self.data, self._within = [], [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        given = dict(attrs)
        self.loads += [given[name] for name in ("src", "href", "srcset", "data", "action") if name in given]
        self._within = given.get("id", tag) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._within = None

    def handle_data(self, data):
        if self._within is None:
            self.words.append(data)
        elif self._within.startswith("data-"):
            self.data[self._within] = json.loads(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def written(folder, run):
    return Page(write_report(folder, run)[0].read_text())


@pytest.fixture(scope="module")
def full(tmp_path_factory, make_run):
    """A run of the full detector, its files and its page."""
    run = make_run(faults=FAULTS)
    run = replace(run, verdicts=[*run.verdicts[:2], replace(run.verdicts[2], known=True)])
    paths = write_report(tmp_path_factory.mktemp("full"), run)
    return run, paths, Page(paths[0].read_text())


def test_files_of_the_full_detector(full):
    _, paths, _ = full
    assert paths[0].name == "report.html"
    assert paths[0].stat().st_size < 12e6
    assert len(paths) == 1 + 4 * 4
    assert all(path.is_file() and path.parent.name == "maps" for path in paths[1:])


def test_every_unit_is_named_and_known_ones_stand_apart(full):
    run, _, page = full
    assert all(verdict.unit in page.text for verdict in run.verdicts)
    assert "2 failing units" in page.text
    assert "run 362760" in page.text
    apart = page.text.index("No action")
    assert page.text.index("HEM15") < apart < page.text.rindex("HB+5-20-1")
    assert page.text.count("found") >= len(run.truth)


def test_nothing_is_loaded_from_anywhere(full):
    _, paths, page = full
    assert all(value.startswith(("#", "data:")) for value in page.loads)
    assert {"iframe", "object", "embed"}.isdisjoint(page.tags)
    assert "modulepreload" not in paths[0].read_text()
    templates = Path(report_module.__file__).parent / "templates"
    for name in ("report.css", "report.js"):
        own = (templates / name).read_text()
        assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|import\(", own)


def test_plotly_is_inlined_once(full):
    _, paths, _ = full
    text = paths[0].read_text()
    assert text.count("plotly.js v") == 1


def test_packed_maps_give_the_channels_back(full):
    run, _, page = full
    maps = page.data["data-maps"]
    part = maps["subdets"]["HF"]
    cells = unpacked(part["panels"][1]["cells"], "<i4").reshape(72, -1)
    reach = part["reach"]
    np.testing.assert_array_equal(
        cells, index_grid(channel_table("run3"), "HF", 2)[:, 41 - reach : 42 + reach]
    )
    counts = unpacked(maps["counts"], "<f8")
    np.testing.assert_array_equal(counts, run.occupancy["counts"].sum("ls"))
    names = maps["names"]
    assert len(names["channel"]) == 21456
    row = names["channel"].index("HE-27-57-3")
    rbx = names["hardware"]["rbx"]
    assert rbx["names"][unpacked(rbx["codes"], "<i4")[row]] == "HEM15"
    assert maps["first"] == "HE"
    assert maps["limit"] == 10


def test_one_timeline_per_failing_unit_with_its_stretch_shaded(full):
    _, _, page = full
    assert {name for name in page.data if "timeline" in name} == {"data-timeline-0", "data-timeline-1"}
    figure = page.data["data-timeline-0"]
    shaded = [shape for shape in figure["layout"]["shapes"] if shape["type"] == "rect"]
    assert [(shape["x0"], shape["x1"]) for shape in shaded] == [(2.5, 9.5)]
    assert any(
        shape["type"] == "line" and shape["y0"] == shape["y1"] == 1 for shape in figure["layout"]["shapes"]
    )


def test_hostile_texts_are_shown_not_run(small_run, tmp_path):
    dead = replace(small_run.verdicts[0], unit=HOSTILE)
    truth = [{"unit": HOSTILE, "kind": HOSTILE, "first_ls": 1, "last_ls": 2}]
    occupancy = small_run.occupancy.assign_attrs(provenance={"note": HOSTILE})
    run = replace(
        small_run,
        verdicts=[dead],
        truth=truth,
        occupancy=occupancy,
        summary={HOSTILE: HOSTILE, "warnings": [HOSTILE]},
    )
    page = written(tmp_path, run)
    clean = written(tmp_path, replace(small_run, verdicts=small_run.verdicts[:1]))
    assert page.tags.count("script") == clean.tags.count("script")
    assert "img" not in page.tags
    assert page.text.count("alert('x')") >= 5
    assert "&lt;/script&gt;" in page.data["data-timeline-0"]["layout"]["title"]["text"]
    assert page.data["data-maps"]["unit_names"] == [f"{HOSTILE}: dead"]


def test_a_healthy_run(make_run, tmp_path):
    page = written(tmp_path, replace(make_run(keep="subdet == 'HO'"), truth=[]))
    assert "No failing unit" in page.text
    assert "simulated healthy" in page.text
    assert not [name for name in page.data if "timeline" in name]


def test_real_data_has_no_truth_table(small_run, tmp_path):
    assert "Injected" not in written(tmp_path, replace(small_run, truth=None)).text


def test_a_run_without_any_verdict_and_unknown_events(make_run, tmp_path):
    run = make_run(keep="subdet == 'HO'", events=False)
    warning = "events per LS unknown: only ring-relative evidence"
    nothing = run.evidence.map(lambda values: values * np.nan)
    run = replace(run, evidence=nothing, no_verdict_ls=list(range(1, 10)), summary={"warnings": [warning]})
    page = written(tmp_path, run)
    assert "No verdict: too few events" in page.text
    assert warning in page.text
    assert "9 of 9 LS without a verdict" in page.text
    assert page.data["data-maps"]["titles"]["occupancy"] == "hits per LS"
    assert page.data["data-maps"]["events"] is None
    axes = {
        value["title"]["text"] for name, value in page.data["data-run"]["layout"].items() if "yaxis" in name
    }
    assert axes == {"pile-up", "hits per LS"}


def test_a_run_of_one_lumisection(make_run, tmp_path):
    assert "all 1 lumisections" in written(tmp_path, make_run(n_ls=1, keep="subdet == 'HO'")).text


def test_timelines_are_limited_and_the_rest_counted(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, "write_maps", lambda *_: [])
    many = [
        replace(small_run.verdicts[0], unit=f"U{i:03}", significance=5.0 + i)
        for i in range(MOST_TIMELINES + 3)
    ]
    page = written(tmp_path, replace(small_run, verdicts=many))
    assert sum("timeline" in name for name in page.data) == MOST_TIMELINES
    assert "3 weaker units are left out" in page.text
    assert all(verdict.unit in page.text for verdict in many)
    assert "U026" in page.data["data-timeline-0"]["layout"]["title"]["text"]


def test_a_failure_half_way_leaves_the_old_report(small_run, tmp_path, monkeypatch):
    paths = write_report(tmp_path, small_run)
    before = {path: path.read_bytes() for path in paths}

    def fails(folder, *_):
        (folder / "HO_verdict.png").write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(report_module, "write_maps", fails)
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path, replace(small_run, verdicts=[]))
    assert {path: path.read_bytes() for path in paths} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "report.html"]


def test_a_foreign_maps_folder_is_not_replaced(small_run, tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "holiday.jpg").write_text("mine")
    with pytest.raises(ConflictError, match="maps"):
        write_report(tmp_path, small_run)
    assert not (tmp_path / "report.html").exists()
    assert (tmp_path / "maps" / "holiday.jpg").exists()


def test_progress_is_told_of_each_map(small_run, tmp_path):
    seen = []

    class Watch(SilentProgress):
        def track(self, items, label, total=None):
            seen.append((label, total))
            yield from items

    write_report(tmp_path, small_run, Watch())
    assert seen == [("drawing maps", 4)]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium to run the page's script")
def test_the_page_draws_itself_in_a_browser(full, tmp_path):
    _, paths, _ = full
    for quantity in ("verdict", "evidence"):
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000"]
        command += [f"{paths[0].as_uri()}#quantity={quantity}&subdet=HE"]
        drawn = Page(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
        assert all(f"HE depth {depth}" in drawn.text for depth in range(1, 8))
        assert "HEM15 (dead)" in drawn.text
        assert drawn.text.count("seen / expected") == 2
