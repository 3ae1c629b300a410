"""The geometry of a pass as a file of the store, made once for given kernels and times."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.clock import Span
from pipeline.dataset import netcdf
from pipeline.geometry import Geometry
from pipeline.passes import Pass
from pipeline.runs.keys import canonical, file_sha256
from pipeline.runs.store import Store

# Geometry reaches this far beyond the data: halos, light time, filter delays.
PADDING = 120.0
