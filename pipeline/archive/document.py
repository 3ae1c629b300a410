"""The texts of a bundle: the guide to its data, written from the schemas, the algorithm, and the readme."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.archive.bundle import COLLECTIONS
from pipeline.archive.label import SIMULATED, TDB, Subject
from pipeline.archive.layout import GROUPED, MISSING
from pipeline.dataset.check import stored
from pipeline.dataset.quality import MEANINGS, Quality
from pipeline.instrument import Instrument, ProductType

WIDTH = 100


def guide(instrument: Instrument) -> str:
    """The user's guide: what the files are, every product with every variable, and every flag."""
    return "\n".join(
        [
            *_heading(f"User's guide to the data of {instrument.title}", "="),
            *_wrapped(
                "Every product is a label (.xml), its data (.dat) and a text (.json). The label describes every byte "
                "of the data; a PDS4 reader needs nothing else. The text holds what PDS4 has no words for: the "
                "attributes of the dataset and its variables, and under attributes.recipe what it was made from. The "
                "function open_product of the software perijove reads the three back into one xarray dataset. "
                "Beside raw data stand the mission's own files as they came, described as texts or arrays of bytes."
            ),
            "",
            *_wrapped(
                f"Variables that share their only dimension are fields of a table; vectors of up to {GROUPED} along it "
                "are groups of that table. All others are arrays whose axes are named after their dimensions, so an "
                "axis called et has the same elements as the table whose records are et."
            ),
            "",
            *_wrapped(
                f"{TDB} UTC stands beside it. A number that is missing is -2 to the power 100, {MISSING:.7g}. "
                "Uncertainties are one sigma: x_random is independent between samples, x_systematic common to all, "
                "x_structured correlated over a length that the text states; a relative one says so. "
                "Quality variables hold bits; the good samples are those with no bit set, or only bits that tell of "
                "circumstances (attribute flag_conditions in the text)."
            ),
            "",
            *_heading("Quality bits", "-"),
            *(line for text in _bits(instrument) for line in _wrapped(text, 4)),
            "",
            *(line for product in instrument.products for line in _product(product)),
        ]
    )


def _bits(instrument: Instrument) -> Iterator[str]:
    for quality in Quality:
        yield f"{int(quality):>10} {(quality.name or '').lower()}: {MEANINGS[quality]}"
    for flag in instrument.flags:
        yield f"{flag.mask:>10} {flag.name}: {flag.meaning}"


def _product(product: ProductType) -> Iterator[str]:
    yield from _heading(f"{product.name}: {product.title}", "-")
    yield f"One product per {product.unit}."
    for name, text in product.schema.attrs.items():
        yield from _wrapped(f"{name}: {text}")
    yield ""
    for entry in stored(product.schema):
        unit = entry.attrs.get("units", "UTC")
        shape = ", ".join(entry.dims) or "one number"
        told = ". ".join(
            str(entry.attrs[n]).rstrip(".") for n in ("long_name", "comment", "references") if entry.attrs.get(n)
        )
        yield from _wrapped(f"{entry.name} ({shape}) [{unit}] {told}", 4)
    yield ""


def algorithm(home: Path) -> str | None:
    """The README of an instrument's package: formats, algorithm, sources."""
    path = home / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def readme(title: str, subject: Subject, members: Mapping[str, Mapping[str, str]]) -> str:
    """The readme in the root of a bundle."""
    lines = [*_heading(title, "=")]
    if subject.simulated:
        lines += [SIMULATED.strip(), ""]
    lines += [
        *_wrapped(
            f"{subject.instrument}, on Juno in orbit about Jupiter, {subject.start} to {subject.stop}. "
            f"Bundle {subject.bundle}."
        ),
        "",
        *_wrapped("Begin with document/user_guide.txt. Files of a pass are in the folder of its perijove (pj01)."),
        "",
    ]
    for collection, (_, _, _, text) in COLLECTIONS.items():
        if members.get(collection):
            count = len(members[collection])
            lines.append(f"{collection + '/':<18} {text} {count} product{'s' if count > 1 else ''}.")
        elif collection in ("context", "xml_schema"):
            lines.append(f"{collection + '/':<18} {text}")
    return "\n".join(lines) + "\n"


def _heading(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _wrapped(text: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
