"""A simulated tracking pass: the files of the archive, and what is true of it.

The values of the calibration tables are its truth; what calibrations do not know, fluctuations of the wet troposphere,
plasma and noise, is drawn at the size that the tables state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from instruments.gs import simulate_files as files
from instruments.gs.layout import COMPLEXES, LAST_OF_COMPLEX
from instruments.gs.simulate_air import Air
from instruments.gs.simulate_link import (
    DOWN_DELAY,
    UP_DELAY,
    Carrier,
    Dish,
    Received,
    Sky,
    choose_stations,
    sent_to_arrive,
    slow_noise,
)
from pipeline.clock import tdt_to_et
from pipeline.earth.orientation import EarthOrientation
from pipeline.earth.times import from_utc, to_utc
from pipeline.instrument import Truth
from pipeline.scene.tables import values_at

if TYPE_CHECKING:
    from pipeline.geometry.track import Track
    from pipeline.scene import Scene

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles
Known = dict[str, dict[str, Floats]]

NAMES = (
    "stations", "earth_orientation", "transponder", "troposphere", "mapping", "antenna", "spin", "plasma", "noise",
    "estimate",
)  # fmt: skip
# Juno's channel: X band uplink in Hz; the Ka uplink is in the ratio of the bands (facts of the DSN's channel plan).
UPLINK = 7153.065586e6
RAMP = 60.0  # seconds
SLOW_STEP = 10.0


@dataclass(frozen=True, eq=False)
class Tracking:
    """All that is known of a simulated pass.

    Parameters
    ----------
    tags : reception in whole seconds of UTC as offsets of TT, at the receiver's time tag (n + 1).
    links : which of X/X, X/Ka, Ka/Ka.
    """

    sky: Sky
    known: Known
    orientation: EarthOrientation
    sender: Dish
    receiver: Dish
    links: tuple[int, ...]
    tags: Extended
    air: Air
    plasma: tuple[CubicSpline, CubicSpline]

    @cached_property
    def times(self) -> tuple[Extended, Extended, Extended]:
        """Reception, turn-round and transmission, TDB, of each tag."""
        t3 = self.receiver.clock.tdb(self.tags - np.longdouble(DOWN_DELAY))
        t1, t2 = sent_to_arrive(self.sky, self.sender, self.receiver, t3)
        return t3, t2, t1

    @cached_property
    def sent(self) -> Extended:
        """Time tags of the transmitter."""
        return self.sender.clock.station(self.times[2]) - np.longdouble(UP_DELAY)

    def carrier(self, link: int) -> Carrier:
        """What is sent: compensated so that Juno receives nearly the same all the time."""
        base = UPLINK * (1.0 if link < 2 else float(self.known["transponder"]["uplinks"]))
        first, last = float(self.sent[0]) - 2 * RAMP, float(self.sent[-1]) + 2 * RAMP
        start = self._minute(first)
        nodes = start + np.arange(int((last - float(start)) / RAMP) + 2) * np.longdouble(RAMP)
        _, t2, t1 = self.times
        way = np.asarray(t2 - t1, np.float64)
        slope = np.gradient(way, np.asarray(self.sent, np.float64))
        rate = np.interp(np.asarray(nodes, np.float64), np.asarray(self.sent, np.float64), slope)
        return Carrier(nodes, np.round(base * (1.0 + rate), 3))

    def _minute(self, offset: float) -> np.longdouble:
        """Offset of the whole minute of UTC before an offset."""
        day, second = to_utc(np.array([offset]), self.sky.epoch)
        return from_utc(day, np.floor(second / RAMP) * RAMP, self.sky.epoch)[0]

    @cached_property
    def looks(self) -> tuple[Floats, Floats]:
        """Unit vectors from the stations to Juno, on the way up and down."""
        t3, t2, t1 = self.times
        juno = self.sky.at("JUNO", t2)
        ends = self.sender.place(t1)[0], self.receiver.place(t3)[0]
        away = [np.asarray(juno - end, np.float64) for end in ends]
        up, down = (v / np.linalg.norm(v, axis=1)[:, None] for v in away)
        return up, down

    def received(self, link: int) -> Received:
        """Phase of a link at the tags, and what made it."""
        t3, t2, t1 = self.times
        ratio = float(self.known["transponder"]["ratio"][link])
        carrier = self.carrier(link)
        vacuum = ratio * carrier.cycles(self.sent)

        def delayed(seconds: Floats) -> Extended:
            return -ratio * carrier.just_before(self.sent, seconds)

        et = np.asarray(t2, np.float64) + self.sky.epoch
        body = self.sky.geometry.rotation("JUNO_SPACECRAFT", "J2000", et)
        arm = np.einsum("nij,j->ni", body, self.known["antenna"]["phase_centre"])
        up, down = self.looks
        way = (arm * (up + down)).sum(axis=1) / 299792458.0
        air = self.air.delay(self.receiver, t3, self.sky.at("JUNO", t2))
        air = air + self.air.delay(self.sender, t1, self.sky.at("JUNO", t2))
        turned = np.unwrap(np.radians(self.sky.geometry.spin_phase(et))) / (2.0 * np.pi)
        facing = (body[:, :, 2] * down).sum(axis=1)
        spin = float(self.known["spin"]["sign"][link]) * (1.0 + ratio) * turned * facing
        # An electron delays the phase by less than nothing: cycles are gained as the inverse of the frequency.
        up_frequency = float(carrier.frequency[0])
        over_x = up_frequency / UPLINK
        seconds = np.asarray(self.tags, np.float64)
        gained = self.plasma[0](seconds) / over_x**2 + self.plasma[1](seconds) / (over_x * ratio) ** 2
        parts = {
            "troposphere": delayed(air),
            "antenna": delayed(way),
            "spin": spin.astype(np.longdouble),
            "plasma": (ratio * up_frequency * gained).astype(np.longdouble),
        }
        return Received(vacuum, parts)


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write tracking (TNF, ODF), media, Earth orientation and a piece of open-loop recording; yields the truth.

    At some records the receiver is out of lock, at one it slips a cycle.
    """
    yield from observe(scene, raw_folder, scale, rng)


def observe(
    scene: Scene,
    raw_folder: Path,
    scale: Literal["demo", "full"],
    rng: Generator,
    *,
    juno: Track | None = None,
    quiet: bool = False,
    every: int = 1,
) -> Iterator[Truth]:
    """As `simulate`.

    Parameters
    ----------
    juno : another trajectory than the scene's, which the calibration does not know.
    quiet : neither plasma nor what the media calibrations miss, nor defects.
    every : seconds between phases; with more than one there is no open-loop recording.
    """
    tracking = make_tracking(scene, rng, juno=juno, quiet=quiet, every=every)
    received = {link: tracking.received(link) for link in tracking.links}
    noise = {link: _noise(tracking, link, rng) for link in tracking.links}
    lost, slipped = _defects(tracking, rng) if not quiet else (np.zeros(0, np.intp), np.zeros(0, np.intp))
    phases = {link: received[link].whole + noise[link] for link in tracking.links}
    for link in tracking.links:
        for place in slipped:
            phases[link][place:] += 1.0
    folder = raw_folder / "JNOGRV_1001"
    files.write_tracking(folder, tracking, phases, lost, slipped)
    files.write_orbit_data(folder, tracking, phases)
    files.write_media(folder, tracking)
    files.write_orientation(folder, tracking)
    injected = (2 * lost.size + slipped.size) / (tracking.tags.size - 1)
    yield Truth("gs.tracking", "", _sky_frequency(tracking, received).assign_attrs(injected=injected))
    yield Truth("gs.residuals", "", _true_residuals(tracking, received).assign_attrs(injected=injected))
    yield Truth("gs.uplink", "", _true_uplink(tracking))
    yield Truth("gs.media", "", tracking.air.truth())
    yield Truth("gs.orientation", "", _true_orientation(tracking))
    if every > 1:
        return
    unit, line = files.write_recording(folder, tracking, received[tracking.links[0]].whole, scale, rng)
    yield Truth("gs.open_loop", unit, line)


def truth_tables(et: float) -> Known:
    """Values of the tables at closest approach."""
    return values_at("gs", NAMES, et)


def make_tracking(
    scene: Scene, rng: Generator, *, juno: Track | None = None, quiet: bool = False, every: int = 1
) -> Tracking:
    """The pass as it is, before noise and files."""
    known = truth_tables(scene.pass_.et)
    epoch = float(np.floor(scene.pass_.et))
    sky = Sky(epoch, scene.span, scene.geometry, juno)
    orientation = EarthOrientation(*(known["earth_orientation"][n] for n in ("mjd", "x", "y", "ut1_tai", "dx", "dy")))
    sender, receiver, links = choose_stations(sky, known, orientation)
    tags = _tags(sky, every)
    amount = 0.0 if quiet else 1.0
    scale = float(known["estimate"]["correlation"])
    # From the first transmission to the last reception, and a little more.
    grid = np.arange(float(tags[0]) - 7200.0, float(tags[-1]) + 1800.0, SLOW_STEP)

    def slow(rms: float) -> CubicSpline:
        rate = slow_noise(rng, amount * rms, scale, SLOW_STEP, grid.size)
        return CubicSpline(grid, np.concatenate([[0.0], np.cumsum(rate[1:] + rate[:-1]) * SLOW_STEP / 2.0]))

    left = float(known["troposphere"]["rate_calibrated"])
    places = {int(np.searchsorted(LAST_OF_COMPLEX, d.number)) for d in (sender, receiver)}
    turbulence = {COMPLEXES[k]: slow(left) for k in sorted(places)}
    air = Air(sky, known, turbulence, rng.normal(0.0, 1.0, (2, len(COMPLEXES), 9, 4)))
    rate = float(known["plasma"]["rate"])
    return Tracking(sky, known, orientation, sender, receiver, links, tags, air, (slow(rate), slow(rate)))


def _tags(sky: Sky, every: int) -> Extended:
    """Whole seconds of UTC, or multiples of so many, at which the signals of the span arrive."""
    ends = np.array([sky.span.start, sky.span.stop]) - sky.epoch
    t = ends.astype(np.longdouble)
    away = np.asarray(sky.at("EARTH", t) - sky.at("JUNO", t), np.float64)
    arrival = ends + np.linalg.norm(away, axis=1) / 299792.458
    day, second = to_utc(arrival, sky.epoch)
    first = from_utc(day[:1], np.ceil((second[:1] + 2.0) / every) * every, sky.epoch)[0]
    number = int((arrival[1] - float(first) - 2.0) / every)
    return first + every * np.arange(number).astype(np.longdouble)


def _noise(tracking: Tracking, link: int, rng: Generator) -> Floats:
    """Cycles: a walk by white noise of the frequency, and noise of the phase itself."""
    noise, n = tracking.known["noise"], tracking.tags.size
    over_x = 1.0 if link < 2 else float(tracking.known["transponder"]["uplinks"])
    frequency = UPLINK * over_x * float(tracking.known["transponder"]["ratio"][link])
    steps = np.sqrt(np.diff(np.asarray(tracking.tags, np.float64), prepend=float(tracking.tags[0]) - 1.0))
    walk = np.cumsum(steps * rng.normal(0.0, float(noise["white_frequency"][link]) * frequency, n))
    return np.asarray(walk + rng.normal(0.0, float(noise["phase"][link]), n))


def _defects(tracking: Tracking, rng: Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    places = rng.choice(np.arange(5, tracking.tags.size - 5), 3, replace=False)
    return places[:2], places[2:]


# What is true


def et_of_middles(tracking: Tracking) -> Floats:
    """Et of the middle of every count."""
    middle = (tracking.tags[1:] + tracking.tags[:-1]) / 2
    return tdt_to_et(np.asarray(middle + np.longdouble(tracking.sky.epoch), np.float64))


def _per_link(tracking: Tracking, values: dict[int, Extended]) -> tuple[tuple[str, str], Floats]:
    """Cycles of each link to mean frequencies (n, 3)."""
    out = np.full((tracking.tags.size - 1, 3), np.nan)
    for link, cycles in values.items():
        out[:, link] = np.diff(cycles) / np.diff(tracking.tags)
    return ("et", "link"), out


def _sky_frequency(tracking: Tracking, received: dict[int, Received]) -> xr.Dataset:
    data = {"sky_frequency": _per_link(tracking, {k: r.whole for k, r in received.items()})}
    return xr.Dataset(data, coords={"et": et_of_middles(tracking)})


def _true_residuals(tracking: Tracking, received: dict[int, Received]) -> xr.Dataset:
    dims, zero = _per_link(tracking, {k: 0.0 * r.vacuum for k, r in received.items()})
    data = {
        "computed": _per_link(tracking, {k: r.vacuum for k, r in received.items()}),
        "residual": (dims, zero),
        "range_rate": ("et", np.zeros(len(zero))),
    }
    for part in ("troposphere", "spin", "antenna"):
        data[f"effect_{part}"] = _per_link(tracking, {k: r.parts[part] for k, r in received.items()})
    return xr.Dataset(data, coords={"et": et_of_middles(tracking)})


def _true_uplink(tracking: Tracking) -> xr.Dataset:
    parts = [tracking.carrier(link) for link in ((0, 2) if 2 in tracking.links else (0,))]
    et = np.concatenate([tdt_to_et(np.asarray(c.nodes[:-1] + tracking.sky.epoch, np.float64)) for c in parts])
    frequency = np.concatenate([c.frequency[:-1] for c in parts])
    order = np.argsort(et, kind="stable")
    return xr.Dataset({"frequency": ("ramp", frequency[order])}, coords={"et": ("ramp", et[order])})


def _true_orientation(tracking: Tracking) -> xr.Dataset:
    """Orientation at whole multiples of 120 s of UTC, as the product has it."""
    day, second = to_utc(tracking.tags[[0, -1]], tracking.sky.epoch)
    first, last = np.round((day * 86400.0 + second) / 120.0).astype(np.int64)
    whole, rest = np.divmod(np.arange(first, last) * 120, 86400)
    known = tracking.orientation.at(whole + rest / 86400.0)
    et = tdt_to_et(np.asarray(from_utc(whole, rest.astype(np.float64), 0.0), np.float64))
    columns = dict(zip(("x", "y", "ut1_tai", "dx", "dy"), known, strict=True))
    return xr.Dataset({name: ("et", column) for name, column in columns.items()}, coords={"et": et})
