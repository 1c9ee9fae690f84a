"""The verb ``explain`` from a bundle to figures."""

import json

import numpy as np
import pytest
from PIL import Image

from calowatch import cli
from calowatch.core.errors import InputError
from calowatch.core.training import ImageTraining
from calowatch.evaluate.explain import ExplainRequest, _unfaithful, explain
from calowatch.evaluate.explain_maps import METHODS
from calowatch.evaluate.shortcuts_faith import read_explained
from calowatch.present.explain import Field
from calowatch.train.images import train_images
from calowatch.train.request import TrainRequest

SMALL = {"patch": [16, 16], "edge": "crop", "dim": 8, "layers": 2, "heads": 2, "mlp": 8, "pool": "class"}


@pytest.fixture(scope="module")
def moe(two_runs, tmp_path_factory):
    """A mixture of experts, trained for a moment; the last 8 columns are not covered."""
    out = tmp_path_factory.mktemp("explained") / "moe"
    recipe = {
        "task": "images",
        "summary": "a test",
        "data": {
            "kind": "runs",
            "classes": ["355456", "357479"],
            "split": {"by": "blocks", "length": 6},
            "steps": ["log1p", "standard"],
        },
        "network": {"name": "moe-vit", "options": SMALL},
        "fit": {"batch": 16, "epochs": 2},
        "export": False,
    }
    train_images(ImageTraining.model_validate(recipe), TrainRequest(out, two_runs, device="cpu"))
    return out


def test_the_verb_writes_maps_figures_and_numbers(moe, tmp_path, capsys):
    out = tmp_path / "out"
    wanted = [
        "--samples",
        "6",
        "--figures",
        "1",
        "--steps",
        "4",
        "--method",
        "gradient",
        "--method",
        "occlusion",
    ]
    assert cli.main(["explain", str(moe), "--out", str(out), *wanted, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "explain.json").read_text())
    pictures = {"sample-0.png", "sample-0-experts.png", "means.png", "experts.png", "faithfulness.png"}
    assert {path.name for path in out.iterdir()} == pictures | {"explain.json", "maps.npz"}
    for name in pictures:
        with Image.open(out / name) as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100, name
    assert [row["method"] for row in read_explained(out / "explain.json").rows] == [
        "gradient",
        "occlusion",
        "random",
        "size",
    ]
    assert {each["true"] for each in told["samples"]} == {"run 355456", "run 357479"}
    assert told["provenance"]["verb"] == "explain"
    assert set(told["provenance"]["options"]["bundle"]) >= {"weights.safetensors"}
    with np.load(out / "maps.npz") as maps:
        assert maps["gradient"].shape == (6, 64, 72)
        assert np.isnan(maps["gradient"][:, :, 64:]).all()
    for each in told["samples"]:
        assert 1 <= each["largest"]["gradient"]["iphi"] <= 64
        assert each["largest"]["gradient"]["ieta"] != 0


def test_images_are_taken_by_name(moe, tmp_path, capsys):
    request = ExplainRequest(tmp_path / "a", samples="4", methods=("cls",), figures=0, steps=2)
    first = explain(moe, request).document["samples"]
    name = f"{first[1]['source'][:9]}:{first[1]['position']}"
    again = explain(moe, ExplainRequest(tmp_path / "b", samples=name, methods=("cls",), figures=0, steps=2))
    assert again.document["samples"] == [first[1]]
    assert again.document["faithfulness"][0]["deletion_low"] is None
    for samples, words in (("Run355456:999", "one image of this side"), ("all", "a number of images")):
        with pytest.raises(InputError, match=words):
            explain(moe, ExplainRequest(tmp_path / "c", samples=samples))
    assert cli.main(["explain", str(moe), "--out", str(tmp_path / "d"), "--method", "gradcam"]) == 2
    assert "gradcam" in capsys.readouterr().err
    assert cli.main(["explain", str(moe), "--out", str(tmp_path / "d"), "--baseline", "black"]) == 2


def test_cells_are_named_as_the_detector_names_them():
    all_of = np.ones((64, 72), bool)
    field = Field(("ieta", "iphi"), "runs", all_of, ~all_of, all_of)
    assert field.name(0, 0) == {"ieta": -32, "iphi": 1}
    assert field.name(31, 71) == {"ieta": -1, "iphi": 72}
    assert field.name(32, 5) == {"ieta": 1, "iphi": 6}
    assert Field(("row", "column"), "jets", all_of, ~all_of, all_of).name(3, 4) == {"row": 3, "column": 4}


def test_unfaithful_methods_are_named_with_what_was_compared():
    beside = {"score_over_size": 0.3, "score_over_size_low": 0.2, "score_over_size_high": 0.4}
    good = {"score_over_random": 0.3, "score_over_random_low": 0.2, "score_over_random_high": 0.4, **beside}
    bad = {"score_over_random": 0.0, "score_over_random_low": -0.1, "score_over_random_high": 0.1, **beside}
    rows = [
        {"method": "cls", "score": 0.1, **bad},
        {"method": "occlusion", "score": 0.4, **good},
        {"method": "random", "score": 0.1},
        {"method": "size", "score": -0.2},
    ]
    (note,) = _unfaithful(rows, 24)
    for words in (
        "no more faithful than random order (0.100; difference 0.000, 95 % -0.100 to 0.100)",
        "mean of 24 images; this one's is 0.100",
        f"look at {METHODS['occlusion']} instead",
    ):
        assert words in note
    assert "size" not in note
    (alone,) = _unfaithful([rows[0], *rows[2:]], 1)
    assert "mean of 1 image;" in alone
    assert "no method tried exceeds both" in alone
    few = {"score_over_random": -0.2, "score_over_random_low": None, "score_over_size": 1.0}
    rows[0] = {"method": "cls", "score": 0.1, **few}
    assert "difference -0.200)" in _unfaithful([rows[0], *rows[2:]], 3)[0]
