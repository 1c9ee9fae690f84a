"""The verb: files written whole, sources told apart, the page complete and drawn by a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import calowatch
from calowatch import cli
from calowatch.core.errors import InputError
from calowatch.evaluate import explore as verb
from calowatch.evaluate.explore import ExploreSettings
from calowatch.io.images import write_images
from calowatch.io.store import write_run
from calowatch.present.explore_colours import series_colours


def images_of(run, n=6):
    images = np.zeros((n, 64, 72))
    images[:, 3:12, ::2] = np.random.default_rng(run).uniform(100, 1400, (n, 9, 36))
    return images


@pytest.fixture(scope="module")
def sources(tmp_path_factory, toy_run):
    """A store of two runs, one of them with some of HE as well, and two image sets."""
    folder = tmp_path_factory.mktemp("sources")
    for run, subdets in ((362758, ("HO",)), (362760, ("HE", "HO"))):
        toy = toy_run(n_ls=12, seed=run, run=run, subdets=subdets)
        few = toy.occupancy["depth"].isin([1, 2, 4]) & ~(
            toy.occupancy["ieta"] > 20
        )  # figures take their time
        occupancy = toy.occupancy.isel(channel=np.flatnonzero(few)).assign(
            pileup=("ls", np.linspace(52, 48, 12))
        )
        write_run(folder / "runs.zarr", occupancy)
    (folder / "images").mkdir()
    for run in (355456, 357479):
        write_images(folder / "images" / f"Run{run}_Dataset_a.npy", images_of(run))
    return folder


@pytest.fixture(scope="module")
def explored(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return calowatch.explore([sources / "runs.zarr", sources / "images"], out), out


class Page(HTMLParser):
    """What a page loads, says, and holds as data."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.words, self.data, self._within = [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.loads += [given[name] for name in ("src", "href", "action") if name in given]
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


def test_files(explored):
    done, out = explored
    names = {path.name for path in done.files}
    assert {path.name for path in out.iterdir()} == names
    assert {"explore.html", "explore.json", "conditions.png", "totals_HE.png", "variance_HO.png"} <= names
    assert {"drift_HO.png", "occupancy_HE_run362760.png", "images_mean.png", "images_difference.png"} <= names
    assert "drift_HE.png" not in names  # only one run has HE
    assert "occupancy_HE_run362758.png" not in names


def test_the_json_holds_every_number(explored):
    done, out = explored
    document = json.loads((out / "explore.json").read_text())
    assert document == json.loads(json.dumps(done.document))
    first, second = document["runs"]
    assert (first["run"], second["run"]) == (362758, 362760)
    assert len(first["per_ls"]["pileup"]) == 12
    assert sum(second["channels"]["digis"]) == second["digis"]
    assert {row["subdet"] for row in second["regressions"]} == {"HE", "HO"}
    assert {row["run"] for row in document["drift"]} == {362760}
    assert len(document["images"]) == 2
    assert np.shape(document["differences"][0]["mean"]) == (64, 72)
    assert [source["name"] for source in document["provenance"]["sources"]] == [
        "runs.zarr::362758",
        "runs.zarr::362760",
        "Run355456_Dataset_a.npy",
        "Run357479_Dataset_a.npy",
    ]


def test_the_page_is_complete_and_offline(explored):
    _, out = explored
    page = Page((out / "explore.html").read_text())
    assert all(value.startswith(("#", "data:")) for value in page.loads)
    assert "2 runs and 2 image sets" in page.text
    figures = page.data["data-figures"]
    assert {"conditions", "totals-HE", "variance-HE", "drift-HO", "images-mean", "images-values"} <= set(
        figures
    )
    assert len(page.data["data-maps"]["geometries"]) == 2
    assert page.data["data-maps"]["quantities"] == ["occupancy", "variance"]
    marks = [trace["marker"]["color"] for trace in figures["totals-HO"]["data"] if trace["mode"] == "markers"]
    assert sorted(set(marks)) == sorted(series_colours(2))


def test_an_earlier_exploration_is_replaced_whole_or_not_at_all(sources, tmp_path, monkeypatch):
    settings = ExploreSettings(png=False)
    calowatch.explore([sources / "images"], tmp_path / "out", settings)
    (tmp_path / "out" / "mine.txt").write_text("stays")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(verb, "exploration_page", fails)
    with pytest.raises(OSError, match="disk full"):
        calowatch.explore([sources / "runs.zarr::362758"], tmp_path / "out", settings)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_labels_are_one_per_file_and_differ(sources, tmp_path):
    files = sorted((sources / "images").iterdir())
    with pytest.raises(InputError, match="one label per image file"):
        calowatch.explore(files, tmp_path / "out", ExploreSettings(labels=("a",)))
    with pytest.raises(InputError, match="a more than once"):
        calowatch.explore(files, tmp_path / "out", ExploreSettings(labels=("a", "a")))
    assert not (tmp_path / "out").exists()


def test_hostile_labels_are_shown_not_run(sources, tmp_path):
    hostile = "</script><img src=http://evil.example/x>"
    files = sorted((sources / "images").iterdir())
    calowatch.explore(files, tmp_path, ExploreSettings(labels=(hostile, "b"), png=False))
    page = Page((tmp_path / "explore.html").read_text())
    assert all(value.startswith("data:") for value in page.loads)
    assert hostile in page.text


def test_rechits_become_a_second_map(toy_run, tmp_path):
    from calowatch.evaluate.explore_runs import run_numbers
    from calowatch.present.explore_given import Exploration
    from calowatch.present.explore_page import exploration_page
    from calowatch.present.explore_runs_png import write_run_figures

    occupancy = toy_run(n_ls=3, subdets=("HO",)).occupancy
    run = run_numbers(occupancy.assign(rechits=(occupancy["counts"] * 0.9).astype(np.int32)))
    drift = pd.DataFrame(columns=["run", "subdet", "ln_ratio", "error"])
    given = Exploration((run,), drift, (), np.array([0.0, 1.0]), {})
    names = {path.name for path in write_run_figures(tmp_path, given)}
    assert "ratio_HO_run362760.png" in names
    page = Page(exploration_page(given))
    assert page.data["data-maps"]["quantities"] == ["occupancy", "variance", "ratio"]
    assert "RecHits over digis" in page.text


def test_many_runs_keep_colours_apart():
    for n in (1, 7, 8, 60):
        assert len(set(series_colours(n))) == n


def test_the_command_line(sources, tmp_path, capsys):
    words = ["explore", str(sources / "images"), "--out", str(tmp_path / "a"), "--no-png"]
    assert cli.main(words) == 0
    assert "sparsity" in capsys.readouterr().out
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["label"] == "run 355456"
    assert cli.main(["explore", str(tmp_path / "nothing.npy"), "--out", str(tmp_path / "b")]) == 2
    assert not (tmp_path / "b").exists()


def test_the_script_loads_nothing():
    from pathlib import Path

    from calowatch.present import explore_page

    for name in ("explore.js", "explore.html.j2"):
        text = (Path(explore_page.__file__).parent / "templates" / name).read_text()
        assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium to run the page's script")
def test_the_page_draws_itself_in_a_browser(explored, tmp_path):
    _, out = explored
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000"]
    command += [f"{(out / 'explore.html').as_uri()}#subdet=HO&quantity=variance"]
    drawn = Page(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert "HO depth 4" in drawn.text
    assert "not measured" in drawn.text
    assert "variance / binomial" in drawn.text
    assert "run 357479 - run 355456" in drawn.text
