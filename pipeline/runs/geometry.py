"""The geometry of a pass as a file of the store, made once for given kernels and times."""

from __future__ import annotations

# Geometry reaches this far beyond the data: halos, light time, filter delays.
PADDING = 120.0
