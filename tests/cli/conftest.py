from __future__ import annotations

import sys
from pathlib import Path

# Test modules are imported by path; what they share lies beside them and with the instruments they test on.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "plugin"))

from cli_world import *  # noqa: F403
from core_fixtures import *  # noqa: F403
