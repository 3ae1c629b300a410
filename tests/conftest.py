"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
# Given to the processes of the tests by their runner; what is shown must not depend on it.
os.environ.pop("COLUMNS", None)
# The same examples everywhere, so that a test says the same of the same code; bench/fuzz looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a folder go to one process: they share its worlds, which are simulated once."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests"):  # not the compliance suite, run by its name
            place = item.path.relative_to(ROOT / "tests").parts
            item.add_marker(pytest.mark.xdist_group(place[0]))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the mission's real files; skips the test where it is absent."""
    folder = Path(os.environ.get("PERIJOVE_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not present ({folder}); set PERIJOVE_REAL_DATA")
    return folder
