"""How long a long run of the full detector takes: `pytest benchmarks/test_simulation.py --benchmark-enable`."""

from calowatch.simulate.occupancy import OccupancySettings, occupancy


def test_thousand_lumisections(benchmark):
    settings = OccupancySettings(n_ls=1000)
    data, _ = benchmark.pedantic(occupancy, args=(settings,), rounds=1, iterations=1)
    assert data.sizes == {"ls": 1000, "channel": 21456}
