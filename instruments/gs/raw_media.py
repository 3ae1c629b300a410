"""Files that go with tracking: media calibrations (TRK-2-23) and Earth orientation (TRK-2-21).

They cover weeks; what belongs to a pass is a window about its closest approach. One that covers several passes cannot
be said to belong to one of them and is refused: it must be cut, or given as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.gs.layout import COMPLEXES, MARK
from instruments.gs.raw import et_of
from pipeline.clock import Sclk, Span, et_to_tdt
from pipeline.earth.orientation import offsets_of_1980
from pipeline.earth.times import to_utc
from pipeline.errors import InputError
from pipeline.formats.dsn import ANCILLARY_NAME, eop, media
from pipeline.instrument import Granule, RawFormat
from pipeline.passes import passes

Floats = NDArray[np.float64]

REACH = 8 * 3600.0  # seconds about closest approach
LONGEST = 2 * 86400.0  # of a file without a closest approach
STEP = 60.0
LARGEST = 1.0  # metres at the zenith; all of the wet troposphere is less
FAR = 3.0  # mas between the celestial pole and the model; 1.3 at most from 2011 to 2026 (IERS EOP 20 C04)
MODELS = {"DRY NUPART": "dry", "WET NUPART": "wet"}


def _pattern(kind: str) -> str:
    return ANCILLARY_NAME.pattern.replace("AMC|EOP|ION|SFF|TRO|WEA", kind)


def _granule(path: Path, form: str, first: float, last: float) -> Granule:
    match = ANCILLARY_NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named like GRV_JUGR_2016225_2016255_V01.TRO")
    inside = [p for p in passes() if first <= p.et < last]
    if len(inside) > 1:
        names = f"{inside[0].name} to {inside[-1].name}"
        raise InputError(path, f"covers {len(inside)} passes ({names}): cut it to the one it is meant for")
    if not inside and last - first > LONGEST:
        raise InputError(path, "covers days without a closest approach: cut it to the tracking it is meant for")
    span = Span(first, last)
    if inside:
        span = Span(max(first, inside[0].et - REACH), min(last, inside[0].et + REACH))
    return Granule(
        "gs", form, path.name[: match.start("version") - 2].upper(), int(match["version"]), span.start, span.stop,
        {"data": path}, meta={"simulated": MARK in path.read_text("ascii", errors="replace")},
    )  # fmt: skip


def _tropospheric(path: Path) -> list[media.Command]:
    """Commands of the troposphere of a complex, that can be evaluated."""
    commands = [c for c in media.read_csp(path) if c.model in MODELS and c.network in COMPLEXES]
    for command in commands:
        if command.start is None or command.end is None or command.series.startswith("D"):
            raise InputError(path, f"{command.series} for {command.network} has no span, or is a rate")
        size = float(np.abs(command.coefficients[command.series == "TRIG" :]).sum())
        if size > LARGEST:
            raise InputError(
                path, f"{command.series} for {command.network} adds {size:.3g} m at the zenith: no air does"
            )
    if not commands:
        raise InputError(path, "holds no calibration of the troposphere of C10, C40 or C60")
    return commands


def open_csp(path: Path, clock: Sclk) -> Granule:
    """Open a file of media calibrations: `RawFormat.open`."""
    del clock
    commands = _tropospheric(path)
    starts, ends = (np.array([getattr(c, n) for c in commands]) for n in ("start", "end"))
    first, last = (et_of(t[:, 0].astype(np.int64), t[:, 1]) for t in (starts, ends))
    return _granule(path, "gs.csp", float(first.min()), float(last.max()))


def read_csp(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read media calibrations: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``adjust_dry``, ``adjust_wet``, metres at the zenith to be added to the seasonal model, along ``et`` (every
        60 s) and ``complex``; NaN where no command holds. Of overlapping commands the later in the file rules.
    """
    del clock
    spans = [Span(g.start, g.stop) for g in granules]
    if span is not None:
        spans = [cut for s in spans if (cut := s.intersection(span)) is not None]
    grids = [np.arange(np.ceil(s.start / STEP), np.ceil(s.stop / STEP)) * STEP for s in spans]
    et = np.unique(np.concatenate([np.zeros(0), *grids]))
    day, second = utc_of(et)
    out = {f"adjust_{part}": np.full((et.size, len(COMPLEXES)), np.nan) for part in MODELS.values()}
    for granule in granules:
        for command in _tropospheric(granule.files["data"]):
            value = command.evaluate(day, second)
            column = out[f"adjust_{MODELS[command.model]}"][:, COMPLEXES.index(command.network)]
            column[np.isfinite(value)] = value[np.isfinite(value)]
    data = {name: (("et", "complex"), values) for name, values in out.items()}
    return xr.Dataset(data, coords={"et": ("et", et, {"units": "s"})})


def utc_of(et: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Modified Julian day and second of UTC of et, to the microsecond."""
    return to_utc(et_to_tdt(et), 0.0)


def open_eop(path: Path, clock: Sclk) -> Granule:
    """Open a file of Earth orientation: `RawFormat.open`."""
    del clock
    content = eop.read_eop(path)
    if content.regularised:
        raise InputError(path, "gives UT1 without its zonal tides (UT1R), which are not modelled here", "EOPUT1")
    mjd = content.table["mjd"]
    if mjd.size < 4 or not np.allclose(np.diff(mjd), 1.0):
        raise InputError(path, f"{mjd.size} rows that are not one for each of four or more days")
    # The cubic through four days needs one more at either end.
    first, last = et_of(mjd[[1, -2]].astype(np.int64), np.zeros(2))
    granule = _granule(path, "gs.eop", float(first), float(last))
    _check_pole(path, content.table)
    return granule


def _check_pole(path: Path, table: NDArray[np.void]) -> None:
    """Raise at a day whose nutation corrections the Earth does not need."""
    off = np.hypot(*offsets_of_1980(table["mjd"], table["dpsi"], table["deps"]))
    if (off > FAR).any():
        row = int(np.argmax(off))
        reason = f"nutation corrections put the celestial pole {off[row]:.3g} mas from that of IAU 2006/2000A"
        raise InputError(path, reason, f"MJD {table['mjd'][row]:.0f}")


def read_eop(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read Earth orientation: `RawFormat.read`; all rows, whatever the span, because neighbours are needed.

    Returns
    -------
    xr.Dataset
        the columns of the file along ``et``, midnight of each day.
    """
    del span, clock
    tables = [eop.read_eop(g.files["data"]).table for g in granules]
    table = np.concatenate(tables) if tables else np.zeros(0, eop.DTYPE)
    # Where files overlap the last one rules.
    _, place = np.unique(table["mjd"][::-1], return_index=True)
    table = table[::-1][place]
    data = {name: ("et", table[name].copy(), {"units": unit}) for name, unit in eop.COLUMNS.items()}
    et = et_of(table["mjd"].astype(np.int64), np.zeros(table.size))
    return xr.Dataset(data, coords={"et": ("et", et, {"units": "s"})})


CSP = RawFormat("gs.csp", "Media calibrations (TRK-2-23)", _pattern("TRO"), open_csp, read_csp)
EOP = RawFormat("gs.eop", "Earth orientation (TRK-2-21)", _pattern("EOP"), open_eop, read_eop)
