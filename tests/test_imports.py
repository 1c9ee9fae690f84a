"""Importing is cheap, the core needs no torch, and torchvision stays out."""

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "uproot", "matplotlib", "fastapi", "plotly", "xarray", "pandas", "zarr", "h5py", "dask")


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT, timeout=120
    ).stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import calowatch",
        "import calowatch.cli",
        "from calowatch import cli; cli.main(['--help'])",
        "from calowatch import cli; cli.main(['monitor', '--help'])",
    ],
)
def test_no_heavy_library_is_loaded(statement):
    loaded = (
        run_python(f"{statement}\nimport sys\nprint('loaded', *sys.modules)").split("loaded ")[-1].split()
    )
    assert not set(HEAVY) & set(loaded)
    assert "calowatch" in loaded


def test_monitoring_imports_without_torch():
    """`None` in ``sys.modules`` makes an import fail as if the library were not installed."""
    run_python(
        "import sys; sys.modules['torch'] = None; sys.modules['lightning'] = None\n"
        "import calowatch; assert callable(calowatch.monitor) and callable(calowatch.fit)"
    )


def test_every_name_offered_exists():
    import calowatch

    assert all(getattr(calowatch, name) for name in calowatch.__all__)
    with pytest.raises(AttributeError, match="monitr"):
        calowatch.monitr  # noqa: B018


def test_torchvision_is_absent():
    assert "torchvision" not in {distribution.metadata["Name"] for distribution in distributions()}
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert not [line for line in pins if line.startswith("torchvision")]


def test_constraints_pin_what_the_project_names():
    import re
    import tomllib

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    names = {re.split(r"[\[<>=~ ]", requirement)[0].lower() for requirement in wanted} - {"calowatch"}
    assert names <= pins
    assert all("==" in line for line in lines if not line.startswith("#"))
    assert "torch==2.13.0" in lines
