"""Level 3 of the archive, counts per second: reader by label (README.md, "Level 3"); the writer is `raw_write`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jade.layout import ANODES, ARRAYS, ENERGIES, ISSUES_MISSING, L3_KINDS, MODE, check_rjw
from instruments.jade.raw import EVENTS, SIMULATED
from pipeline.clock import Sclk, Span, parse_utc
from pipeline.errors import InputError
from pipeline.formats.checksum import row_width, whole_file
from pipeline.formats.defects import corrected
from pipeline.formats.pds3 import Label, read_label
from pipeline.formats.pds3_table import Table, read_table
from pipeline.instrument import Granule, RawFormat

KINDS = "HRS_ELC_ALL|HRS_ELC_TWO|LRS_ELC_ANY|HRS_ION_ANY|LRS_ION_ANY"
NAME = re.compile(rf"(JAD_L30_({KINDS})_CNT_(\d{{7}}))_V(\d{{2}})\.LBL", re.IGNORECASE)
# Of the magnetic field.
FILL = 9_990_000.0
# Beyond any rate, energy or angle: fill values of the archive that its labels state differ.
LARGEST = 1e12
# Of the archive's versions the first was despun with a wrong clock.
WRONG_FIELD = 1
NEEDED = ("DIM0_UTC", "ACCUMULATION_TIME", "DATA_UNITS", "PACKET_MODE", "PACKET_SPECIES", "SOURCE_BACKGROUND", *ARRAYS)
COUNTS_PER_SECOND = 2


def open_table(path: Path) -> tuple[Label, Table]:
    """Label and table; raises InputError if either cannot be used."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, f"is not named JAD_L30_<KIND>_CNT_YYYYDDD_Vnn.LBL, KIND one of {KINDS}")
    label, _ = corrected(read_label(path))
    table = read_table(label)
    check_rjw(label, table.columns, row_width(label))
    for name in NEEDED:
        if name not in table:
            raise InputError(path, "the table has no such column", name)
    shape = ENERGIES, L3_KINDS[match[2].upper()].looks
    for name in ARRAYS:
        if table.columns[name].shape != shape:
            raise InputError(path, f"{name} is {table.columns[name].shape} per record, not {shape}", name)
    return label, table


def times(table: Table, path: Path) -> NDArray[np.float64]:
    """Et of the centre of each sound record; raises InputError for a text that is no time.

    The time of the next record shows that no bytes are lost in one: the last before one that is cut short is left out.
    """
    try:
        et = np.asarray(parse_utc([t.decode("latin-1") for t in table["DIM0_UTC"].tolist()]))
    except ValueError as error:
        raise InputError(path, str(error), "DIM0_UTC") from error
    return et[: table.rows - table.truncated]


def open_level3(path: Path, clock: Sclk) -> Granule:
    """Open a label and look at its table's times: `RawFormat.open`."""
    del clock  # times are UTC
    label, table = open_table(path)
    match = NAME.fullmatch(path.name)
    assert match is not None  # else it was refused
    data = whole_file(label, table)
    centre = times(table, data)
    if centre.size == 0:
        raise InputError(data, "holds no whole record")
    half = table["ACCUMULATION_TIME"][: centre.size] / 2.0
    if not (half > 0).all():
        raise InputError(data, "a record without accumulation time", "ACCUMULATION_TIME")
    modes = set(table["PACKET_MODE"].tolist())
    if modes != {MODE[match[2][:3].upper()]}:
        raise InputError(data, f"modes of code {sorted(modes)} in a file of {match[2][:3].upper()}", "PACKET_MODE")
    units = set(table["DATA_UNITS"].tolist())
    if units != {COUNTS_PER_SECOND}:
        raise InputError(data, f"units of code {sorted(units)}, counts per second (2) expected", "DATA_UNITS")
    meta = {"version": int(match[4]), "simulated": "SIMULATED" in label.text.upper()}
    files = {"label": path, "data": data}
    start, stop = float((centre - half).min()), float((centre + half).max())
    form = (LEVEL_3_IONS if "_ION_" in match[2].upper() else LEVEL_3).name
    return Granule("jade", form, match[1].lower(), int(match[4]), start, stop, files, meta=meta)


def read_electrons(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read electron rates of level 3: `RawFormat.read`.

    Of files with two sensors (TWO) the third is missing.

    Returns
    -------
    xr.Dataset
        ``rate``, ``rate_sigma``, ``background``, ``background_sigma`` (et, energy, look) in 1/s, NaN where filled;
        ``energy_per_charge``, ``elevation``, ``azimuth`` (et, energy, look); ``mode``, ``species``, ``accumulation``,
        ``issues``, ``source_background`` (et); ``mag_vector(et, xyz)`` nT, despun, NaN where there is none or, of
        version 1, where it is wrong, which ``mag_wrong(et)`` says; ``events(happened, event)`` at ``et_event``.

    Raises
    ------
    InputError
        if a file cannot be used.
    """
    del clock
    return _joined([_widened(_part(g, span), ANODES) for g in granules]).swap_dims(record="et")


def read_ions(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read rates of ion species of level 3, all species of a time one after the other: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        as of `read_electrons`, along ``record``.
    """
    del clock
    return _joined([_part(g, span) for g in granules])


def _joined(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Records of all files sorted by time and species; of equal ones the first."""
    whole = xr.concat(parts, "record", combine_attrs="drop_conflicts")
    whole = whole.isel(record=np.lexsort([whole["species"].values, whole["et"].values]))
    et, kind = whole["et"].values, whole["species"].values.astype(int)
    same = np.zeros(et.shape, bool)
    same[1:] = (np.diff(et) == 0) & (np.diff(kind) == 0)
    events = whole["events"].values
    events[same, EVENTS.index("records_repeated")] = 1
    out = whole.drop_vars("events").isel(record=~same).assign(events=(("happened", "event"), events))
    return out.assign_coords(et_event=("happened", et), event=list(EVENTS))


def _widened(part: xr.Dataset, looks: int) -> xr.Dataset:
    """Records with so many looks and plates; those added are not known."""
    more, plates = looks - part.sizes["look"], 3 - part.sizes["plate"]
    return part.pad(look=(0, more)).pad(plate=(0, plates), constant_values=0.0) if more else part


def _part(granule: Granule, span: Span | None) -> xr.Dataset:
    """Records of one file with their centre in a span."""
    _, table = open_table(granule.files["label"])
    et = times(table, granule.files["data"])
    rows = np.flatnonzero(np.ones(et.shape, bool) if span is None else span.contains(et))
    part = table.part(int(rows.min(initial=0)), int(rows.max(initial=-1)) + 1)
    chosen = rows - int(rows.min(initial=0))
    cube = ("record", "energy", "look")
    names = ("DATA", "DATA_SIGMA", "BACKGROUND", "BACKGROUND_SIGMA", "DIM1_E", "DIM2_ELEVATION", "DIM2_AZIMUTH_DESPUN")
    own = ("rate", "rate_sigma", "background", "background_sigma", "energy_per_charge", "elevation", "azimuth")
    arrays = {short: (cube, _measured(part, name, chosen)) for short, name in zip(own, names, strict=True)}
    events = np.zeros((rows.size, len(EVENTS)), np.int32)
    events[:, EVENTS.index("records")] = 1
    if table.truncated and rows.size and rows[-1] == et.size - 1:
        events[-1, [EVENTS.index("records_damaged"), EVENTS.index("records_truncated")]] = 1
    head = _head(part, chosen, granule) | {"events": (("record", "event"), events)}
    origin = {"simulated": SIMULATED} if granule.meta.get("simulated") else {}
    return xr.Dataset(arrays | head, coords={"et": ("record", et[rows])}, attrs=origin)


def _measured(part: Table, name: str, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """A column, NaN where the label's constant says or what no rate can be."""
    with np.errstate(invalid="ignore"):  # infinite ones
        values = part.physical(name)[chosen]
    return np.where(np.abs(values) < LARGEST, values, np.nan)


def _head(
    part: Table, chosen: NDArray[np.intp], granule: Granule
) -> dict[str, tuple[tuple[str, ...], NDArray[np.generic]]]:
    n = chosen.size
    wrong = granule.meta["version"] <= WRONG_FIELD
    vector = np.full((n, 3), np.nan)
    if "MAG_VECTOR" in part and not wrong:
        vector = part.physical("MAG_VECTOR")[chosen]
        vector[(np.abs(vector) >= FILL).any(axis=1)] = np.nan
    issues = part["ISSUES"][chosen] if "ISSUES" in part else np.zeros(n, np.uint32)
    return {
        "mode": (("record",), part["PACKET_MODE"][chosen]),
        "species": (("record",), part["PACKET_SPECIES"][chosen]),
        "accumulation": (("record",), part["ACCUMULATION_TIME"][chosen].astype(np.int32)),
        "issues": (("record",), np.where(issues == ISSUES_MISSING, 0, issues).astype(np.uint32)),
        "source_background": (("record",), part["SOURCE_BACKGROUND"][chosen]),
        "mcp_voltage": (("record", "plate"), _voltages(part, chosen)),
        "mag_vector": (("record", "xyz"), vector),
        "mag_wrong": (("record",), np.full(n, wrong and "MAG_VECTOR" in part)),
    }


def _voltages(part: Table, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """Voltages of the plates; of a low rate record that of all it may be of."""
    if "MCP_VOLTAGE" not in part:
        return np.zeros((chosen.size, 3))
    volts = part.physical("MCP_VOLTAGE")[chosen].reshape(chosen.size, -1)
    return np.broadcast_to(volts, (chosen.size, 3)) if volts.shape[1] == 1 else volts


LEVEL_3 = RawFormat(
    "jade.l30_electrons", "Level 3, electrons, counts per second",
    r"JAD_L30_(HRS_ELC_ALL|HRS_ELC_TWO|LRS_ELC_ANY)_CNT_\d{7}_V\d{2}\.LBL", open_level3, read_electrons,
    level="calibrated",
)  # fmt: skip
LEVEL_3_IONS = RawFormat(
    "jade.l30_ions", "Level 3, ion species, counts per second",
    r"JAD_L30_(HRS|LRS)_ION_ANY_CNT_\d{7}_V\d{2}\.LBL", open_level3, read_ions, index="record", level="calibrated",
)  # fmt: skip
