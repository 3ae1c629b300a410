"""The other way round: stars, planet and particles to images (`forward`), and the truth.

The values of the calibration tables are the truth of the instrument; what no table says (fluxes) is this module's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, RegularGridInterpolator

from instruments.sru.count_table import write_table
from instruments.sru.forward import Array, Known, Light, Taken, collecting
from instruments.sru.raw import SIZE, Exposure, product_id, write_edr
from pipeline.geometry.surface import surface_points
from pipeline.instrument import Truth
from pipeline.scene.stars import Stars
from pipeline.scene.tables import values_at

if TYPE_CHECKING:
    from pipeline.scene import Scene

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

NAMES = ("camera", "readout", "gain", "hits", "photometry", "stars")


class Setting(NamedTuple):
    """How images are taken: unit, seconds, TDI, how many in a demo and in a full pass."""

    unit: int
    seconds: float
    tdi: bool
    demo: int
    full: int


SETTINGS = (
    Setting(1, 0.3, True, 10, 40),
    Setting(2, 0.3, True, 6, 24),
    Setting(1, 0.005, False, 6, 12),
)
# Of the planet, electrons per pixel and second: its night side (lit by moons and its own glow) and its day side.
# The day side reaches as far as the Sun is less than so many degrees off the vertical, twilight included.
NIGHT, DAY, TERMINATOR = 400.0, 5e6, 92.0
# Particles per cm^2 s: about everywhere, and in two passages of the belts (seconds from closest approach, width).
QUIET, BELTS, PASSAGES = 500.0, 2.2e4, ((-430.0, 120.0), (540.0, 150.0))
# Moments of a spin at which an image might be taken.
PHASES, SPIN = 15, 30.0
# Rows that one image in the middle lacks.
LACKING = slice(300, 340)
# Moments at which stars are followed.
WAY = 33
# As in the product: the brightest stars of the field at least 7 pixels inside it.
BRIGHTEST, MARGIN = 30, 7.0
# Of fewer stars nothing can be said of how errors are distributed.
FEWEST = 5
# Particles per pixel above which one may lie under any star.
CROWDED = 0.002
EULER = 0.5772156649015329


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write images and the archive's table of a pass below `raw_folder`; yields the truth of what is made of them."""
    known = truth_tables(scene.pass_.et)
    sky = Stars.of(known["stars"])
    array = Array.of(known, rng)
    exposures = planned(scene, scale)
    lacking = len(exposures) // 2
    orbit = scene.pass_.number
    folder = raw_folder / "JNOSRU_0001" / "DATA" / "SRU_EDR" / "JUPITER" / f"ORBIT_{orbit:02d}"
    # Where the correlation of the clock is extrapolated, times are those of the UTC, to 1 ms.
    tolerance = 6e-4 if bool(scene.clock.extrapolated(scene.span.stop)) else 5e-5
    rates = []
    for number, exposure in enumerate(exposures):
        light = light_of(scene, exposure, sky, known)
        flux = float(particle_flux(exposure.et + exposure.seconds / 2.0 - scene.pass_.et))
        taken = array.take(exposure, light, flux, rng)
        if number == lacking:
            taken.dn[LACKING] = 0
        target = "JUPITER" if light.planet.any() else "SKY"
        write_edr(folder, taken.dn, exposure, orbit, scene.clock, target=target, simulated=True)
        unit = product_id(exposure.unit, exposure.et, orbit)[:-4]
        yield Truth("sru.image", unit, true_image(taken, exposure, light, known, tolerance, hidden=number == lacking))
        stars = true_stars(exposure, light, sky, taken, known, lacking=number == lacking)
        if int(stars["rate"].notnull().sum()) >= FEWEST and density(exposure, flux, known) < CROWDED:
            yield Truth("sru.stars", unit, stars)
        rates.append(true_rates(exposure, flux, known))
    whole = xr.concat(rates, "image").sortby("et").assign_attrs(et_tolerance=tolerance)
    yield Truth("sru.count_rate", "", whole.drop_vars([n for n, v in whole.data_vars.items() if v.isnull().all()]))
    write_archive(scene, raw_folder, whole, exposures, rng)


def truth_tables(et: float) -> Known:
    """Values of the tables that hold at closest approach: table to quantity to array."""
    return values_at("sru", NAMES, et)


def particle_flux(since: float | Floats) -> Floats:
    """Particles per cm^2 s that reach the array, by seconds from closest approach."""
    t = np.asarray(since, np.float64)
    middle, width = np.array(PASSAGES).T
    return np.asarray(QUIET + BELTS * np.exp(-0.5 * ((t[..., None] - middle) / width) ** 2).sum(axis=-1))


# When, and what is in the field


def planned(scene: Scene, scale: Literal["demo", "full"]) -> list[Exposure]:
    """Images evenly over the span, each at the phase of a spin that shows what is wanted, on whole clock counts.

    One in three shows the planet with more of the sky, its night side rather than the day side; the others the sky.
    """
    settings = [s for s in SETTINGS for _ in range(s.demo if scale == "demo" else s.full)]
    # Settings spread evenly over the pass, whatever there is of each.
    spread = [(k + 0.5) / settings.count(s) for s in SETTINGS for k in range(settings.count(s))]
    order = np.argsort(spread, kind="stable")
    step = (scene.span.duration - 2.0 * SPIN) / len(settings)
    out = []
    for number, which in enumerate(order):
        s = settings[which]
        times = scene.span.start + SPIN + number * step + SPIN * np.arange(PHASES) / PHASES
        et = scene.clock.to_et(np.rint(scene.clock.to_ticks(times)))
        best = np.argmin(dislike(scene, s.unit, et, 0.0 if number % 3 else 0.4))
        out.append(Exposure(s.unit, float(et[best]), s.seconds, s.tdi, False))
    return out


def dislike(scene: Scene, unit: int, et: Floats, wanted: float) -> Floats:
    """How far fields at moments (n) are from the share of the planet that is wanted; its day side is worse."""
    side = np.tan(np.radians(8.0)) * np.linspace(-1.0, 1.0, 9)
    y, x = np.meshgrid(side, side, indexing="ij")
    vectors = np.broadcast_to(np.stack([np.ones_like(x), x, y], axis=-1), (len(et), *x.shape, 3))
    incidence = surface_points(scene.geometry, et, vectors, frame=f"JUNO_SRU{unit}").incidence
    lit, there = (part.mean(axis=(1, 2)) for part in (incidence < TERMINATOR, np.isfinite(incidence)))
    return np.asarray(np.abs(there - wanted) + 0.5 * lit)


def light_of(scene: Scene, shot: Exposure, sky: Stars, known: Known) -> Light:
    """Planet and stars in the field."""
    grid = np.arange(-4.0, SIZE + 4.0, 4.0)
    row, column = np.meshgrid(grid, grid, indexing="ij")
    # Angle of the Sun from the vertical, NaN beside the planet.
    looks = looking(row, column, known["camera"])[None]
    incidence = surface_points(scene.geometry, shot.et, looks, frame=f"JUNO_SRU{shot.unit}").incidence[0]
    bright = np.where(incidence < TERMINATOR, DAY, np.where(np.isfinite(incidence), NIGHT, 0.0))
    pixel = np.arange(SIZE, dtype=np.float64)
    planet = RegularGridInterpolator((grid, grid), bright)(np.stack(np.meshgrid(pixel, pixel, indexing="ij"), -1))
    geometry = scene.geometry
    et = np.array([shot.et])
    place, velocity = (getattr(geometry, n)("J2000", et, observer="SSB")[0] for n in ("position", "velocity"))
    seen = sky.seen(shot.et, place, velocity)
    frame = f"JUNO_SRU{shot.unit}"
    ahead = seen @ geometry.rotation("J2000", frame, et)[0][0]
    reach = shot.seconds * 2.0 * np.pi / SPIN
    near = np.flatnonzero(ahead > np.cos(np.radians(12.5) + reach))
    way = np.linspace(0.0, shot.seconds, WAY)
    turns = geometry.rotation("J2000", frame, shot.et + way)
    rows, columns = projected(np.einsum("mij,nj->mni", turns, seen[near]), known["camera"])
    photometry = known["photometry"]
    magnitude = sky.magnitude[near] + photometry["colour_term"] * sky.colour[near]
    rate = photometry["zero_point"] * 10.0 ** (-0.4 * magnitude)
    there = np.isfinite(rows).all(axis=0)
    return Light(planet, way, rows[:, there], columns[:, there], near[there], rate[there])


def looking(row: Floats, column: Floats, camera: dict[str, Floats]) -> Floats:
    """Directions in a unit's frame of places on the array."""
    y, x = ((p - c) / camera["focal_length"] for p, c in zip((row, column), camera["boresight"], strict=True))
    stretch = np.polynomial.Polynomial(np.insert(camera["distortion"], 3, 0.0))(np.hypot(x, y))
    return np.stack([np.ones_like(x), -x * stretch, -y * stretch], axis=-1)


def projected(vectors: Floats, camera: dict[str, Floats]) -> tuple[Floats, Floats]:
    """Rows and columns at which directions appear, by a table of the distortion; NaN beyond the field."""
    r = np.linspace(0.0, 0.3, 3001)
    bent = r * np.polynomial.Polynomial(np.insert(camera["distortion"], 3, 0.0))(r)
    back = CubicSpline(bent, r, extrapolate=False)
    x, y, z = np.moveaxis(vectors, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.where(x > 0.0, np.maximum(np.hypot(y, z) / x, 1e-12), np.nan)
        scale = camera["focal_length"] * back(off) / (off * x)
    return camera["boresight"][0] - z * scale, camera["boresight"][1] - y * scale


# Truth


def true_image(
    taken: Taken, shot: Exposure, light: Light, known: Known, tolerance: float, *, hidden: bool
) -> xr.Dataset:
    """Electrons per second of the planet; not known where a star's light falls. Lacking rows are injected defects."""
    value = light.planet.copy()
    value[star_light(shot, light, known)] = np.nan
    value[510:], value[:, :2] = np.nan, np.nan
    spoilt = (taken.hit > 0) | (taken.hot > 15.0) | (light.planet > NIGHT)
    # Neighbours of hits are flagged with them.
    padded = np.pad(spoilt, 1)
    near = np.any([padded[i : i + SIZE, j : j + SIZE] for i in range(3) for j in range(3)], axis=0)
    if hidden:
        near[LACKING] = True
    t = collecting(shot, known["readout"])
    told = {"injected": float(near[np.isfinite(value)].mean()), "et_tolerance": tolerance}
    return xr.Dataset({"rate": (("row", "column"), value)}, coords={"et": (("row",), shot.et + t / 2.0)}, attrs=told)


def star_light(shot: Exposure, light: Light, known: Known) -> Mask:
    """Pixels that a star's way, widened by its blur, comes near."""
    mask = np.zeros((SIZE, SIZE), bool)
    psf, period = float(known["photometry"]["psf"]), float(known["readout"]["row_period"])
    moved = light.way / period if shot.tdi else np.zeros_like(light.way)
    bright = light.rate * shot.seconds > 5.0
    far = np.ceil(psf * np.sqrt(2.0 * np.log(light.rate[bright] * shot.seconds / 5.0)) + 2.0)
    widest = int(far.max(initial=0.0))
    dy, dx = (g.ravel() for g in np.mgrid[-widest : widest + 1, -widest : widest + 1])
    near = np.maximum(np.abs(dy), np.abs(dx)) <= far[:, None]
    for moment, shift in enumerate(moved):
        r, c = (np.rint(p[moment, bright]).astype(int)[:, None] for p in (light.rows + shift, light.columns))
        r, c = np.broadcast_to(r + dy, near.shape)[near], np.broadcast_to(c + dx, near.shape)[near]
        inside = (r >= 0) & (r < SIZE) & (c >= 0) & (c < SIZE)
        mask[r[inside], c[inside]] = True
    return mask


def mean_places(shot: Exposure, light: Light, known: Known) -> tuple[Floats, Floats, Floats]:
    """Mean row and column in the image of the stars' light, and seconds for which it was collected (n)."""
    seconds = collecting(shot, known["readout"])[np.clip(np.rint(light.rows[0]), 0, SIZE - 1).astype(np.intp)]
    rows, columns = (CubicSpline(light.way, p).antiderivative() for p in (light.rows, light.columns))
    each = np.arange(len(seconds))
    row, column = (f(seconds)[each, each] / seconds for f in (rows, columns))
    if shot.tdi:
        readout = known["readout"]
        # Mean of the whole rows shifted up to then.
        fine = (np.arange(5000) + 0.5) / 5000
        steps = np.floor(seconds[:, None] * fine / readout["row_period"] + 1.0 - readout["shift_phase"])
        row = row + steps.mean(axis=1)
    return row, column, seconds


def true_stars(shot: Exposure, light: Light, sky: Stars, taken: Taken, known: Known, *, lacking: bool) -> xr.Dataset:
    """Places and rates of the brightest stars in the field; those that nothing can be said of are not known."""
    row, column, seconds = mean_places(shot, light, known)
    inside = (row >= MARGIN) & (row <= 509 - MARGIN) & (column >= 2 + MARGIN) & (column <= 511 - MARGIN)
    chosen = np.flatnonzero(inside)
    chosen = chosen[np.argsort(-light.rate[chosen], kind="stable")][:BRIGHTEST]
    chosen = chosen[np.argsort(row[chosen], kind="stable")]
    r, c = np.rint(row[chosen]).astype(int), np.rint(column[chosen]).astype(int)
    beside = np.hypot(row[chosen][:, None] - row, column[chosen][:, None] - column) < 10.0
    beside &= light.rate > light.rate[chosen][:, None] * 10.0**-1.25
    unknown = beside.sum(axis=1) > 1
    unknown |= light.rate[chosen] * seconds[chosen] < 1.02 * known["photometry"]["detectable"]
    for dr, dc in ((0, 0), (9, 0), (-9, 0), (0, 9), (0, -9)):
        unknown |= light.planet[np.clip(r + dr, 0, 511), np.clip(c + dc, 0, 511)] > 0.0
    if lacking:
        unknown |= (r > LACKING.start - 8) & (r < LACKING.stop + 8)
    place = np.where(unknown[:, None], np.nan, np.stack([row[chosen], column[chosen]], axis=1))
    rate = np.where(unknown, np.nan, light.rate[chosen])
    variables = {"place": (("star", "axis"), place), "rate": (("star",), rate)}
    # Stars whose light a particle's falls into.
    box = np.arange(-5, 6)
    hit = taken.hit[r[:, None, None] + box[:, None], c[:, None, None] + box].max(axis=(1, 2)) > 50.0
    injected = float(hit[~unknown].mean()) if not unknown.all() else 0.0
    hip = (("star",), sky.hip[light.stars[chosen]].astype(np.int32))
    times = {"et": (("star",), shot.et + seconds[chosen] / 2.0)}
    return xr.Dataset({**variables, "hip": hip}, coords=times, attrs={"injected": injected, "et_tolerance": 5e-3})


def density(shot: Exposure, flux: float, known: Known) -> float:
    """Particles per pixel."""
    return flux * float(known["camera"]["pitch"]) ** 2 * float(collecting(shot, known["readout"])[:510].mean())


def true_rates(shot: Exposure, flux: float, known: Known) -> xr.Dataset:
    """Rates of one image; that which is not given is not known, close to the limit neither."""
    dense = density(shot, flux, known)
    mean = known["hits"]["charge"] + known["hits"]["width"] * (EULER + np.log(2.0))
    noise = flux * float(mean) / float(known["gain"]["gain"][shot.unit - 1])
    rates = {
        "cluster_rate": flux if dense < 0.009 else np.nan,
        "noise_rate": noise if dense > 0.0112 else np.nan,
    }
    columns = {name: (("image",), np.array([value])) for name, value in rates.items()}
    return xr.Dataset(columns, coords={"et": (("image",), np.array([shot.et + shot.seconds / 2.0]))})


def write_archive(scene: Scene, raw_folder: Path, truth: xr.Dataset, exposures: list[Exposure], rng: Generator) -> None:
    """The archive's own table of the same images, with errors of a tenth."""
    orbit = scene.pass_.number
    cluster, noise = (truth[n].values * np.exp(rng.normal(0.0, 0.1, truth.sizes["image"])) for n in truth.data_vars)
    given = np.isfinite(cluster) != np.isfinite(noise)
    unit = np.array([e.unit for e in sorted(exposures, key=lambda e: e.et + e.seconds / 2.0)], np.int8)
    folder = raw_folder / "JNOSRU_0001" / "DATA" / "SRU_COUNTRATE_TABLE" / "JUPITER" / f"ORBIT_{orbit:02d}"
    columns = (truth["et"].values[given], unit[given], cluster[given], noise[given])
    write_table(folder / f"SRU_CRT_{orbit:02d}_V01.CSV", *columns, scene.clock, simulated=True)
