"""Where the spacecraft is and looks; the only room that touches SPICE.

`make_geometry` makes a `Geometry` from kernels or, without any, by propagation. A geometry is arrays only: it can be
sent to a worker, kept in a file, and asked from several threads.
"""

from __future__ import annotations

from pipeline.geometry.make import make_geometry
from pipeline.geometry.model import Geometry

__all__ = ["Geometry", "make_geometry"]
