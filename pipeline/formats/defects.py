"""What labels of the archive are known to say wrongly, put right before anything is read by them.

The table is ``pipeline/data/archive_defects.yaml``. A reader calls `corrected` on the label it has read, goes on with
the label it gets, and writes what was corrected into its dataset::

    label, corrections = corrected(read_label(path))
    raw.attrs["label_corrections"] = "; ".join(map(str, corrections))
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from pipeline.clock import DATA
from pipeline.formats.pds3 import Block, Label, Quantity
from pipeline.formats.pds3_columns import expanded

OBJECT = "OBJECT"  # in the table, the name of a block in place of a keyword


@dataclass(frozen=True)
class Defect:
    """One entry of the table, whose head says what the fields mean."""

    name: str
    label: dict[str, str]
    block: str
    keyword: str
    was: str
    now: Any
    why: str
    source: str
    columns: bool = False

    def concerns(self, label: Label) -> bool:
        """Whether the label is of those that may have the defect."""
        blocks = (label, *label.objects("FILE"))
        return all(
            any(key in block and re.fullmatch(value, _text(block[key])) for block in blocks)
            for key, value in self.label.items()
        )

    def is_in(self, names: tuple[str, ...], keyword: str, value: Any) -> bool:
        """Whether a keyword of a block with one of these names has the wrong value."""
        return (
            re.fullmatch(self.keyword, keyword) is not None
            and any(re.fullmatch(self.block, name) for name in names)
            and re.fullmatch(self.was, _text(value)) is not None
        )


@dataclass(frozen=True)
class Correction:
    """What was put right in a label: the defect's name, where, the label's value, the right one, and why."""

    defect: str
    place: str
    was: Any
    now: Any
    why: str

    def __str__(self) -> str:
        return f"{self.place} is {_text(self.was)}, read as {_text(self.now)}: {self.why} ({self.defect})"


@cache
def defects() -> tuple[Defect, ...]:
    """All known defects."""
    table = yaml.safe_load((DATA / "archive_defects.yaml").read_text(encoding="utf-8"))
    return tuple(Defect(name, **entry) for name, entry in table.items())


def corrected(label: Label) -> tuple[Label, tuple[Correction, ...]]:
    """Put right what is known to be wrong in a label.

    Returns
    -------
    label, corrections
        the label itself and nothing, if nothing is known to be wrong with it. Else a label with the right values;
        its format files may have been read into it.

    Raises
    ------
    InputError : a format file that is needed is missing or malformed.
    """
    concerning = [defect for defect in defects() if defect.concerns(label)]
    if not concerning:
        return label, ()
    found: dict[Correction, None] = {}  # in order, once each
    pairs = list(_pairs(label, label, ("",), concerning, found))
    if not found:
        return label, ()
    return Label(pairs, label.path, label.text, label.structures), tuple(found)


def _pairs(
    label: Label, block: Block, names: tuple[str, ...], known: list[Defect], found: dict[Correction, None]
) -> Iterator[tuple[str, Any]]:
    """Yield the keywords of a block, put right."""
    for key, value in expanded(label, block) if any(d.columns for d in known) else block.pairs:
        if not isinstance(value, Block):
            yield key, _right(names, key, value, known, found)
            continue
        own = tuple(str(name).upper() for name in (key, value.get("NAME")) if name)
        inner = list(_pairs(label, value, own, known, found))
        yield _right((key,), OBJECT, key, known, found), Block(inner, group=value.group)


def _right(names: tuple[str, ...], keyword: str, value: Any, known: list[Defect], found: dict[Correction, None]) -> Any:
    for defect in known:
        if defect.is_in(names, keyword, value):
            place = f"{names[-1]}.{keyword}".removeprefix(".")
            found[Correction(defect.name, place, value, defect.now, defect.why)] = None
            return defect.now
    return value


def _text(value: Any) -> str:
    """Return a label's value as the table of defects writes it."""
    match value:
        case None:
            return "NULL"
        case Block():
            return OBJECT
        case Quantity():
            return f"{value.value} <{value.unit}>"
    return str(value)
