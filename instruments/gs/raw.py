"""Tracking files as the archive has them: closed-loop phases and ramps (TNF), compressed Doppler (ODF).

A tracking file's granule reaches from the transmission of what was received on: light goes to Jupiter and back in up to
108 minutes, and calibration needs the geometry of all that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.gs.layout import IN_LOCK, MARK, ODF_BANDS, RAMP_ENDS, SPACECRAFT
from pipeline.clock import Sclk, Span, tdt_to_et
from pipeline.earth.times import from_utc
from pipeline.errors import InputError
from pipeline.formats.dsn import FILE_NAME, odf, tnf
from pipeline.instrument import Granule, RawFormat

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

# Seconds from reception to transmission, at most, and kept after the last record.
ROUND_TRIP, AFTER = 7200.0, 900.0
NO_DELAY, NO_HEIGHT = -1.0, -99.0  # how TRK-2-34 says that a delay is not known
PHASES, TOTAL_PHASE, RAMP = 1, 17, 9
DOPPLER = (12, 13)  # two- and three-way Doppler of TRK-2-18
# What cannot be: days between a record and the middle one of its file; seconds of a station's delay, of a count.
DAYS, LONGEST_DELAY, LONGEST_COUNT = 1.0, 1.0, 86400.0


def et_of(day: NDArray[np.int64], second: Floats) -> Floats:
    """Et of UTC given as modified Julian day and second of the day."""
    return tdt_to_et(np.asarray(from_utc(day, second, 0.0), np.float64))


def name_pattern(kind: str) -> str:
    """Names of the archive's files of one kind."""
    return FILE_NAME.pattern.replace("TNF|ODF|RSR", kind)


def granule_of(path: Path, form: str, span: Span) -> Granule:
    """The granule of a file that is named as the archive does.

    Binary files have no place for a remark: that one is simulated, a text of its name says beside it.
    """
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named like GRV_JUGR_2016240_0635X55MC001V01.TNF")
    identity = path.name[: match.start("version") - 1].upper()
    note = path.with_suffix(".TXT")
    simulated = note.is_file() and MARK in note.read_text("ascii", errors="replace")
    files = {"data": path, "note": note} if simulated else {"data": path}
    return Granule(
        "gs", form, identity, int(match["version"]), span.start, span.stop, files, meta={"simulated": simulated}
    )


# TNF


def open_tnf(path: Path, clock: Sclk) -> Granule:
    """Open a tracking and navigation file: `RawFormat.open`."""
    del clock  # its times are UTC
    phases, ramps, _ = _read_tnf(path)
    if phases["day"].size == 0:
        raise InputError(path, "holds no phase of a received carrier (data types 1 and 17)")
    return granule_of(path, "gs.tnf", _reach(phases, ramps))


def _reach(records: Columns, ramps: Columns) -> Span:
    et = et_of(records["day"], records["second"])
    first = float(et.min()) - ROUND_TRIP
    if ramps["day"].size:
        first = min(first, float(et_of(ramps["day"], ramps["second"]).min()))
    return Span(first, float(et.max()) + AFTER)


def _read_tnf(path: Path) -> tuple[Columns, Columns, int]:
    """Phases, ramps and the number of damaged units of a file."""
    content = tnf.read_tnf(path, on_damage="skip")
    parts = [
        reader(content) for kind, reader in ((PHASES, _phases), (TOTAL_PHASE, _total_phases)) if kind in content.records
    ]
    names = (
        *("day", "second", "cycles", "fraction", "receiver", "transmitter", "up_band", "down_band"),
        *("mode", "locked", "slipped", "power", "delay", "kind", "spacecraft"),
    )
    phases = {n: np.concatenate([p[n] for p in parts]) if parts else np.zeros(0) for n in names}
    phases, odd = _possible(path, phases)
    ramps, odd_ramps = _possible(path, _ramps_of_tnf(content))
    return phases, ramps, len(content.damage) + odd + odd_ramps


def _possible(path: Path, columns: Columns) -> tuple[Columns, int]:
    """Records of Juno whose times and delays can be, and the number of others: nothing in a record guards its numbers.

    Raises InputError if most are of another spacecraft.
    """
    day, spacecraft = columns["day"], columns.pop("spacecraft")
    if day.size == 0:
        return columns, 0
    middle = int(np.median(spacecraft))
    if middle != SPACECRAFT:
        raise InputError(path, f"is of spacecraft {middle}, Juno is {SPACECRAFT}")
    good = (spacecraft == SPACECRAFT) & (np.abs(day - np.median(day)) <= DAYS)
    good &= np.abs(columns["delay"]) < LONGEST_DELAY
    if "count_time" in columns:
        good &= (columns["count_time"] > 0.0) & (columns["count_time"] < LONGEST_COUNT)
    return {name: column[good] for name, column in columns.items()}, int(np.count_nonzero(~good))


def _delay(records: NDArray[np.void], tag: str, height: str) -> Floats:
    """Delay of a station in s; what is not stated counts as none."""
    out = np.where(records[tag] == NO_DELAY, 0.0, records[tag].astype(np.float64))
    out = out + np.where(records[height] == NO_HEIGHT, 0.0, records[height].astype(np.float64))
    if "array_delay" in (records.dtype.names or ()):
        out = out + np.where(records["array_flag"] == 1, records["array_delay"].astype(np.float64), 0.0)
    return np.asarray(out)


def _received(records: NDArray[np.void], up_band: str, down_band: str) -> Columns:
    day, second = tnf.time_tag(records)
    return {
        "day": day,
        "second": second,
        "spacecraft": records["scft_id"],
        "receiver": records["dl_dss_id"].astype(np.int16),
        "transmitter": records["vld_ul_stn"].astype(np.int16),
        "up_band": records[up_band].astype(np.int8),
        "down_band": records[down_band].astype(np.int8),
        "mode": records["vld_dop_mode"].astype(np.int8),
        "locked": records["carr_lock_stat"] == IN_LOCK,
        "delay": _delay(records, "rcv_time_tag_delay", "dl_zheight_corr"),
    }


def _phases(content: tnf.Tnf) -> Columns:
    """Phase at the time tag of each record of type 1: the first of its ten."""
    records = content.records[PHASES]
    cycles, fraction = tnf.phase(records["phs_hi_0"], records["phs_lo_0"], records["phs_frac_0"])
    return _received(records, "ul_band_dl", "dl_band") | {
        "cycles": cycles,
        "fraction": fraction,
        "slipped": records["slipped_cycles"] != 0,
        "power": records["pcn0"].astype(np.float64),
        "kind": np.full(cycles.shape, PHASES, np.int8),
    }


def _total_phases(content: tnf.Tnf) -> Columns:
    """Phases of the records of type 17: the first at the time tag, the others by the count time after it."""
    records, observed = content.records[TOTAL_PHASE], content.observables[TOTAL_PHASE]
    number = records["num_obs"].astype(np.intp)
    of = np.repeat(np.arange(number.size), number)
    place = np.arange(of.size) - np.repeat(np.cumsum(number) - number, number)
    rows = {name: column[of] for name, column in _received(records, "ul_band", "vld_dl_band").items()}
    count = records["obs_cnt_time"].astype(np.float64)[of]
    can_be = (count > 0.0) & (count < LONGEST_COUNT)
    second = rows["second"] + place * np.where(can_be, count, 0.0)
    over = np.floor(second / 86400.0)
    cycles, fraction = tnf.phase(*(observed[f"total_cnt_phs_obs_{part}"] for part in ("hi", "lo", "frac")))
    return rows | {
        "day": rows["day"] + over.astype(np.int64),
        "second": second - 86400.0 * over,
        # Without its count time a phase has no time.
        "delay": np.where(can_be, rows["delay"], np.nan),
        "cycles": cycles,
        "fraction": fraction,
        "slipped": np.zeros(cycles.shape, bool),
        "power": np.full(cycles.shape, np.nan),
        "kind": np.full(cycles.shape, TOTAL_PHASE, np.int8),
    }


def _ramps_of_tnf(content: tnf.Tnf) -> Columns:
    """Starts and ends of ramps; a ramp lasts until the next record of its station and band says otherwise."""
    records = content.records.get(RAMP, np.zeros(0, tnf.record_dtype(RAMP)))
    day, second = tnf.time_tag(records)
    return {
        "day": day,
        "second": second,
        "spacecraft": records["scft_id"],
        "frequency": records["ramp_freq"].astype(np.float64),
        "rate": records["ramp_rate"].astype(np.float64),
        "ends": np.isin(records["ramp_type"], RAMP_ENDS),
        "station": records["ul_dss_id"].astype(np.int16),
        "band": records["ul_band"].astype(np.int8),
        "delay": _delay(records, "transmit_time_tag_delay", "ul_zheight_corr"),
    }


def read_tnf(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read tracking and navigation files: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        along ``et``, a record for every phase of every carrier: ``cycles`` and ``fraction`` of the phase, station and
        bands of both ends, Doppler ``mode``, ``locked``, ``slipped``, ``power``, ``delay``, the TNF's data type
        ``kind``; along ``ramp``: ``ramp_...``. Ramps are all there whatever the span.
    """
    del clock
    return _joined([_read_tnf(g.files["data"]) for g in granules], span)


def _joined(read: Sequence[tuple[Columns, Columns, int]], span: Span | None) -> xr.Dataset:
    """Columns of several files as one dataset in time order."""
    records, ramps, odd = zip(*read, strict=True) if read else ((), (), ())
    columns = {name: np.concatenate([r[name] for r in records]) for name in records[0]} if records else {}
    et = et_of(columns["day"], columns["second"]) if columns else np.zeros(0)
    order = np.argsort(et, kind="stable")
    order = order if span is None else order[span.contains(et[order])]
    data: dict[str, Any] = {name: ("et", column[order]) for name, column in columns.items()}
    for name in ramps[0] if ramps else ():
        data[f"ramp_{name}"] = ("ramp", np.concatenate([r[name] for r in ramps]))
    return xr.Dataset(data, coords={"et": ("et", et[order], {"units": "s"})}, attrs={"units_damaged": sum(odd)})


# ODF


def open_odf(path: Path, clock: Sclk) -> Granule:
    """Open an orbit data file: `RawFormat.open`."""
    del clock
    records, ramps, _ = _read_odf(path)
    if records["day"].size == 0:
        raise InputError(path, "holds no two- or three-way Doppler (data types 12 and 13)")
    return granule_of(path, "gs.odf", _reach(records, ramps))


def _read_odf(path: Path) -> tuple[Columns, Columns, int]:
    """Doppler, ramps and the number of records that cannot be."""
    content = odf.read_odf(path)
    orbit = content.records(odf.ORBIT)
    orbit = orbit[np.isin(orbit["data_type"], DOPPLER)]
    day, second = odf.utc(orbit["time_second"], orbit["time_millisecond"], 1000)
    bands = np.array([ODF_BANDS.get(k, 0) for k in range(4)], np.int8)
    records: Columns = {
        "day": day,
        "second": second,
        "spacecraft": orbit["spacecraft"],
        "observable": orbit["observable_whole"] + orbit["observable_fraction"] * 1e-9,
        "reference": odf.reference_frequency(orbit),
        "count_time": orbit["item_21"] * 0.01,
        "receiver": orbit["receiver"].astype(np.int16),
        "transmitter": orbit["transmitter"].astype(np.int16),
        "up_band": bands[orbit["uplink_band"]],
        "down_band": bands[orbit["downlink_band"]],
        "reference_band": bands[orbit["reference_band"]],
        "valid": orbit["invalid"] == 0,
        "delay": orbit["downlink_delay"] * 1e-9,
    }
    records, odd = _possible(path, records)
    ramps, odd_ramps = _possible(path, _ramps_of_odf(content, orbit))
    return records, ramps, odd + odd_ramps


def _ramps_of_odf(content: odf.Odf, orbit: NDArray[np.void]) -> Columns:
    """Starts of the ramps, and an end after each; the band is that of the uplink of the Doppler records."""
    ramps = content.records(odf.RAMP)
    whole, fraction = odf.ramp_frequency(ramps)
    frequency = whole + fraction
    start = odf.utc(ramps["start_second"], ramps["start_nanosecond"], 1_000_000_000)
    end = odf.utc(ramps["end_second"], ramps["end_nanosecond"], 1_000_000_000)
    delay = float(orbit["uplink_delay"][0]) * 1e-9 if orbit.size else 0.0
    ka = frequency > 30e9
    one = {
        "station": ramps["station"].astype(np.int16),
        "band": np.where(ka, 3, np.where(frequency > 4e9, 2, 1)).astype(np.int8),
        "frequency": frequency,
        "rate": odf.ramp_rate(ramps),
        "delay": np.full(frequency.shape, delay),
    }
    both = {name: np.concatenate([column, column]) for name, column in one.items()}
    return both | {
        "day": np.concatenate([start[0], end[0]]),
        "second": np.concatenate([start[1], end[1]]),
        "ends": np.repeat([False, True], ramps.size),
        "spacecraft": np.full(2 * ramps.size, SPACECRAFT),  # ramps are a station's, whoever listens
    }


def read_odf(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read orbit data files: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        along ``et``, the middle of the count, a record for every Doppler observable: ``observable`` and ``reference``
        in Hz, ``count_time``, stations and bands, ``valid``, ``delay``; along ``ramp`` as of TNF.
    """
    del clock
    return _joined([_read_odf(g.files["data"]) for g in granules], span)


TNF = RawFormat("gs.tnf", "Tracking and navigation files (TRK-2-34)", name_pattern("TNF"), open_tnf, read_tnf)
ODF = RawFormat("gs.odf", "Orbit data files (TRK-2-18)", name_pattern("ODF"), open_odf, read_odf)
