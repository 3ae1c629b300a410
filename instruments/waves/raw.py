"""Science packets of Waves, low rate (survey) and high rate (bursts): readers (README.md, "Telemetry").

A granule is a file of packets and, where it is there, the housekeeping file of its day, whose ``SCLK_SUBSEC`` has to be
added to every time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.waves.housekeeping import read_housekeeping, subseconds
from instruments.waves.layout import BURSTS, CHANNELS, MOST_SAMPLES, RECEIVERS, SURVEY_TYPES, Ints
from instruments.waves.packets import EVENTS, HIGH_RATE, LOW_RATE, RTI, Measurements, content, scan, unpack12
from pipeline.clock import TICKS, Sclk, Span
from pipeline.errors import InputError
from pipeline.instrument import Granule, RawFormat

NAME = re.compile(r"(WAV_(\d{7})T\d{6}_(?:LRS|HRS))_V(\d{2})\.PKT", re.IGNORECASE)
SIMULATED = "SIMULATED, NOT A MEASUREMENT"


@dataclass(frozen=True)
class File:
    """A granule's measurements and its clock.

    Parameters
    ----------
    counts : time of each measurement in ticks of 1/65536 s of the clock.
    coarse : whether no housekeeping says what is to be added to the time.
    """

    path: Path
    found: Measurements
    counts: Ints
    coarse: bool
    seconds: Ints


def clock_counts(ticks: Ints) -> Ints:
    """Ticks of 1/65536 s nearest to ticks of 25 ms."""
    return ticks // RTI * TICKS + (ticks % RTI * TICKS + RTI // 2) // RTI


def _opened(path: Path, house: Path | None) -> File:
    found = scan(path)
    added_to, added, coarse = np.zeros(1, np.int64), np.zeros(1, np.int64), house is None
    if house is not None:
        added_to, added = subseconds(read_housekeeping(house)[0])
    second = found.ticks // RTI

    def extra(at: Ints) -> Ints:
        return added[np.clip(np.searchsorted(added_to, at, side="right") - 1, 0, None)]

    return File(
        path, found, clock_counts(found.ticks) + extra(second), coarse, found.seconds * TICKS + extra(found.seconds)
    )


def _housekeeping_of(path: Path, day: str) -> Path | None:
    """Label of the housekeeping file of a day in the same folder; of several versions the last."""
    labels = sorted(p for p in path.parent.iterdir() if re.fullmatch(rf"WAV_{day}_HSK_V\d\d\.LBL", p.name, re.I))
    return labels[-1] if labels else None


def _open(source: int, form: str) -> Callable[[Path, Sclk], Granule]:
    def open_packets(path: Path, clock: Sclk) -> Granule:
        match = NAME.fullmatch(path.name)
        if match is None:
            raise InputError(path, "is not named WAV_YYYYDDDThhmmss_{LRS|HRS}_Vnn.PKT")
        house = _housekeeping_of(path, match[2])
        file = _opened(path, house)
        if file.found.source != source:
            raise InputError(path, f"frames of source {file.found.source}, not {source}", "byte 6")
        if len(file.counts) == 0:
            raise InputError(path, "holds no whole measurement")
        start, stop = _to_et(clock, file.counts[[0, -1]], path).tolist()
        files = {"data": path}
        if house is not None:
            files |= {"housekeeping_label": house, "housekeeping": house.with_suffix(".DAT")}
        simulated = house is not None and SIMULATED in house.read_text("ascii", errors="replace")
        meta = {"simulated": simulated}
        return Granule("waves", form, match[1].upper(), int(match[3]), start - 1.0, stop + 1.0, files, meta=meta)

    return open_packets


def _to_et(clock: Sclk, counts: Ints, path: Path) -> NDArray[np.float64]:
    try:
        return clock.to_et(clock.encode(counts))
    except ValueError as error:
        raise InputError(path, str(error)) from error


def _file(granule: Granule) -> File:
    return _opened(granule.files["data"], granule.files.get("housekeeping_label"))


def _events(files: Sequence[File], span: Span | None, clock: Sclk) -> xr.Dataset:
    """What happened to the frames of a span, (record, event) at et_event."""
    at, events = [np.zeros(0)], [np.zeros((0, len(EVENTS)), np.int32)]
    for file in files:
        et = _to_et(clock, file.seconds, file.path)
        use = np.ones(et.shape, bool) if span is None else span.contains(et)
        at.append(et[use])
        events.append(file.found.events[use])
    attrs = {"units": "1", "long_name": "what happened to the frames"}
    happened = xr.Dataset({"events": (("record", "event"), np.concatenate(events), attrs)})
    return happened.assign_coords(et_event=("record", np.concatenate(at)), event=list(EVENTS))


def _origin(granules: Sequence[Granule]) -> dict[str, str]:
    return {"simulated": SIMULATED} if any(g.meta.get("simulated") for g in granules) else {}


# Survey


def read_survey(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read low-rate packets: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        one record per clock second in which anything was measured, at its beginning: ``codes_<receiver>(et, channel)``
        of each receiver; ``present``, ``offset`` (s after et) , ``attenuator`` and ``bad`` (et, receiver);
        ``coarse(et)``; ``events``.
    """
    files = [_file(g) for g in granules]
    parts = [_sweeps(file, span, clock) for file in files]
    et = np.unique(np.concatenate([p["et"].values for p in parts]))
    sweeps = _merged(parts, et)
    return sweeps.merge(_events(files, span, clock)).assign_attrs(_origin(granules))


def _sweeps(file: File, span: Span | None, clock: Sclk) -> xr.Dataset:
    """Sweeps of one file; a second's measurements belong together whatever the span cuts."""
    found = file.found
    second = found.ticks // RTI
    extra = file.counts - clock_counts(found.ticks)
    begin = _to_et(clock, second * TICKS + extra, file.path) if len(second) else np.zeros(0)
    use = np.isin(found.kind, SURVEY_TYPES) & (True if span is None else span.contains(begin))
    et, row = np.unique(begin[use], return_inverse=True)
    chosen = np.flatnonzero(use)
    shape = (len(et), len(RECEIVERS))
    present, bad = np.zeros(shape, bool), np.zeros(shape, bool)
    attenuator, offset = np.zeros(shape, np.uint8), np.full(shape, np.nan)
    variables: dict[str, tuple[tuple[str, str], NDArray[np.uint8]]] = {}
    for receiver, (kind, number) in enumerate(zip(SURVEY_TYPES, CHANNELS, strict=True)):
        mine = found.kind[chosen] == kind
        which, place = chosen[mine], row[mine]
        codes, fits = content(file.path, found, which, number)
        if not fits.all():
            reason = f"a spectrum of {RECEIVERS[receiver]} has not {number} codes"
            raise InputError(file.path, reason, f"byte {found.pieces[found.first[which[~fits][0]], 0]}")
        out = np.zeros((len(et), number), np.uint8)
        out[place], present[place, receiver] = codes, True
        attenuator[place, receiver] = found.status[which, 0] & 1
        bad[place, receiver] = found.bad[which]
        offset[place, receiver] = (found.ticks[which] % RTI) / RTI
        variables[f"codes_{receiver}"] = (("et", f"channel_{receiver}"), out)
    by = ("et", "receiver")
    return xr.Dataset(
        {
            **variables,
            "present": (by, present),
            "bad": (by, bad),
            "attenuator": (by, attenuator),
            "offset": (by, offset),
            "coarse": ("et", np.full(len(et), file.coarse)),
        },
        coords={"et": et},
    )


def _merged(parts: Sequence[xr.Dataset], et: NDArray[np.float64]) -> xr.Dataset:
    """Sweeps of all files by time; where two files have a receiver's spectrum of one second the first is taken."""
    out = parts[0].reindex(et=et, fill_value={"present": False, "bad": False, "coarse": False, "offset": np.nan} | {
        name: 0 for name in parts[0] if str(name).startswith("codes_") or name == "attenuator"
    })  # fmt: skip
    for part in parts[1:]:
        rows = np.searchsorted(et, part["et"].values)
        fresh = part["present"].values & ~out["present"].values[rows]
        for name in ("bad", "attenuator", "offset", "present"):
            target = out[name].values
            target[rows] = np.where(fresh, part[name].values, target[rows])
        for receiver in range(len(RECEIVERS)):
            target = out[f"codes_{receiver}"].values
            target[rows] = np.where(fresh[:, receiver, None], part[f"codes_{receiver}"].values, target[rows])
        out["coarse"].values[rows] |= part["coarse"].values
    return out


# Bursts


def read_bursts(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read high-rate packets: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        one record per capture, at its first sample: ``counts(et, sample)`` int16, ``samples(et)``, ``kind(et)`` (place
        in `layout.BURSTS`), ``attenuator``, ``bad``, ``coarse`` (et); ``events``. Captures are in time order; those
        of several kinds may share a time.
    """
    files = [_file(g) for g in granules]
    parts = [_captures(file, span, clock) for file in files]
    joined = xr.concat(parts, "et") if len(parts) > 1 else parts[0]
    order = np.lexsort((joined["kind"].values, joined["et"].values))
    _, once = np.unique(np.stack([joined["et"].values, joined["kind"].values])[:, order], axis=1, return_index=True)
    return joined.isel(et=order[once]).merge(_events(files, span, clock)).assign_attrs(_origin(granules))


def _captures(file: File, span: Span | None, clock: Sclk) -> xr.Dataset:
    found = file.found
    # Status: attenuator, kind, samples (2), part of the tick in 1/65536 (2).
    part = found.status[:, 4].astype(np.int64) << 8 | found.status[:, 5]
    # Ticks of 25 ms are no whole ticks of the clock: 8 us would be 53 samples at 7 MHz.
    second = found.ticks // RTI
    whole = file.counts - clock_counts(found.ticks) + second * TICKS
    et = _to_et(clock, whole, file.path) if len(whole) else np.zeros(0)
    et = et + (found.ticks % RTI + part / 65536) / RTI
    use = np.ones(et.shape, bool) if span is None else span.contains(et)
    kinds = [b.type for b in BURSTS]
    chosen = np.flatnonzero(use & np.isin(found.kind, kinds))
    counts = np.zeros((len(chosen), MOST_SAMPLES), np.int16)
    stated = found.status[chosen, 2].astype(np.int64) << 8 | found.status[chosen, 3]
    kind = np.searchsorted(kinds, found.kind[chosen])
    for number, burst in enumerate(BURSTS):
        for size in np.unique(stated[kind == number]).tolist():
            rows = np.flatnonzero((kind == number) & (stated == size))
            if not 0 < size <= burst.most or size % 2:
                reason = f"a capture of {size} samples; at most {burst.most} and an even number are allowed"
                raise InputError(file.path, reason, f"byte {found.pieces[found.first[chosen[rows[0]]], 0]}")
            data, fits = content(file.path, found, chosen[rows], size * 3 // 2)
            if not fits.all():
                reason = f"a capture has not the data of its {size} samples"
                raise InputError(file.path, reason, f"byte {found.pieces[found.first[chosen[rows[~fits][0]]], 0]}")
            counts[rows, :size] = unpack12(data)
    return xr.Dataset(
        {
            "counts": (("et", "sample"), counts),
            "samples": ("et", stated),
            "kind": ("et", kind),
            "attenuator": ("et", found.status[chosen, 0] & 1),
            "bad": ("et", found.bad[chosen]),
            "coarse": ("et", np.full(len(chosen), file.coarse)),
        },
        coords={"et": et[chosen]},
    )


SURVEY = RawFormat(
    name="waves.lrs",
    title="Low-rate science packets: survey spectra",
    pattern=r"WAV_\d{7}T\d{6}_LRS_V\d{2}\.PKT",
    open=_open(LOW_RATE, "waves.lrs"),
    read=read_survey,
)
BURST = RawFormat(
    name="waves.hrs",
    title="High-rate science packets: burst waveforms",
    pattern=r"WAV_\d{7}T\d{6}_HRS_V\d{2}\.PKT",
    open=_open(HIGH_RATE, "waves.hrs"),
    read=read_bursts,
)
