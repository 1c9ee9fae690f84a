"""What judging the full detector costs per lumisection, on one core: `make bench`.

Two figures: counts to evidence (expectation and signed evidence of 21,456 channels, what an online service does as a
lumisection ends), and the whole verdict, with the scan over all factors, stretches and units.
"""

import time

import pytest

from calowatch.detect.decide import Question, decide
from calowatch.detect.evidence import signed_evidence
from calowatch.models.reference import Reference, usable_ls
from calowatch.simulate.occupancy import OccupancySettings, occupancy

N_LS = 200


@pytest.fixture(scope="module")
def fitted():
    healthy = occupancy(OccupancySettings(run=362758, n_ls=40, seed=1))[0]
    return Reference().fit([healthy]), occupancy(OccupancySettings(n_ls=N_LS, seed=2))[0]


def _evidence(reference, run):
    expectation = reference.predict(run)
    counts, trials, p = (
        run["counts"].to_numpy(),
        expectation["n_trials"].to_numpy(),
        expectation["p"].to_numpy(),
    )
    for first in range(0, N_LS, 4):
        part = slice(first, first + 4)
        signed_evidence(counts[part], trials[part, None], p[part])
    return expectation


def test_evidence_per_lumisection(benchmark, fitted, figure):
    expectation = benchmark.pedantic(_evidence, args=fitted, rounds=3, iterations=1)
    assert expectation.sizes["ls"] == N_LS
    if benchmark.enabled:
        figure("counts to evidence, full detector", 1e3 * benchmark.stats.stats.min / N_LS, "ms per LS", 5.0)


def test_verdict_per_lumisection(benchmark, fitted, figure):
    reference, run = fitted

    def judge():
        return decide(Question(run, reference.predict(run), usable_ls(run)))

    started = time.process_time()
    assert benchmark.pedantic(judge, rounds=1, iterations=1) == []
    if benchmark.enabled:
        figure(
            "counts to verdict, full detector",
            1e3 * (time.process_time() - started) / N_LS,
            "ms per LS",
            20.0,
        )
