"""pytest plugin that gives the compliance suite its instruments."""

from __future__ import annotations

import pytest

from pipeline import registry


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--instrument``."""
    parser.addoption("--instrument", action="append", default=[], help="instrument to check; default: all")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every compliance test once per instrument."""
    if "instrument" in metafunc.fixturenames:
        names = metafunc.config.getoption("--instrument") or registry.names()
        metafunc.parametrize("instrument", [registry.load(n) for n in names], ids=names)
