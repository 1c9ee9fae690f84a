"""How many electron and photon images one core makes: physics alone, and with writing them.

`pytest benchmarks/test_generation_egamma.py --benchmark-enable`; in processor time, since other work on the machine is
no fault of the generator.
"""

import time

import pytest

from calowatch.io.egamma import read_egamma
from calowatch.simulate.chunks import Chunk
from calowatch.simulate.egamma import CLASSES, EgammaSettings, make_chunk
from calowatch.simulate.egamma_files import EgammaRequest, simulate_egamma


@pytest.fixture
def n(request):
    return 4000 if request.config.getoption("benchmark_enable") else 40


def per_second(work, n, rounds=3):
    """Images per second of processor time, the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return n / best


@pytest.mark.parametrize("kind", CLASSES)
def test_generation(n, kind, request, figure):
    chunk = Chunk(0, 0, n, seed=1, stream=CLASSES.index(kind))
    speed = per_second(lambda: make_chunk(EgammaSettings(), chunk), n)
    if request.config.getoption("benchmark_enable"):
        figure(f"generation of {kind}s", speed, "crops/s/core", at_least=1500)


def test_generation_with_files(n, tmp_path, request, figure):
    speed = per_second(lambda: simulate_egamma(EgammaRequest(n, tmp_path, seed=1)), n)
    if request.config.getoption("benchmark_enable"):
        figure("generation of both classes, written", speed, "crops/s/core", at_least=1500)


def test_reading(n, tmp_path, request, figure):
    made = simulate_egamma(EgammaRequest(n, tmp_path, seed=1))
    speed = per_second(lambda: read_egamma(made.files), n)
    if request.config.getoption("benchmark_enable"):
        figure("reading and checking of electron and photon images", speed, "crops/s/core", at_least=5000)
