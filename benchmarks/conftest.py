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
    at_most: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        if self.at_least is None and self.at_most is None:
            return f"{self.name}: {self.value:.3g} {self.unit}"
        if self.at_least is not None:
            goal, met = f"at least {self.at_least:g}", self.value >= self.at_least
        else:
            goal, met = f"at most {self.at_most:g}", self.at_most is None or self.value <= self.at_most
        return f"{self.name}: {self.value:.3g} {self.unit} (goal {goal}, {'met' if met else 'MISSED'})"


FIGURES = pytest.StashKey[list[Figure]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record a figure: ``figure("conversion against bare reading", 1.12, "times", 1.3)``, or ``at_least=0.8``."""

    def record(
        name: str, value: float, unit: str, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        request.config.stash[FIGURES].append(Figure(name, value, unit, at_most, at_least))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = terminalreporter.config.stash[FIGURES]
    if figures:
        terminalreporter.section("figures")
        for one in figures:
            terminalreporter.write_line(str(one))
