"""What the products of a simulated pass should say: the expected values of `simulate`, in the products' layout.

Used by the simulator alone.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.uvs.forward import PHOTONS_PER_KR, Optics, area_at
from instruments.uvs.layout import (
    CELL,
    COLUMNS,
    LATITUDES,
    LONGITUDES,
    ROWS,
    SLIT_BINS,
    TARGETS,
    WAVELENGTH_EDGES,
    WAVELENGTHS,
    Array,
    row_edges,
    seen,
)

Expected = dict[str, Array]
# Bands of the map that are known, nm, the swath's, and the steepest angle of emission of the map.
BANDS = ((119.0, 124.0), (125.0, 165.0), (123.0, 130.0), (155.0, 162.0))
SWATH_BAND, STEEPEST = (125.0, 165.0), 80.0


def of_photons(files: list[xr.Dataset]) -> xr.Dataset:
    """Truth of uvs.photons: all events that are in the files."""
    told = xr.concat(files, "photon")
    photon = np.isfinite(told["wavelength"].values)
    unusable = photon & ~told["usable"].values
    injected = float(unusable.sum() / max(1, photon.sum()))
    return told.drop_vars("usable").assign_attrs(injected=injected, et_tolerance=1e-4)


def of_rates(expected: list[Expected], optics: Optics) -> xr.Dataset:
    """Truth of uvs.rates: means over seconds, of what good frames saw."""
    parts = []
    dark = dark_share(optics)
    for e in expected:
        second, of = np.unique(np.floor(e["et"]).astype(np.int64), return_inverse=True)
        exposure, arriving, rays, radiation = (
            np.bincount(of, e[n]) for n in ("exposure", "arriving", "rays", "radiation")
        )
        there = exposure > 0
        time = np.where(there, exposure, np.nan)
        data = {
            "rate": arriving / time,
            "radiation": radiation / time,
            "radiation_expected": rays * dark,
            "exposure": exposure,
        }
        parts.append(xr.Dataset({n: ("et", v) for n, v in data.items()}, coords={"et": second + 0.5}).isel(et=there))
    truth = xr.concat(parts, "et")
    short = truth["exposure"].values < 0.5
    return truth.drop_vars("exposure").assign_attrs(injected=float(short.mean()))


def dark_share(optics: Optics) -> float:
    """Share of the radiation in the part of the detector that no light reaches, stim pixels' boxes left out."""
    table, slope = optics.known["detector"], optics.known["radiation"]["slope"]
    u = (2.0 * np.arange(COLUMNS) + 1.0 - COLUMNS) / COLUMNS
    v = (2.0 * np.arange(ROWS)[:, None] + 1.0 - ROWS) / ROWS
    density = (1.0 + slope[0] * u) * (1.0 + slope[1] * v) / (COLUMNS * ROWS)
    place = np.arange(COLUMNS), np.arange(ROWS)[:, None]
    lit = np.ones(density.shape)
    for at, ends in zip(place, (table["dark_columns"], table["dark_rows"]), strict=True):
        # A pixel that an end cuts is lit in part.
        lit = lit * (np.clip(at + 0.5, *ends) - np.clip(at - 0.5, *ends))
    for x, y in zip(table["stim_column"], table["stim_row"], strict=True):
        inside = (np.abs(place[0] - x) <= table["stim_box"][0]) & (np.abs(place[1] - y) <= table["stim_box"][1])
        lit = np.maximum(lit, inside)
    return float((density * (1.0 - lit)).sum())


def lit_share(optics: Optics) -> Array:
    """Share of the radiation in each bin along the slit and of wavelength (SLIT_BINS, bins), by fine integration."""
    law, slope = optics.known["wavelength"], optics.known["radiation"]["slope"]
    edges = row_edges(optics.known["detector"]["section_first"], optics.known["detector"]["section_last"])
    out = np.zeros((SLIT_BINS, len(WAVELENGTHS)))
    for b in range(SLIT_BINS):
        for y in np.linspace(edges[b], edges[b + 1], 9)[:-1] + (edges[b + 1] - edges[b]) / 16:
            x = (
                law["column"]
                + (WAVELENGTH_EDGES - law["origin"] - law["curvature"] * (y - law["row"]) ** 2) / law["dispersion"]
            )
            u, v = (2.0 * x + 1.0 - COLUMNS) / COLUMNS, (2.0 * y + 1.0 - ROWS) / ROWS
            along = COLUMNS / 2.0 * (u + slope[0] * u**2 / 2.0)
            out[b] += np.diff(along) * (1.0 + slope[1] * v) * (edges[b + 1] - edges[b]) / 8.0 / (COLUMNS * ROWS)
    return out


def solid_angle(optics: Optics) -> Array:
    """Of the bins along the slit, times their response, sr."""
    return np.asarray(optics.gather.reshape(SLIT_BINS, -1).sum(axis=1))


def of_spectra(expected: list[Expected], optics: Optics) -> xr.Dataset:
    """Truth of uvs.spectra: expected photons of each spin and target over area, solid angle and live time."""
    rays_share, solid = lit_share(optics), solid_angle(optics)
    out: dict[str, list[Array]] = {n: [] for n in ("et", "radiance", "counts")}
    for e in expected:
        area = area_at(WAVELENGTHS, optics.known, float(e["et"].mean()))
        hit = np.isfinite(e["emission"])
        target = seen(hit, np.ones(hit.shape, bool))
        turns = np.floor(np.unwrap(e["phase"], period=360.0) / 360.0)
        for turn in np.unique(turns):
            mine = turns == turn
            if not e["exposure"][mine].sum() > 0:
                continue
            out["et"].append(np.asarray(e["et"][mine].mean()))
            both = []
            for k in range(len(TARGETS)):
                inside = (target[mine] == k).astype(float)
                counts = np.einsum("tsbc,tb->sc", e["counts"][mine], inside)
                photons = np.einsum("sc,scw->w", counts, optics.seen / optics.detected[:, None])
                live = (inside * e["open"][mine, None]).sum(axis=0) @ solid
                rays = (inside * e["rays"][mine, None]).sum(axis=0) @ rays_share
                value = photons / (area * live * PHOTONS_PER_KR) if live > 0 else np.full(len(area), np.nan)
                both.append((value, photons + rays if live > 0 else value))
            out["radiance"].append(np.stack([v for v, _ in both]))
            out["counts"].append(np.stack([n for _, n in both]))
    dims = ("et", "target", "wavelength")
    counts = np.stack(out["counts"])
    values = {"radiance": np.stack(out["radiance"]), "counts": counts, "counts_expected": counts}
    return xr.Dataset(
        {n: (dims, v) for n, v in values.items()}, coords={"et": np.stack(out["et"]), "wavelength": WAVELENGTHS}
    ).assign_attrs(et_tolerance=0.1)


def _ground(e: Expected) -> NDArray[np.bool_]:
    """Steps and bins that look at Jupiter while a good frame is taken."""
    return np.asarray(np.isfinite(e["emission"]) & (e["exposure"] > 0)[:, None])


def in_band(optics: Optics, low: float, high: float) -> Array:
    """Share of detected photons of each component read in a band, by section (3, 4)."""
    band = (low < WAVELENGTHS) & (high > WAVELENGTHS)
    return np.asarray(optics.seen[:, :, band].sum(axis=2) / optics.detected)


def of_swath(expected: list[Expected], optics: Optics) -> xr.Dataset:
    """Truth of uvs.swath."""
    share = in_band(optics, *SWATH_BAND)
    band = (SWATH_BAND[0] < WAVELENGTHS) & (SWATH_BAND[1] > WAVELENGTHS)
    rays_share = lit_share(optics)[:, band].sum(axis=1)
    parts = []
    for e in expected:
        step, bin_ = np.nonzero(_ground(e))
        photons = np.einsum("tsbc,sc->tb", e["counts"], share)[step, bin_]
        data = {
            "count_rate": photons / e["open"][step],
            "count_rate_expected": photons + e["rays"][step] * rays_share[bin_],
            "slit_bin": bin_.astype(np.int8),
        }
        parts.append(xr.Dataset({n: ("pixel", v) for n, v in data.items()}, coords={"et": ("pixel", e["et"][step])}))
    return xr.concat(parts, "pixel")


def of_map(expected: list[Expected], optics: Optics) -> xr.Dataset:
    """Truth of uvs.map: what the pixels of a cell saw, weighted with solid angle and live time."""
    cells = (len(LATITUDES), len(LONGITUDES))
    photons, live = np.zeros((len(BANDS), *cells)), np.zeros(cells)
    solid = solid_angle(optics)
    for e in expected:
        area = area_at(WAVELENGTHS, optics.known, float(e["et"].mean()))
        step, bin_ = np.nonzero(_ground(e) & (np.nan_to_num(e["emission"], nan=180.0) <= STEEPEST))
        row = np.floor((e["latitude"][step, bin_] + 90.0) / CELL).astype(int)
        column = np.floor(e["longitude"][step, bin_] / CELL).astype(int) % cells[1]
        for k, (low, high) in enumerate(BANDS):
            band = (low < WAVELENGTHS) & (high > WAVELENGTHS)
            per = (optics.seen[:, :, band] / area[band]).sum(axis=2) / optics.detected
            np.add.at(photons[k], (row, column), np.einsum("tsbc,sc->tb", e["counts"], per)[step, bin_])
        np.add.at(live, (row, column), e["open"][step] * solid[bin_])
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(live > 0, photons / (live * PHOTONS_PER_KR), np.nan)
    return xr.Dataset(
        {"brightness": (("band", "latitude", "longitude"), value)},
        coords={"latitude": LATITUDES, "longitude": LONGITUDES},
    )
