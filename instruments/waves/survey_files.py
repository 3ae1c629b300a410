"""Survey files of the archive: das2 streams of raw codes and of calibrated densities, and the calibrated CSV files.

A record of a das2 stream is the UTC second a spectrum was taken in; receivers have times of their own within it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from instruments.waves.layout import (
    BANDWIDTH_B,
    BANDWIDTH_E,
    CHANNELS,
    FREQUENCY_B,
    FREQUENCY_E,
    HFR_HI,
    NUMBER_B,
    NUMBER_E,
    RECEIVERS,
    channels_of,
    frequencies,
    times_agree,
)
from pipeline.clock import Sclk, Span, format_utc, parse_utc, utc_to_et
from pipeline.errors import InputError
from pipeline.formats.das2 import read_das2
from pipeline.formats.state import file_state
from pipeline.instrument import Granule, RawFormat

Floats = NDArray[np.float64]

EVENTS = (
    "records_received", "records_duplicate", "records_out_of_order", "records_truncated", "bytes_skipped",
    "records_damaged",
)  # fmt: skip
# The streams print frequencies with four digits or less.
SAME_FREQUENCY = 5e-3
CSV_NAME = re.compile(r"WAV_(\d{7}T\d{6})_([EB])_V(\d+)\.CSV", re.IGNORECASE)
FIELDS, FIRST_FIELD, HEAD = 154, 28, 5
# No spectral density is anywhere near these; what says so is unreadable.
SMALLEST, LARGEST = 1e-30, 1e9
# Places in the colon-separated flags that mark a receiver's data bad, and the receiver; the others are not public.
BAD_FLAGS = {1: 0, 2: 1}


def _unique(et: Floats) -> tuple[Floats, NDArray[np.intp], tuple[int, int]]:
    """Times in order without repeats, their places, and how many were repeats and late."""
    times, first = np.unique(et, return_index=True)
    late = int((et < np.maximum.accumulate(et)).sum()) if et.size else 0
    return times, first, (et.size - times.size, late)


def _with_events(dataset: xr.Dataset, counts: tuple[int, ...]) -> xr.Dataset:
    """Counts of the whole file at its first record, so that a product's sum does not depend on its segments."""
    et = dataset["et"].values
    rows = np.zeros((len(et), len(EVENTS)), np.int32)
    rows[:, 0] = 1
    rows[:1, 1:] += np.array(counts, np.int32)
    events = (("record", "event"), rows)
    return dataset.assign(events=events).assign_coords(et_event=("record", et), event=list(EVENTS))


def _cut(dataset: xr.Dataset, span: Span | None) -> xr.Dataset:
    use = np.ones(dataset.sizes["et"], bool) if span is None else span.contains(dataset["et"].values)
    return dataset.isel(et=use, record=use)


def _joined(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Datasets of several files by time; of records with one time the first file's is kept."""
    if len(parts) == 1:
        return parts[0]
    records = xr.concat([p.drop_dims("record") for p in parts], "et", data_vars="all")
    times, first, _ = _unique(records["et"].values)
    events = xr.concat([p["events"] for p in parts], "record")
    return records.isel(et=first).assign_coords(et=times).assign(events=events)


# das2 streams


@lru_cache(maxsize=4)
def _stream(path: Path, _modified: int, _size: int) -> tuple[xr.Dataset, ...]:
    return tuple(read_das2(path))


def _packets(path: Path) -> tuple[xr.Dataset, ...]:
    return _stream(path, *file_state(path))


def _spectra(path: Path, *, raw: bool) -> list[tuple[int, xr.DataArray]]:
    """Receiver and spectra of each packet type of a stream; raises InputError where it holds something else."""
    found = []
    for packet in _packets(path):
        planes = [v for v in packet.data_vars.values() if v.ndim == 2]
        if len(planes) != 1 or planes[0].dims[0] != "time":
            raise InputError(path, "a packet is no time series of spectra")
        plane = planes[0]
        tags = packet[plane.dims[1]]
        hertz = tags.values * {"Hz": 1.0, "kHz": 1e3}.get(str(tags.attrs.get("units")), np.nan)
        if bool(plane.attrs.get("units")) == raw:
            raise InputError(
                path, "holds calibrated densities, not raw codes" if raw else "holds no calibrated densities"
            )
        found.append((_receiver(path, hertz), plane))
    if not found:
        raise InputError(path, "holds no packet")
    return found


def _receiver(path: Path, hertz: Floats) -> int:
    for receiver in range(HFR_HI + 1):
        own = frequencies(receiver)
        if own.shape == hertz.shape and np.all(np.abs(hertz / own - 1.0) < SAME_FREQUENCY):
            return receiver
    raise InputError(path, f"{hertz.size} channels from {hertz[0]:g} Hz on are those of no receiver of Waves")


def _open_stream(path: Path, form: str, *, raw: bool) -> Granule:
    spectra = _spectra(path, raw=raw)
    times = np.concatenate([plane["time"].values for _, plane in spectra])
    if times.size == 0:
        raise InputError(path, "holds no spectrum")
    start, stop = utc_to_et(np.array([times.min(), times.max()])).tolist()
    return Granule("waves", form, path.stem, 1, start - 1.0, stop + 1.0, {"data": path})


def open_codes(path: Path, clock: Sclk) -> Granule:
    """Open a das2 stream of raw codes: `RawFormat.open`."""
    spectra = _spectra(path, raw=True)
    if [receiver for receiver, _ in spectra] != [HFR_HI]:
        raise InputError(path, "codes of receivers other than the swept one are not known in this form")
    return _open_stream(path, "waves.das2_codes", raw=True)


def open_survey(path: Path, clock: Sclk) -> Granule:
    """Open a das2 stream of calibrated densities: `RawFormat.open`."""
    return _open_stream(path, "waves.das2_survey", raw=False)


def _seconds(time: NDArray[np.datetime64]) -> tuple[Floats, Floats]:
    """Et of the UTC second of each time, and the time after it."""
    second = time.astype("datetime64[s]").astype("datetime64[ns]")
    return utc_to_et(second), (time - second) / np.timedelta64(1, "s")


def read_codes(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read das2 streams of raw codes: `RawFormat.read`; the same layout as `raw.read_survey`."""
    return _cut(_joined([_codes(g.files["data"]) for g in granules]), span)


def _codes(path: Path) -> xr.Dataset:
    ((receiver, plane),) = _spectra(path, raw=True)
    et, offset = _seconds(plane["time"].values)
    times, first, counts = _unique(et)
    value = plane.values[first]
    there = np.isfinite(value).all(axis=1)
    codes = np.where(np.isfinite(value), value, 0.0)
    wrong = (codes != np.rint(codes)) | (codes < 0) | (codes > 255)
    if wrong.any():
        raise InputError(
            path, f"{codes[wrong][0]:g} is no code of 8 bits", f"record {int(np.argmax(wrong.any(axis=1)))}"
        )
    shape, by = (times.size, len(RECEIVERS)), ("et", "receiver")
    present, offsets = np.zeros(shape, bool), np.full(shape, np.nan)
    present[:, receiver], offsets[:, receiver] = there, np.where(there, offset[first], np.nan)
    variables = {
        f"codes_{r}": (("et", f"channel_{r}"), (codes if r == receiver else np.zeros((times.size, n))).astype(np.uint8))
        for r, n in enumerate(CHANNELS)
    }
    dataset = xr.Dataset(
        {
            **variables,
            "present": (by, present),
            "bad": (by, np.zeros(shape, bool)),
            "attenuator": (by, np.zeros(shape, np.uint8)),
            "offset": (by, offsets),
            "coarse": ("et", np.zeros(times.size, bool)),
        },
        coords={"et": times},
    )
    return _with_events(dataset, (*counts, 0, int(_packets(path)[0].attrs["bytes_skipped"]), 0))


def read_survey(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read das2 streams of calibrated densities: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``psd_e(et, channel_e)`` and ``psd_b``, NaN where there is none; ``bad_e``, ``bad_b``;
        ``offset(et, receiver_index)``.
    """
    return _cut(_joined([_densities(g.files["data"]) for g in granules]), span)


def _densities(path: Path) -> xr.Dataset:
    spectra = _spectra(path, raw=False)
    seconds = [_seconds(plane["time"].values) for _, plane in spectra]
    times, _, _ = _unique(np.concatenate([et for et, _ in seconds]))
    psd = np.full((times.size, NUMBER_E), np.nan)
    offsets = np.full((times.size, len(RECEIVERS)), np.nan)
    repeats = late = 0
    for (receiver, plane), (et, offset) in zip(spectra, seconds, strict=True):
        own, first, (more, behind) = _unique(et)
        rows = np.searchsorted(times, own)
        psd[rows, channels_of(receiver)] = plane.values[first]
        offsets[rows, receiver] = offset[first]
        repeats, late = repeats + more, late + behind
    skipped = int(_packets(path)[0].attrs["bytes_skipped"])
    return _with_events(_calibrated(times, psd, None, offsets), (repeats, late, 0, skipped, 0))


def _calibrated(et: Floats, psd_e: Floats | None, psd_b: Floats | None, offset: Floats | None = None) -> xr.Dataset:
    n = et.size
    e = np.full((n, NUMBER_E), np.nan) if psd_e is None else psd_e
    b = np.full((n, NUMBER_B), np.nan) if psd_b is None else psd_b
    shifts = np.full((n, len(RECEIVERS)), np.nan) if offset is None else offset
    return xr.Dataset(
        {
            "psd_e": (("et", "channel_e"), e),
            "psd_b": (("et", "channel_b"), b),
            "bad_e": (("et", "channel_e"), np.zeros(e.shape, bool)),
            "bad_b": (("et", "channel_b"), np.zeros(b.shape, bool)),
            "offset": (("et", "receiver_index"), shifts),
        },
        coords={"et": et},
    )


# Calibrated CSV files


def open_csv(path: Path, clock: Sclk) -> Granule:
    """Open a survey file: `RawFormat.open`."""
    match = CSV_NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named WAV_YYYYDDDThhmmss_{E|B}_Vnn.CSV")
    data = _csv(path)
    start, stop = data["et"].values[[0, -1]].tolist()
    letter = match[2].lower()
    name = f"WAV_{match[1]}_{match[2]}".upper()
    meta = {"field": letter}
    return Granule("waves", "waves.survey_csv", name, int(match[3]), start - 1.0, stop + 1.0, {"data": path}, meta=meta)


def _csv(path: Path) -> xr.Dataset:
    return _parsed(path, *file_state(path))


@lru_cache(maxsize=2)
def _parsed(path: Path, _modified: int, _size: int) -> xr.Dataset:
    """All of a file: a day has 45 MB of densities."""
    match = CSV_NAME.fullmatch(path.name)
    assert match is not None
    letter = match[2].lower()
    number, own = (NUMBER_E, FREQUENCY_E) if letter == "e" else (NUMBER_B, FREQUENCY_B)
    last = FIRST_FIELD + number
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    truncated = _check_rows(path, lines, last)
    head = [line.decode("latin-1").rstrip("\r\n").split(",") for line in lines[:HEAD]]
    try:
        table = pd.read_csv(
            io.BytesIO(b"".join(lines[HEAD:])),
            header=None,
            usecols=[0, 1, 3, *range(FIRST_FIELD, last)],
            encoding="latin-1",
            skipinitialspace=True,
            dtype={1: str, 3: str},
        )
    except ValueError as error:
        raise InputError(path, f"is no survey of {last} columns: {error}") from error
    _check_frequencies(path, head, own, last)
    try:
        et = parse_utc(table[1].fillna("").str.strip().tolist())
        values = table[list(range(FIRST_FIELD, last))].to_numpy(np.float64)
    except (ValueError, AttributeError) as error:
        raise InputError(path, f"a row is not readable: {error}") from error
    if et.size == 0:
        raise InputError(path, "holds no row")
    agree = times_agree(pd.to_numeric(table[0], errors="coerce").to_numpy(np.float64), et)
    table, et, values = table[agree], et[agree], values[agree]
    values[(np.abs(values) > LARGEST) | (np.abs(values) < SMALLEST)] = np.nan
    times, first, counts = _unique(et)
    out = _calibrated(times, *((values[first], None) if letter == "e" else (None, values[first])))
    if letter == "e":
        texts = table[3].fillna("").str.strip().to_numpy(str)[first]
        for place, receiver in BAD_FLAGS.items():
            marked = np.array([t.split(":")[place : place + 1] == ["1"] for t in texts.tolist()])
            out["bad_e"].values[:, channels_of(receiver)] |= marked[:, None]
    return _with_events(out, (*counts, truncated, 0, int((~agree).sum())))


def _check_rows(path: Path, lines: list[bytes], fields: int) -> int:
    """Take off a last row that is cut short, and return whether there was one; refuse rows of another length."""
    whole = [line.count(b",") == fields - 1 for line in lines[HEAD:]]
    truncated = 0
    if whole and not whole[-1]:
        del lines[-1], whole[-1]
        truncated = 1
    if not whole or not all(whole):
        place = f"line {HEAD + 1 + whole.index(False)}" if whole else None
        raise InputError(path, f"is no survey of {fields} columns", place)
    return truncated


def _check_frequencies(path: Path, head: list[list[str]], own: Floats, last: int) -> None:
    """Refuse a file whose fourth line has not the frequencies of this instrument's channels."""
    try:
        stated = np.array([float(f.strip().strip('"')) for f in head[3][FIRST_FIELD:last]])
    except (IndexError, ValueError) as error:
        raise InputError(path, f"has no frequencies: {error}", "line 4") from error
    if stated.shape != own.shape or not np.all(np.abs(stated / own - 1.0) < SAME_FREQUENCY):
        raise InputError(path, "its frequencies are not those of the survey's channels", "line 4")


def read_csv(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read survey files, electric and magnetic: `RawFormat.read`; the layout of `read_survey`."""
    by_field = {f: [_csv(g.files["data"]) for g in granules if g.meta["field"] == f] for f in "eb"}
    found = {f: _joined(parts) for f, parts in by_field.items() if parts}
    times = np.unique(np.concatenate([d["et"].values for d in found.values()]))
    out = _calibrated(times, None, None)
    for letter, data in found.items():
        rows = np.searchsorted(times, data["et"].values)
        for name in ("psd", "bad"):
            out[f"{name}_{letter}"].values[rows] = data[f"{name}_{letter}"].values
    events = xr.concat([d["events"] for d in found.values()], "record")
    out = out.assign(events=events)
    if span is None:
        return out
    return out.isel(et=span.contains(times), record=span.contains(out["et_event"].values))


def write_csv(path: Path, et: Floats, sclk: Floats, psd: Floats, flags: Sequence[str], title: str) -> None:
    """Write a survey file in the archive's layout; NaN is written empty.

    Parameters
    ----------
    sclk : seconds of the clock.
    psd : (n, 126) electric or (n, 43) magnetic; the name says which.
    flags : colon-separated flags of the rows.
    """
    electric = psd.shape[1] == NUMBER_E
    frequency = FREQUENCY_E if electric else FREQUENCY_B
    width = BANDWIDTH_E if electric else BANDWIDTH_B
    blank = ",".join(['""'] * FIRST_FIELD)
    names = ",".join(f'"CH{k + 1:03d}"' for k in range(len(frequency)))
    lines = [f'"{title}"', '"WAVES SURVEY"', f"{blank},{names}"]
    lines += [f"{blank}," + ",".join(f"{v:.4g}" for v in values) for values in (frequency, width)]
    status = ",".join(["0"] * (FIRST_FIELD - 4))
    for time, second, mark, row in zip(format_utc(et, 3, True).tolist(), sclk.tolist(), flags, psd, strict=True):
        cells = ",".join("" if np.isnan(v) else f"{v:.3e}" for v in row.tolist())
        lines.append(f'{second:.4f},{time},"",{mark},{status},{cells}')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\r\n".join(lines) + "\r\n", "ascii", newline="")


CODES = RawFormat(
    name="waves.das2_codes",
    title="das2 stream of raw codes",
    pattern=r".*\.d2[st]",
    open=open_codes,
    read=read_codes,
)
STREAM = RawFormat(
    name="waves.das2_survey",
    title="das2 stream of calibrated densities",
    pattern=r".*\.d2[st]",
    open=open_survey,
    read=read_survey,
    level="calibrated",
)
CSV = RawFormat(
    name="waves.survey_csv",
    title="Archived survey (CSV)",
    pattern=CSV_NAME.pattern,
    open=open_csv,
    read=read_csv,
    level="calibrated",
)
