"""The files of a raw granule as they came, beside what was decoded from them: nothing of them is lost.

Text of seven bits is described as text, all else as one array of bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from pipeline.archive.declaration import Pds4
from pipeline.archive.label import file_of, objects_of, text_object
from pipeline.archive.labels import SUFFIXES
from pipeline.archive.layout import BLOCK, Array, Written, stored_as, write_objects
from pipeline.archive.xml import Element, make
from pipeline.dataset.parts import Part

PREFIX = "original_"


@dataclass(frozen=True)
class Original:
    """A file of a granule.

    Parameters
    ----------
    role : what the file is for its reader: ``label``, ``data``, ...
    """

    role: str
    path: Path

    @property
    def identifier(self) -> str:
        """Local identifier in the label."""
        return f"{PREFIX}{self.role}"

    @property
    def name(self) -> str:
        """Its name in the archive, where a label of others must not look like one of the bundle's."""
        return f"{self.path.name}.txt" if self.path.suffix.lower() in SUFFIXES else self.path.name

    def part(self) -> Part:
        """Its bytes, read where they are needed."""
        content = np.memmap(self.path, np.uint8, "r")
        attrs = {"long_name": f"All bytes of {self.path.name} as received"}
        return Part(
            self.identifier, ("byte",), content.shape, content.dtype, attrs, False, lambda a, b: content[a:b], BLOCK
        )

    def write(self, folder: Path) -> Written:
        """Copy it."""
        return write_objects(folder / self.name, [Array(stored_as(self.part()))])

    def area(self, written: Written, date: datetime, pds4: Pds4) -> Element:
        """Its part of the label."""
        delimiter = delimiter_of(self.path)
        described = (
            objects_of(written, pds4)
            if delimiter is None
            else [
                text_object(
                    written, self.identifier, f"{self.path.name} as received", "7-Bit ASCII Text", delimiter,
                )
            ]
        )  # fmt: skip
        return make("File_Area_Observational_Supplemental", file_of(written, date), *described)


def originals_of(files: Mapping[str, Path]) -> list[Original]:
    """The files of a granule that hold anything."""
    return [Original(role, path) for role, path in sorted(files.items()) if path.stat().st_size]


def delimiter_of(path: Path) -> str | None:
    """How the lines of a text of seven bits end, as PDS4 calls it; None for anything else."""
    content = np.memmap(path, np.uint8, "r")
    returns = feeds = pairs = 0
    for start in range(0, len(content), BLOCK):
        block = content[start : start + BLOCK + 1]
        own = block[:BLOCK]
        if ((own > 126) | (own < 32) & (own != 9) & (own != 10) & (own != 13)).any():
            return None
        returns += int((own == 13).sum())
        feeds += int((own == 10).sum())
        pairs += int(((block[:-1] == 13) & (block[1:] == 10)).sum())
    if not feeds or returns not in (0, feeds) or pairs != returns:
        return None
    return "Carriage-Return Line-Feed" if returns else "Line-Feed"
