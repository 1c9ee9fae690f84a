"""What holds for every test and doctest: none of them sees the maps or caches of whoever runs them."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

# A loaded machine is no failure: nothing here is held against the clock.
settings.register_profile("calowatch", deadline=None)
settings.load_profile("calowatch")


@pytest.fixture(scope="session", autouse=True)
def _no_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point the user's configuration and cache to empty places."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALOWATCH_CONFIG", str(tmp_path_factory.getbasetemp() / "no_configuration"))
        patch.setenv("CALOWATCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield
