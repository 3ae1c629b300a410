"""What the PDS4 labels of MAG say beyond the schemas."""

from __future__ import annotations

from instruments.mag.sts_export import write_level_3
from pipeline.archive.declaration import Facet, Pds4

PDS4 = Pds4(
    context="fgm.jno",
    facets=(Facet("Fields", "Magnetic", "Background", domains=("Magnetosphere",)),),
    levels={"mag.model": "Derived", "mag.zeros": "Derived"},
    legacy=write_level_3,
)
