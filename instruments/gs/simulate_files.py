"""The files of a simulated tracking pass, in the archive's layout and names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import erfa
import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from instruments.gs.layout import (
    COMPLEXES,
    IN_LOCK,
    KA_BAND,
    LINKS,
    MARK,
    RAMP_END,
    RAMP_START,
    SPACECRAFT,
    THREE_WAY,
    TWO_WAY,
    X_BAND,
)
from instruments.gs.simulate_air import PARTS, PIECE, PIECES
from instruments.gs.simulate_link import DOWN_DELAY, UP_DELAY
from pipeline.clock import tdt_to_et
from pipeline.earth.times import tai_minus_utc, to_utc
from pipeline.formats.dsn import eop, media, odf, rsr, tnf
from pipeline.formats.dsn.times import MJD_1950, year_and_day

if TYPE_CHECKING:
    from instruments.gs.simulate import Tracking

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles
Times = tuple[NDArray[np.int64], Floats]

CARRIER_TO_NOISE = 45.0  # dB-Hz
MINUTE = 60
MAS = np.pi / 180.0 / 3600e3
# Open-loop recording: seconds, sample rate in kHz, samples of a unit; by how far the predicted frequency is off, Hz.
RECORDING = {"demo": (30, 1, 1000), "full": (120, 16, 4000)}
PREDICTED_OFF = 37.25
SIGMA, BITS = 1000.0, 16


def _utc(tracking: Tracking, offset: Extended) -> Times:
    return to_utc(offset, tracking.sky.epoch)


def _name(tracking: Tracking, start: Times, rate: str, kind: str) -> str:
    """Name of a file by its first record, e.g. ``GRV_JUGR_2016240_1305X55X55C001V01.TNF``."""
    year, doy = (int(v[0]) for v in year_and_day(start[0][:1]))
    minute = int(start[1][0] // 60)
    several = len(tracking.links) > 1
    up = f"{'M' if several and kind != 'RSR' else 'X'}{tracking.sender.number:02d}"
    down = "M" if several and kind != "RSR" else f"X{tracking.receiver.number:02d}"
    return f"GRV_JUGR_{year}{doy:03d}_{minute // 60:02d}{minute % 60:02d}{up}{down}{rate}V01.{kind}"


def _folder(volume: Path, *parts: str) -> Path:
    folder = volume.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _note(path: Path) -> None:
    """Write the text that says of a binary file that it is simulated."""
    path.with_suffix(".TXT").write_text(f"{MARK}\n{path.name} is simulated.\n")


# TNF


def write_tracking(
    volume: Path, tracking: Tracking, phases: dict[int, Extended], lost: NDArray[np.intp], slipped: NDArray[np.intp]
) -> Path:
    """Write the tracking and navigation file: ramps (type 9), then received phases (type 1) of all links by time."""
    ramps = [_ramp_records(tracking, link) for link in ((0, 2) if 2 in tracking.links else (0,))]
    uplink = _joined(ramps)
    uplink = uplink[np.lexsort((uplink["sec"], uplink["doy"], uplink["year"]))]
    parts = [_phase_records(tracking, link, phases[link], lost, slipped) for link in tracking.links]
    # Records of one second follow one another.
    downlink = _joined(parts).reshape(len(parts), -1).T.ravel()
    for number, records in enumerate((uplink, downlink)):
        records["rec_seq_num"] = np.arange(records.size) + number * uplink.size
    order = np.concatenate([np.full(uplink.size, 9, np.uint8), np.full(downlink.size, 1, np.uint8)])
    name = _name(tracking, _utc(tracking, tracking.tags[:1]), "C001", "TNF")
    path = _folder(volume, "DATA", "TNF") / name
    tnf.write_tnf(path, tnf.Tnf({9: uplink, 1: downlink}, order=order))
    _note(path)
    return path


def _joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    """Records one after another; numpy's own joining would change their byte order."""
    out = np.empty(sum(p.size for p in parts), parts[0].dtype)
    np.concatenate([p.view(f"V{p.dtype.itemsize}") for p in parts], out=out.view(f"V{out.dtype.itemsize}"))
    return out


def _times(times: Times) -> dict[str, Any]:
    year, doy = year_and_day(times[0])
    return {"year": year, "doy": doy, "sec": times[1]}


def _ramp_records(tracking: Tracking, link: int) -> NDArray[np.void]:
    carrier = tracking.carrier(link)
    day, second = _utc(tracking, carrier.nodes)
    rate = np.diff(carrier.frequency) / np.asarray(np.diff(carrier.nodes), np.float64)
    columns = {
        "scft_id": SPACECRAFT,
        "ul_dss_id": tracking.sender.number,
        "ul_band": LINKS[link][1],
        "transmit_time_tag_delay": UP_DELAY,
        "ul_zheight_corr": -99.0,
        "ramp_freq": carrier.frequency,
        "ramp_rate": np.append(rate, 0.0),
        "ramp_type": np.append(np.full(rate.size, RAMP_START), RAMP_END),
    }
    return tnf.make_records(9, _times((day, np.round(second, 6))) | columns)


def _phase_records(
    tracking: Tracking, link: int, cycles: Extended, lost: NDArray[np.intp], slipped: NDArray[np.intp]
) -> NDArray[np.void]:
    day, second = _utc(tracking, tracking.tags)
    n = cycles.size
    lock, slips = np.full(n, IN_LOCK), np.zeros(n, np.int64)
    lock[lost], slips[slipped] = 0, 1
    at = np.asarray(tracking.tags, np.float64)
    frequency = np.gradient(np.asarray(cycles - cycles[0], np.float64), at)
    bend = np.gradient(frequency, at)
    ratio = tracking.known["transponder"]["ratio"][link]
    turn = {0: (880, 749), 1: (3344, 749), 2: (3360, 3599)}[link]
    assert abs(turn[0] / turn[1] - ratio) < 1e-12
    own = tracking.sender.number == tracking.receiver.number
    columns: dict[str, Any] = {
        "scft_id": SPACECRAFT,
        "dl_dss_id": tracking.receiver.number,
        "dl_band": LINKS[link][2],
        "ul_band_dl": LINKS[link][1],
        "dl_chan_num": link + 1,
        "ul_prdx_stn": tracking.sender.number,
        "vld_ul_stn": tracking.sender.number,
        "prdx_mode": TWO_WAY if own else THREE_WAY,
        "vld_dop_mode": TWO_WAY if own else THREE_WAY,
        "carr_lock_stat": lock,
        "rcv_time_tag_delay": DOWN_DELAY,
        "dl_zheight_corr": -99.0,
        "scft_transpd_turn_num": turn[0],
        "scft_transpd_turn_den": turn[1],
        "pcn0": CARRIER_TO_NOISE,
        "dl_freq": frequency,
        "slipped_cycles": slips,
    }
    sub = np.arange(10) / np.longdouble(10)
    each = cycles[:, None] + frequency[:, None] * sub + bend[:, None] / 2 * sub**2
    named = [(str(k), each[:, k]) for k in range(10)] + [("avg", each.mean(axis=1))]
    for name, value in named:
        whole = np.floor(value)
        fraction = np.floor(np.asarray(value - whole, np.float64) * 2.0**32)
        number = whole.astype(np.int64)
        columns |= {
            f"phs_hi_{name}": number >> 32,
            f"phs_lo_{name}": number & 0xFFFFFFFF,
            f"phs_frac_{name}": fraction.astype(np.int64),
        }
    return tnf.make_records(1, _times((day, np.round(second, 6))) | columns)


# ODF


def write_orbit_data(volume: Path, tracking: Tracking, phases: dict[int, Extended]) -> Path:
    """Write the orbit data file: Doppler over whole minutes, and the ramps."""
    day, second = _utc(tracking, tracking.tags)
    seconds = np.round(second).astype(np.int64)
    first = int(np.flatnonzero(seconds % MINUTE == 0)[0])
    edges = np.arange(first, tracking.tags.size, MINUTE // round(float(tracking.tags[1] - tracking.tags[0])))
    orbit = np.concatenate(
        [_orbit_records(tracking, k, phases[k][edges], day[edges[:-1]], seconds[edges[:-1]]) for k in tracking.links]
    )
    orbit = orbit[np.argsort(orbit["time_second"], kind="stable")]
    ramps = np.concatenate([_ramps(tracking, k) for k in ((0, 2) if 2 in tracking.links else (0,))])
    ramps = ramps[np.argsort(ramps["start_second"], kind="stable")]
    label = odf.make_records(odf.LABEL, {
        "system": b"SIMULATD", "program": b"PERIJOVE", "spacecraft": SPACECRAFT, "creation_date": 160827,
        "reference_date": 19500101,
    })  # fmt: skip
    text = {"identifier_1": b"TIMETAG ", "identifier_2": b"OBSRVBL ", "identifier_3": b"FREQ, ANCILLARY-DATA"}
    groups = [
        (odf.LABEL, 0, label),
        (odf.IDENTIFIER, 0, odf.make_records(odf.IDENTIFIER, text)),
        (odf.ORBIT, 0, orbit),
        (odf.RAMP, tracking.sender.number, ramps),
    ]
    path = _folder(volume, "DATA", "ODF") / _name(tracking, (day, second), "C060", "ODF")
    odf.write_odf(path, odf.make_odf(groups))
    _note(path)
    return path


def _split(value: Extended) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whole part and rest in 1e-9, both of one sign."""
    whole = np.trunc(value)
    fraction = np.round((value - whole) * np.longdouble(1e9)).astype(np.int64)
    # A rest that rounds to one makes another whole.
    over = np.where(np.abs(fraction) == 1_000_000_000, np.sign(fraction), 0)
    return whole.astype(np.int64) + over, fraction - over * 1_000_000_000


def _since_1950(day: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    return (day - MJD_1950) * 86400 + second


def _orbit_records(
    tracking: Tracking, link: int, cycles: Extended, day: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.void]:
    ratio = np.longdouble(tracking.known["transponder"]["ratio"][link])
    reference = round(float(tracking.carrier(link).frequency[0]) * 1000)
    observable = ratio * (np.longdouble(reference) / 1000) - np.diff(cycles) / MINUTE
    whole, fraction = _split(observable)
    band = {X_BAND: 2, KA_BAND: 3}
    own = tracking.sender.number == tracking.receiver.number
    return odf.make_records(odf.ORBIT, {
        "time_second": _since_1950(day, second) + MINUTE // 2,
        "downlink_delay": round(DOWN_DELAY * 1e9),
        "uplink_delay": round(UP_DELAY * 1e9),
        "observable_whole": whole,
        "observable_fraction": fraction,
        "format_id": 2,
        "receiver": tracking.receiver.number,
        "transmitter": tracking.sender.number,
        "data_type": 12 if own else 13,
        "downlink_band": band[LINKS[link][2]],
        "uplink_band": band[LINKS[link][1]],
        "reference_band": band[LINKS[link][1]],
        "spacecraft": SPACECRAFT,
        "reference_high": reference >> 24,
        "reference_low": reference & 0xFFFFFF,
        "item_21": MINUTE * 100,
    })  # fmt: skip


def _ramps(tracking: Tracking, link: int) -> NDArray[np.void]:
    carrier = tracking.carrier(link)
    day, second = _utc(tracking, carrier.nodes)
    at = _since_1950(day, np.round(second).astype(np.int64))
    rate = np.diff(carrier.frequency) / np.asarray(np.diff(carrier.nodes), np.float64)
    whole, fraction = _split(carrier.frequency[:-1].astype(np.longdouble))
    rate_whole, rate_fraction = _split(rate.astype(np.longdouble))
    return odf.make_records(odf.RAMP, {
        "start_second": at[:-1], "end_second": at[1:], "station": tracking.sender.number,
        "frequency_ghz": whole // 1_000_000_000, "frequency_whole": whole % 1_000_000_000,
        "frequency_fraction": fraction, "rate_whole": rate_whole, "rate_fraction": rate_fraction,
    })  # fmt: skip


# Media and Earth orientation


def write_media(volume: Path, tracking: Tracking) -> Path:
    """Write the media calibrations: power series of dry and wet delays of all complexes."""
    air = tracking.air
    start = air.first[0] * 86400.0 + air.first[1]
    edges = start + np.arange(PIECES + 1) * PIECE
    when = [(int(e // 86400.0), float(e % 86400.0)) for e in edges]
    commands = [
        media.Command("ALL", "NRMPOW", tuple(row.tolist()), f"{part.upper()} NUPART", when[k], when[k + 1], name)
        for place, name in enumerate(COMPLEXES)
        for part in PARTS
        for k, row in enumerate(air.coefficients(part, place))
    ]
    path = _folder(volume, "ANCILLARY", "TRO") / f"GRV_JUGR_{_days(when[0][0], when[-1][0])}_V01.TRO"
    media.write_csp(path, commands)
    text = path.read_text()
    path.write_text(f"# {MARK}\n{text}")
    return path


def _days(first: int, last: int) -> str:
    (a, b), (c, d) = (year_and_day(np.array([day])) for day in (first, last))
    return f"{a[0]}{b[0]:03d}_{c[0]}{d[0]:03d}"


def write_orientation(volume: Path, tracking: Tracking) -> Path:
    """Write the Earth orientation of nine days, with nutation corrections to IAU 1980 as such files have them."""
    table = tracking.known["earth_orientation"]
    day = int(_utc(tracking, tracking.tags[:1])[0][0])
    use = np.flatnonzero(np.abs(table["mjd"] - day) <= 4.0)
    mjd = table["mjd"][use]
    dpsi, deps = nutation_corrections(mjd, table["dx"][use], table["dy"][use])
    rows = np.zeros(use.size, eop.DTYPE)
    rows["mjd"] = mjd
    for name, column in (("pole_x", table["x"][use]), ("pole_y", table["y"][use]), ("dpsi", dpsi), ("deps", deps)):
        rows[name] = np.round(column, 4)
    rows["tai_minus_ut1"] = np.round(-table["ut1_tai"][use], 7)
    rows["tai_minus_utc"] = tai_minus_utc(mjd)
    path = _folder(volume, "ANCILLARY", "EOP") / f"GRV_JUGR_{_days(int(mjd[0]), int(mjd[-1]))}_V01.EOP"
    eop.write_eop(path, eop.Eop({"EOPLBL": "SIMULATED", "EOPUT1": "UT1"}, rows, [MARK]))
    return path


def nutation_corrections(mjd: Floats, dx: Floats, dy: Floats) -> tuple[Floats, Floats]:
    """Corrections to the nutation of IAU 1980, mas, with which its pole is that of IAU 2006/2000A and its offsets.

    The pole moves by ``dpsi sin(obliquity)`` along X and ``deps`` along Y, nearly; so a few rounds find it.
    """
    x, y, _ = erfa.xys06a(2400000.5, mjd)
    wanted = np.stack([x + dx * MAS, y + dy * MAS], axis=1)
    obliquity = erfa.obl80(2400000.5, mjd)
    mean = erfa.pmat76(2400000.5, mjd)
    psi, eps = erfa.nut80(2400000.5, mjd)
    correction = np.zeros((mjd.size, 2))
    for _ in range(4):
        true = erfa.numat(obliquity, psi + correction[:, 0], eps + correction[:, 1])
        # The pole in the mean equator of J2000: the third axis, turned back.
        pole = np.einsum("nki,nk->ni", mean, true[:, 2])[:, :2]
        correction += (wanted - pole) / np.stack([np.sin(obliquity), np.ones(mjd.size)], axis=1)
    return correction[:, 0] / MAS, correction[:, 1] / MAS


# Open loop


def write_recording(
    volume: Path, tracking: Tracking, cycles: Extended, scale: Literal["demo", "full"], rng: Generator
) -> tuple[str, xr.Dataset]:
    """Write a recording about the middle of the pass; returns its unit and the true frequencies, second by second."""
    length, kilohertz, size = RECORDING[scale]
    first = tracking.tags.size // 2
    tags = tracking.tags[first : first + length + 1]
    mean = np.diff(cycles)[first - 1 : first + length + 1]
    per_second = 1000 * kilohertz // size
    frequency = np.asarray(mean[1:-1], np.float64)
    start = np.asarray(mean[:-2] + mean[1:-1], np.float64) / 2.0
    rate = np.asarray(mean[1:-1] - mean[:-2], np.float64)
    # The receiver follows its prediction: linear in each second, some Hz off.
    tuned = start - PREDICTED_OFF
    left = frequency - (tuned + rate / 2.0)
    turns = CubicSpline(np.arange(length + 1), np.concatenate([[0.0], np.cumsum(left)]))
    at = np.arange(length * 1000 * kilohertz) / (1000.0 * kilohertz)
    noise = SIGMA * (rng.normal(size=at.size) + 1j * rng.normal(size=at.size))
    amplitude = np.sqrt(10.0 ** (CARRIER_TO_NOISE / 10.0) * 2.0 * SIGMA**2 / (1000.0 * kilohertz))
    signal = amplitude * np.exp(2j * np.pi * turns(at)) + noise
    samples = (2.0 * np.floor(signal.real / 2.0) + 1.0) + 1j * (2.0 * np.floor(signal.imag / 2.0) + 1.0)
    day, second = _utc(tracking, tags[:-1])
    part = np.arange(length * per_second) / per_second
    whole = np.floor(part).astype(np.intp)
    lo = (8100, 300)
    year, doy = year_and_day(day[whole])
    columns: dict[str, Any] = {
        "bits_per_sample": BITS, "sample_rate": kilohertz, "rf_if_lo": lo[0], "ddc_lo": lo[1],
        "spacecraft_id": SPACECRAFT, "dss_id": tracking.receiver.number, "ul_dss_id": tracking.sender.number,
        "ul_band": b"X", "dl_band": b"X", "track_mode": TWO_WAY, "rec_seq_num": np.arange(part.size) % 65536,
        "year": year, "doy": doy, "sec": np.round(second[whole]) + (part - whole),
        "frequency_c1": 1e6 * sum(lo) - tuned[whole], "frequency_c2": -rate[whole],
    }  # fmt: skip
    headers = rsr.make_headers(columns, size)
    name = _name(tracking, (day, second), f"{kilohertz:03d}K", "RSR")
    path = _folder(volume, "DATA", "RSR") / name
    rsr.write_rsr(path, [(headers, samples.reshape(-1, size))])
    _note(path)
    middle = (tags[1:] + tags[:-1]) / 2 + np.longdouble(tracking.sky.epoch)
    et = tdt_to_et(np.asarray(middle, np.float64))
    return name[: name.index("V01.")].upper(), xr.Dataset({"sky_frequency": ("et", frequency)}, coords={"et": et})
