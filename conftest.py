"""What holds for every test and doctest: none of them sees the maps of whoever runs them."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _own_configuration(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Point the user's configuration to an empty place."""
    monkeypatch.setenv("CALOWATCH_CONFIG", str(tmp_path_factory.getbasetemp() / "no_configuration"))
    yield
