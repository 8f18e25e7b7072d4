"""Options and summary of the regression gate, `make bench-gate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gate, report

GATE = pytest.StashKey[gate.Gate]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gate", "fastgan's regression gate")
    group.addoption("--store", action="store_true", help="keep this run, and compare nothing")
    group.addoption("--gate-file", type=Path, default=gate.STORED, help="where runs are stored")
    group.addoption("--gate-rounds", type=int, default=40, help="timed calls of each")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[GATE] = gate.Gate(config.getoption("--gate-file"), report.machine())


@pytest.fixture(scope="session")
def stored(request: pytest.FixtureRequest) -> gate.Gate:
    """The gate of this run."""
    return request.config.stash[GATE]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash[GATE]
    if not found.found:
        return
    for line in found.summary(stores=config.getoption("--store")):
        terminalreporter.write_line(line)
    if config.getoption("--store"):
        found.store()
