"""Figures that are compared with a goal, printed together at the end: ``make bench``."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Figure:
    """One measured number beside the goal it is held against."""

    name: str
    value: float
    unit: str
    at_most: float

    def __str__(self) -> str:
        verdict = "met" if self.value <= self.at_most else "MISSED"
        return f"{self.name}: {self.value:.3g} {self.unit} (goal at most {self.at_most:g}, {verdict})"


FIGURES = pytest.StashKey[list[Figure]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, float, str, float], None]:
    """Record a figure: ``figure("conversion against bare reading", 1.12, "times", 1.3)``."""

    def record(name: str, value: float, unit: str, at_most: float) -> None:
        request.config.stash[FIGURES].append(Figure(name, value, unit, at_most))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = terminalreporter.config.stash[FIGURES]
    if figures:
        terminalreporter.section("figures")
        for one in figures:
            terminalreporter.write_line(str(one))
