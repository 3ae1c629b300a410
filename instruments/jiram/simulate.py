"""The other way round: what the scene sends to JIRAM as photons, to frames in the archive's form, and the truth.

Derived from what a detector does, not by turning the calibration round: photons of every wavelength within the band
pass the aperture of 44 mm, a share of them frees electrons, which gather with those of dark current and of the
instrument's own glow; their number fluctuates as counts do; the converter divides them by its gain. Images are
compressed block by block and come back with that error. Values of the calibration tables are the truth of the
instrument; what they do not hold (the pattern of single pixels, the drift of the glow) only background frames tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from instruments.jiram.layout import BACKGROUND, BANDS, LINES, SAMPLES, SCIENCE, SLIT, TEMPERATURES
from instruments.jiram.raw_write import Acquisition, write_acquisition
from instruments.jiram.schemas import PIXELS, SPECTRA
from pipeline.clock import Span, format_utc, parse_utc
from pipeline.geometry import Geometry
from pipeline.geometry.surface import Surface, surface_points
from pipeline.instrument import Truth
from pipeline.scene.tables import values_at
from pipeline.scene.thermal import LINES as H3_LINES
from pipeline.scene.thermal import ThermalScene, planck

if TYPE_CHECKING:
    from pipeline.scene import Scene

Array = NDArray[np.float64]
Known = dict[str, dict[str, Array]]

NAMES = (
    "bands", "image_detector", "image_dark", "image_responsivity", "spectrum_detector", "spectrum_dark",
    "spectrum_responsivity", "wavelength", "temperature", "compression", "exposure",
)  # fmt: skip
FRAMES = ("JUNO_JIRAM_I_LBAND", "JUNO_JIRAM_I_MBAND")
# Spins between acquisitions, and acquisitions from one background frame to the next.
EVERY = {"demo": 8, "full": 1}
CYCLE = {"demo": 3, "full": 10}
SPIN = 30.0
IMAGE_EXPOSURE, SPECTRUM_EXPOSURE = 0.012, 0.6
# The spectrum begins after the image.
SPECTRUM_DELAY = 0.02
APERTURE = np.pi / 4.0 * 0.044**2  # m^2
PITCH, FOCAL_LENGTH = 38e-6, 0.15982033  # m
HC = 6.62607015e-34 * 299792458.0  # J m
# Root mean square of the fixed pattern of pixels, counts: as in the public dark frames of 2024.
PATTERN = 69.0
WELL, LARGEST = 16206.0, 16383  # counts at which pixels are full, and of the converter
HITS = 25.0  # of radiation in a frame, and their size in counts: at least, and on top of that
HIT_LEAST, HIT_MEAN = 400.0, 2500.0


@dataclass(frozen=True)
class World:
    """All that does not change from frame to frame."""

    thermal: ThermalScene
    geometry: Geometry
    known: Known
    pattern: Array
    hot: NDArray[np.bool_]


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write images and spectra of the pass below `raw_folder`; yields the truth of each.

    Frames come in cycles that begin with a background frame. Every second cycle of images is compressed, every third
    has its background subtracted on board; one image in a cycle has the M band alone.
    """
    known = truth_tables(scene.pass_.et)
    hot = np.zeros((2 * LINES, SAMPLES), bool)
    hot[tuple(known["image_detector"]["hot"].astype(int).T)] = True
    pattern = rng.normal(size=(2, LINES, SAMPLES)) * PATTERN
    world = World(ThermalScene(scene.seed), scene.geometry, known, pattern, hot.reshape(2, LINES, SAMPLES))
    times = acquisition_times(scene.span, scene.geometry, EVERY[scale])
    walk = np.cumsum(rng.normal(size=times.size) * np.sqrt(np.diff(times, prepend=times[0])))
    root, last = raw_folder, np.zeros((2, LINES, SAMPLES))
    for k, et in enumerate(times):
        cycle, place = divmod(k, CYCLE[scale])
        kind = BACKGROUND if place == 0 else SCIENCE
        sensors = warm(et - scene.pass_.et)
        log = {"BKG_REPETITION": CYCLE[scale], "ACQ_REPETITION": EVERY[scale], **sensor_counts(sensors, known)}
        common = {"orbit": scene.pass_.number, "sequence": place + 1, "samples": CYCLE[scale], "kind": kind}

        seen = look(world.geometry, float(et)) if kind == SCIENCE else None
        raw, radiance, hit = image(world, seen, IMAGE_EXPOSURE, sensors, walk[k], rng)
        last = raw if kind == BACKGROUND else last
        only_m = place == CYCLE[scale] - 1
        sent, image_log = on_board(raw, last, cycle, kind == SCIENCE, only_m, known)
        mode = 21 if only_m else 11
        acquisition = Acquisition(float(et), IMAGE_EXPOSURE, sent, mode, log=log | image_log, **common)
        unit = write_acquisition(root, acquisition, "img", scene.clock)
        if kind == SCIENCE:
            bands = [1] if only_m else [0, 1]
            yield image_truth(unit, float(et), radiance[bands], (hit | world.hot)[bands], bands)

        start = float(parse_utc(format_utc(float(et) + SPECTRUM_DELAY, 3)))
        slit = look_along_slit(world.geometry, start) if kind == SCIENCE else None
        counts, spectra, hit = spectrum(world, slit, SPECTRUM_EXPOSURE, sensors, walk[k], rng)
        acquisition = Acquisition(start, SPECTRUM_EXPOSURE, counts.astype(np.int16), mode, log=log, **common)
        unit = write_acquisition(root, acquisition, "spe", scene.clock)
        if kind == SCIENCE:
            yield spectrum_truth(unit, start, spectra, hit, known)


def truth_tables(et: float) -> Known:
    """Values of the tables that hold at closest approach: table to quantity to array."""
    return values_at("jiram", NAMES, et)


def acquisition_times(span: Span, geometry: Geometry, every: int) -> Array:
    """Once in so many spins, the time at which the imager looks nearest to the planet's centre, as labels print it."""
    out = []
    for first in np.arange(span.start + SPIN, span.stop - SPIN, every * SPIN):
        et = first + np.arange(0.0, SPIN, 0.05)
        nadir = -geometry.position("J2000", et)
        axis = geometry.rotation(FRAMES[1], "J2000", et)[:, :, 2]
        out.append(et[np.argmax((nadir * axis).sum(axis=1))])
    return parse_utc(format_utc(np.array(out), 3))


# Where it looks


def look(geometry: Geometry, et: float) -> list[Surface]:
    """What the pixels of both bands see, (1, line, sample) each."""
    row = (0.5 * (LINES - 1) - np.arange(LINES)) * PITCH
    column = (0.5 * (SAMPLES - 1) - np.arange(SAMPLES)) * PITCH
    x, y = np.meshgrid(row, column, indexing="ij")
    ray = np.stack([x, y, np.full(x.shape, FOCAL_LENGTH)], axis=-1)
    return [surface_points(geometry, [et], ray[None], frame=frame) for frame in FRAMES]


def look_along_slit(geometry: Geometry, et: float) -> Surface:
    """What the pixels of the slit see, (1, slit)."""
    y = (0.5 * (SLIT - 1) - np.arange(SLIT)) * PITCH
    ray = np.stack([np.zeros(SLIT), y, np.full(SLIT, FOCAL_LENGTH)], axis=-1)
    return surface_points(geometry, [et], ray[None], frame="JUNO_JIRAM_S")


def etendue() -> float:
    """Aperture times the solid angle of a pixel, m^2 sr."""
    return float(APERTURE * (PITCH / FOCAL_LENGTH) ** 2)


def glow(world: World, seen: Surface, um: Array) -> Array:
    """Spectral radiance of the planet at places and wavelengths, (..., wavelength); none off the planet."""
    kelvin = world.thermal.temperature(seen.longitude_east, seen.latitude_planetocentric)[0]
    clear = world.thermal.transparency(um) * world.thermal.limb(seen.emission)[0][..., None]
    return np.nan_to_num(planck(um, kelvin[..., None]) * clear)


# Images


def image(
    world: World, seen: list[Surface] | None, exposure: float, sensors: Array, walk: float, rng: Generator
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Counts of an image before anything is done to them, its true radiance, and where radiation hit it."""
    known = world.known
    dark, detector = known["image_dark"], known["image_detector"]
    electrons, radiance = np.zeros((2, LINES, SAMPLES)), np.zeros((2, LINES, SAMPLES))
    open_for = exposure - float(known["exposure"]["read_time"])
    gain = float(detector["gain"])
    for k in range(2):
        if seen is not None:
            photons, radiance[k] = band_photons(world, seen[k], k)
            reference = known["bands"]["reference"][k] * 1e-6
            # What share of the photons frees an electron, from the responsivity for light of one wavelength.
            share = known["image_responsivity"]["rate"][k] * gain * HC / (reference * etendue())
            columns = share * np.tile(known["image_responsivity"]["parity"], SAMPLES // 2)
            electrons[k] = photons * columns * open_for
        glowing = dark["emission"][k] * wien(known["bands"]["centre"][k], sensors[1], float(dark["emission_reference"]))
        glowing += dark["drift"][k] * walk
        electrons[k] += (dark["dark"][k] * doubling(sensors[0], dark) + glowing) * exposure * gain
    level = dark["offset"][:, None, :] + world.pattern
    counts, hit = read_out(electrons, level, gain, float(detector["read_noise"]), rng)
    return np.where(world.hot, WELL, counts), radiance, hit & ~world.hot


def band_photons(world: World, seen: Surface, k: int) -> tuple[Array, Array]:
    """Photons per second that the pixels of a band gather, and radiance within the band, W m^-2 sr^-1."""
    first, last = world.known["bands"]["edges"][k]
    step = (last - first) / 40.0
    um = first + step * (np.arange(40) + 0.5)
    # The glow follows from the temperature alone but for grey factors: tabulated, not computed pixel by pixel.
    kelvin = np.linspace(190.0, 280.0, 181)
    density = planck(um, kelvin[:, None]) * world.thermal.transparency(um) * step
    per_photon = HC / (um * 1e-6)
    here = world.thermal.temperature(seen.longitude_east, seen.latitude_planetocentric)[0]
    grey = world.thermal.limb(seen.emission)[0]
    energy, number = (
        np.exp(np.interp(here, kelvin, np.log(total)))
        for total in (density.sum(axis=1), (density / per_photon).sum(axis=1))
    )
    radiance, photons = np.nan_to_num(energy * grey), np.nan_to_num(number * grey)
    aurora = np.nan_to_num(world.thermal.aurora(seen.longitude_east, seen.latitude_planetocentric)[0])
    for um_line, part in H3_LINES:
        if first < um_line < last:
            radiance += aurora * part
            photons += aurora * part * um_line * 1e-6 / HC
    return photons * etendue(), radiance


def read_out(
    electrons: Array, level: Array, gain: float, noise: float, rng: Generator
) -> tuple[Array, NDArray[np.bool_]]:
    """Counts of the converter: electrons fluctuate, radiation adds its own, the amplifier its noise."""
    number = rng.poisson(electrons).astype(np.float64)
    hit = np.zeros(electrons.shape, bool)
    hit.flat[rng.integers(0, hit.size, rng.poisson(HITS))] = True
    number += np.where(hit, (HIT_LEAST + rng.exponential(HIT_MEAN, hit.shape)) * gain, 0.0)
    number += rng.normal(size=number.shape) * noise
    return np.clip(np.rint(np.minimum(level + number / gain, WELL)), 0, LARGEST), hit


def on_board(
    raw: Array, last: Array, cycle: int, science: bool, only_m: bool, known: Known
) -> tuple[NDArray[np.int16], dict[str, int]]:
    """An image as it is sent, and what the LOG table says of it."""
    subtract, pack = science and cycle % 3 == 2, science and cycle % 2 == 1
    sent = raw - last if subtract else raw
    sent = (sent[1:] if only_m else sent).reshape(-1, SAMPLES)
    log = {"ROW_BACK_SUBTRACTION": int(subtract), "EN_DIS_SUB": 0 if subtract else 1, "COMP_STATUS": int(pack)}
    if pack:
        low, high = sent.min(), sent.max()
        log |= {"MIN_PIXEL_JPEG": int(low) & 0xFFFF, "MAX_PIXEL_JPEG": int(high)}
        sent = unpacked(sent, float(low), float(high), float(known["compression"]["step"]))
    return sent.astype(np.int16), log


def unpacked(counts: Array, low: float, high: float, step: float) -> Array:
    """An image after compression and back: cosine transform of 8 by 8 blocks, coefficients rounded to steps."""
    blocks = ((counts - low) / (high - low) * 4095.0).reshape(counts.shape[0] // 8, 8, SAMPLES // 8, 8)
    coefficients = dctn(blocks, axes=(1, 3), norm="ortho")
    back = idctn(np.rint(coefficients / step) * step, axes=(1, 3), norm="ortho").reshape(counts.shape)
    return np.rint(back / 4095.0 * (high - low) + low)


# Spectra


def spectrum(
    world: World, seen: Surface | None, exposure: float, sensors: Array, walk: float, rng: Generator
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Counts of all pixels of the slit, their true spectral radiance, and where radiation hit."""
    known = world.known
    dark, detector, law = known["spectrum_dark"], known["spectrum_detector"], known["wavelength"]
    um = np.asarray(float(law["first"]) + float(law["step"]) * np.arange(BANDS), np.float64)
    width = float(law["step"])
    gain = float(detector["gain"])
    radiance = np.zeros((SLIT, BANDS))
    if seen is not None:
        radiance = glow(world, seen, um)
        aurora = np.nan_to_num(world.thermal.aurora(seen.longitude_east, seen.latitude_planetocentric)[0])
        for um_line, part in H3_LINES:
            radiance[:, round((um_line - um[0]) / width)] += aurora * part / width
    photons = radiance * width * etendue() * um * 1e-6 / HC
    # Electrons a photon frees, from the responsivity of the channel.
    share = known["spectrum_responsivity"]["rate"] * gain / (width * etendue() * um * 1e-6 / HC)
    electrons = photons * share * (exposure - float(known["exposure"]["read_time"]))
    glowing = np.array([wien(w, sensors[5], float(dark["emission_reference"])) for w in um]) * dark["emission"]
    glowing += dark["drift"] * walk
    electrons += (float(dark["dark"]) * doubling(sensors[0], dark) + glowing) * exposure * gain
    level = np.broadcast_to(dark["offset"][np.arange(BANDS) % 2], electrons.shape)
    counts, hit = read_out(electrons, level, gain, float(detector["read_noise"]), rng)
    return counts, radiance, hit


# The instrument's own state


def warm(since: float) -> Array:
    """Temperatures of the sensors at seconds from closest approach, K: the pass warms the telescope."""
    rise = np.tanh(since / 3000.0)
    return np.array(
        [85.0 + 0.3 * rise, 150.0 + 1.0 * rise, 131.0, 150.0, 84.0, 130.0 + 0.5 * rise, 150.0, 150.0, 150.0]
    )


def sensor_counts(kelvin: Array, known: Known) -> dict[str, int]:
    """Temperatures as the LOG table has them."""
    first, step = known["temperature"]["coefficient"].T
    return dict(zip(TEMPERATURES, np.rint((kelvin - first) / step).astype(int).tolist(), strict=True))


def wien(um: float, kelvin: float, reference: float) -> float:
    """Thermal emission at a temperature relative to that at a reference, as Wien's law has it."""
    quantum = HC / 1.380649e-23 / (um * 1e-6)
    return float(np.exp(-quantum / kelvin) / np.exp(-quantum / reference))


def doubling(kelvin: float, dark: dict[str, Array]) -> float:
    """Dark current at a temperature of the detector relative to that at its reference."""
    return float(np.exp2((kelvin - float(dark["dark_reference"])) / float(dark["dark_doubling"])))


# The truth


def image_truth(unit: str, et: float, radiance: Array, bad: NDArray[np.bool_], bands: list[int]) -> Truth:
    """Truth of one image."""
    data = xr.Dataset(
        {"radiance": (PIXELS, radiance[None])},
        coords={"et": [et], "band": np.array(["LM"[k] for k in bands], object)},
    )
    return Truth("jiram.radiance", unit, data.assign_attrs(injected=float(bad.mean()), et_tolerance=1e-6))


def spectrum_truth(unit: str, et: float, radiance: Array, bad: NDArray[np.bool_], known: Known) -> Truth:
    """Truth of one set of spectra."""
    law = known["wavelength"]
    um = float(law["first"]) + float(law["step"]) * np.arange(BANDS)
    data = xr.Dataset(
        {"spectral_radiance": (SPECTRA, radiance[None]), "wavelength": (("et", "channel"), um[None])},
        coords={"et": [et]},
    )
    return Truth("jiram.spectra", unit, data.assign_attrs(injected=float(bad.mean()), et_tolerance=1e-6))
