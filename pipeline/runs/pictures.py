"""The pictures of a run: the quick looks of what it made, drawn once and kept in the store.

A picture's name says what it shows and ends in the digest of what it was drawn from: the keys of its products and the
code. One that is there is never drawn again. Where drawing fails, a text of the same name keeps the reason, so that
nothing is tried in vain at every run either.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import registry
from pipeline.dataset import netcdf
from pipeline.errors import PerijoveError, SchedulerLostError
from pipeline.files import write_aside
from pipeline.instrument import Quicklook
from pipeline.runs.execute import Executor
from pipeline.runs.fingerprint import sources
from pipeline.runs.keys import canonical
from pipeline.runs.store import PICTURES, Identity, Store

DPI = 110
DIGITS = 12
# Seconds after which a picture is given up.
LONGEST = 300.0


@dataclass(frozen=True)
class Picture:
    """A quick look of one unit.

    Parameters
    ----------
    label : name of the quick look, and of the unit unless that is the pass.
    caption : for people.
    products : files it is drawn from, in the order of the quick look; None: that product is absent.
    path : where it is, or will be.
    """

    instrument: str
    look: str
    label: str
    caption: str
    products: tuple[Path | None, ...]
    path: Path

    @property
    def reason_path(self) -> Path:
        """Where the reason is, if it could not be drawn."""
        return self.path.with_suffix(".txt")

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        return self.path.exists() or self.reason_path.exists()


def pictures_of(products: Iterable[dict[str, Any]], store: Store) -> list[Picture]:
    """Pictures of the products of a run's record that are there: one per unit of a quick look's first product."""
    there = [p for p in products if p["status"] in ("made", "kept")]
    found = []
    for name in sorted({p["instrument"] for p in there}):
        for look in registry.load(name).quicklooks:
            for first in sorted((p for p in there if p["type"] == look.products[0]), key=lambda p: p["unit"]):
                found.append(_picture(name, look, first, there, store))
    return found


def _picture(
    instrument: str, look: Quicklook, first: dict[str, Any], there: list[dict[str, Any]], store: Store
) -> Picture:
    unit = first["unit"]
    chosen = [next((p for p in there if p["type"] == t and p["unit"] in (unit, "")), None) for t in look.products]
    label = f"{look.name}{'-' + unit if unit else ''}".replace("/", "_")
    keys = [p["key"] if p else None for p in chosen]
    digest = hashlib.sha256(canonical({"look": look.name, "products": keys, "code": sources(instrument)})).hexdigest()
    number = Identity.parse(first["identity"]).pass_number
    path = store.root / PICTURES / f"PJ{number:02d}" / f"{label}-{digest[:DIGITS]}.png"
    files = tuple(Path(p["path"]) if p else None for p in chosen)
    return Picture(instrument, look.name, label, f"{look.title} {unit}".strip(), files, path)


def render(picture: Picture) -> bytes:
    """The picture as PNG; equal products give equal bytes with one version of the libraries."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a home without a place for its caches is no fault
    look = next(q for q in registry.load(picture.instrument).quicklooks if q.name == picture.look)
    datasets = [None if path is None else netcdf.open_product(path) for path in picture.products]
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = look.draw(*datasets)
        if any(d is not None and "simulated" in d.attrs for d in datasets):
            figure.text(0.01, 1.0, "simulated", fontsize=9, color="#D55E00", va="bottom")
        figure.savefig(png, format="png", dpi=DPI, bbox_inches="tight")
    return png.getvalue()


def draw(picture: Picture) -> str | None:
    """Draw a picture into its place; returns why not, if it cannot be drawn."""
    try:
        content = render(picture)
    except Exception as error:  # one picture must not cost the others, nor the run
        reason = f"{type(error).__name__}: {error}"
        write_aside(picture.reason_path, reason.encode())
        return reason
    write_aside(picture.path, content)
    return None


def draw_all(
    pictures: list[Picture], executor: Executor, progress: Callable[[int, int], None]
) -> dict[Picture, str | None]:
    """Draw pictures where the executor puts them; returns why not of each that could not be drawn, else None."""
    waiting: list[Future[str | None]] = []
    reasons: dict[Picture, str | None] = {}
    try:
        for picture in pictures:
            waiting.append(executor.submit(draw, picture))
        for picture, future in zip(pictures, waiting, strict=True):
            try:
                reasons[picture] = executor.result(future, LONGEST)
            except SchedulerLostError:
                raise
            except PerijoveError as error:
                reasons[picture] = str(error)
            progress(len(reasons), len(pictures))
    except Exception:
        executor.drop(waiting[len(reasons) :], LONGEST)
        raise
    return reasons


def picture_entry(picture: Picture, drawn: dict[Picture, str | None]) -> dict[str, Any]:
    """A picture as run records and ``run --json`` show it."""
    reason = drawn.get(picture)
    if reason is None and not picture.path.exists():
        reason = picture.reason_path.read_text() if picture.reason_path.exists() else "the run was interrupted"
    status = "failed" if reason else "drawn" if picture in drawn else "kept"
    return {"caption": picture.caption, "path": str(picture.path), "status": status, "reason": reason}
