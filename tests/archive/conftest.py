from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Test modules are imported by path; what they share lies beside them and with the instruments they test on.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "plugin"))

from archive_world import *  # noqa: F403
from core_fixtures import *  # noqa: F403


@pytest.fixture(scope="session")
def schemas() -> Path:
    """Folder of XSD and Schematron of the dictionaries; skips the test where it is absent."""
    default = Path(__file__).resolve().parents[3] / "shared" / "pds4" / "IM_1P00"
    folder = Path(os.environ.get("PERIJOVE_PDS4_SCHEMAS", default))
    if not folder.is_dir():
        pytest.skip(f"PDS4 schemas not present ({folder}); set PERIJOVE_PDS4_SCHEMAS")
    return folder
