"""Figures of a pass: dynamic spectra of both fields, bursts, and the differences from the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.waves.layout import BURSTS
from pipeline.dataset.quality import Quality, raised
from pipeline.figures import BLACK, BLUE, GREEN, ORANGE, blank, few_ticks
from pipeline.jupiter import con2020, jrm33
from pipeline.jupiter.shape import EQUATORIAL_RADIUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

COLUMNS = 700  # of a dynamic spectrum
LABELS = {"e": "E  (V$^2$ m$^{-2}$ Hz$^{-1}$)", "b": "B  (nT$^2$ Hz$^{-1}$)"}
GYRO = 27.99249  # electron gyrofrequency, Hz/nT


def spectra(survey: xr.Dataset) -> Figure:
    """Dynamic spectra of the electric and the magnetic field, with the electron gyrofrequency of the field models."""
    letters = [x for x in "eb" if np.isfinite(survey[f"psd_{x}"].values).any()] or ["e"]
    figure = blank(2.4 + 2.8 * len(letters))
    ratios = [{"e": 2.0, "b": 1.0}[x] for x in letters]
    axes = np.atleast_1d(figure.subplots(len(letters), 1, sharex=True, height_ratios=ratios))
    time, line = _gyrofrequency(survey)
    for axis, letter in zip(axes, letters, strict=True):
        _dynamic(figure, axis, survey, letter, LABELS[letter])
        limits = axis.get_ylim()
        axis.plot(time, line, color="white", lw=1.6)
        axis.plot(time, line, color=BLACK, lw=0.8, ls="--", label="$f_{ce}$, JRM33 + con2020")
        axis.set_ylim(*limits)
        if np.any((line > limits[0]) & (line < limits[1])):
            axis.legend(loc="upper right", fontsize=8)
    _along(axes[-1], survey)
    return figure


def bursts(*captured: xr.Dataset | None) -> Figure:
    """The capture in the middle of each kind of burst: waveform and spectrum."""
    waveforms, spectrums = captured[: len(BURSTS)], captured[len(BURSTS) :]
    there = [k for k, w in enumerate(waveforms) if w is not None and w.sizes["et"]]
    figure = blank(0.6 + 2.2 * max(len(there), 1))
    axes = np.atleast_2d(figure.subplots(max(len(there), 1), 2, width_ratios=(1.5, 1.0)))
    for row, k in zip(axes, there, strict=False):
        waveform, spectrum = waveforms[k], spectrums[k]
        assert waveform is not None
        at = waveform.sizes["et"] // 2
        _waveform(row[0], waveform, at)
        if spectrum is not None and spectrum.sizes["et"]:
            _spectrum(row[1], spectrum, at)
        row[0].set_title(
            f"{BURSTS[k].name.replace('_', ' ')}, {str(waveform['time'].values[at])[:23]}", fontsize=9, loc="left"
        )
    if not there:
        figure.text(0.5, 0.5, "no burst", ha="center")
    return figure


def differences(table: xr.Dataset) -> Figure:
    """Survey less the archive's, channel by channel."""
    figure = blank(3.2)
    axis = figure.subplots()
    frequency = table["frequency_e"].values
    for name, colour, mark in (("difference", BLUE, "o"), ("largest", ORANGE, "v")):
        axis.plot(frequency, 100.0 * np.abs(table[name].values), mark, color=colour, ms=3.5, label=name)
    axis.set(xscale="log", yscale="log", xlabel="frequency  (Hz)", ylabel="survey less archive's,\nmagnitude  (%)")
    axis.grid(True, color="#e5e5e5", lw=0.5)
    matched, unseen = int(table["matched"].values.max(initial=0)), int(table["unseen"].values.sum())
    axis.set_title(f"{matched} spectra, {unseen} unseen codes", loc="right", fontsize=9)
    axis.legend(frameon=False)
    return figure


def _dynamic(figure: Figure, axis: Axes, survey: xr.Dataset, letter: str, label: str) -> None:
    """Logarithm of the density over time and frequency: means over records in equal steps of time."""
    from matplotlib.colors import LogNorm

    psd, et = survey[f"psd_{letter}"].values, survey["et"].values
    good = ~raised(survey[f"quality_{letter}"].values, Quality.MISSING | Quality.SUSPECT) & (psd > 0)
    edges = np.linspace(et[0] - 0.5, et[-1] + 0.5, min(COLUMNS, max(et.size, 1)) + 1)
    place = np.clip(np.searchsorted(edges, et, side="right") - 1, 0, edges.size - 2)
    total, number = (np.zeros((edges.size - 1, psd.shape[1])) for _ in range(2))
    np.add.at(total, place, np.where(good, psd, 0.0))
    np.add.at(number, place, good)
    mean = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    seconds = (edges - et[0]) * 1e9
    time = survey["time"].values[0] + seconds.astype("timedelta64[ns]")
    centre, width = survey[f"frequency_{letter}"].values, survey[f"bandwidth_{letter}"].values
    shown = np.isfinite(mean).any(axis=0)
    if shown.any():
        low, high = np.nanpercentile(mean, [2.0, 99.7])
        norm = LogNorm(low, max(high, 10.0 * low))
        for block in np.split(np.arange(centre.size), _ends(survey, letter)):
            bounds = np.append(centre[block] - width[block] / 2.0, centre[block][-1] + width[block][-1] / 2.0)
            image = axis.pcolormesh(time, bounds, mean[:, block].T, norm=norm, cmap="viridis", rasterized=True)
        figure.colorbar(image, ax=axis, label=label, pad=0.01)
        span = centre[shown][[0, -1]] + width[shown][[0, -1]] * (-0.4, 0.5)
        axis.set_ylim(*span)
    axis.set(yscale="log", ylabel="frequency  (Hz)")


def _ends(survey: xr.Dataset, letter: str) -> NDArray[np.intp]:
    """Where the next receiver begins among the channels."""
    return np.flatnonzero(np.diff(survey["receiver"].values)) + 1 if letter == "e" else np.zeros(0, np.intp)


def _gyrofrequency(survey: xr.Dataset) -> tuple[NDArray[np.datetime64], Array]:
    """Electron gyrofrequency along the track, by the field models."""
    some = np.unique(np.linspace(0, survey.sizes["et"] - 1, 200).astype(int))
    part = survey.isel(et=some)
    east, north = np.radians(part["longitude_iii_east"].values), np.radians(part["latitude_planetocentric"].values)
    out = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
    position = out.astype(np.float64) * part["radial_distance"].values[:, None]
    field = jrm33(position) + con2020(position)
    return part["time"].values, GYRO * np.linalg.norm(field, axis=1)


def _waveform(axis: Axes, waveform: xr.Dataset, at: int) -> None:
    value = waveform["waveform"].isel(et=at).values.astype(float)
    bits = waveform["quality"].isel(et=at).values
    milliseconds = 1e3 * waveform["sample_time"].values
    inner = ~raised(bits, Quality.EDGE | Quality.MISSING)
    unit = waveform["waveform"].attrs["units"]
    scale, name = (1e3, "mV/m") if unit == "V m-1" else (1.0, "nT")
    axis.plot(milliseconds, scale * value, color="#c0c0c0", lw=0.5)
    axis.plot(milliseconds, scale * np.where(inner, value, np.nan), color=BLUE, lw=0.5)
    axis.set(xlabel="ms", ylabel=name)


def _spectrum(axis: Axes, spectrum: xr.Dataset, at: int) -> None:
    at = min(at, spectrum.sizes["et"] - 1)
    frequency = spectrum["frequency"].values
    axis.loglog(frequency, spectrum["psd"].isel(et=at).values, color=BLACK, lw=0.8, label="burst")
    axis.loglog(frequency, spectrum["psd_noise"].isel(et=at).values, color=GREEN, lw=0.8, label="receiver noise")
    axis.set(xlabel="Hz", ylabel=LABELS["e" if "V" in spectrum["psd"].attrs["units"] else "b"])
    few_ticks(axis.yaxis)
    axis.legend(frameon=False, fontsize=7)


def _along(axis: Axes, dataset: xr.Dataset) -> None:
    """Time ticks that also say where the spacecraft was."""
    time = dataset["time"].values
    some = np.unique(np.linspace(0, time.size - 1, 15).astype(int)[1::2])
    part = dataset.isel(et=some)
    labels = [
        f"{str(t)[11:19]}\n{r / EQUATORIAL_RADIUS:.2f}\n{lat:.0f}"
        for t, r, lat in zip(
            part["time"].values, part["radial_distance"].values, part["latitude_planetocentric"].values, strict=True
        )
    ]
    axis.set_xticks(part["time"].values, labels, fontsize=8)
    day = str(time[time.size // 2])[:10]
    axis.annotate(
        f"UTC {day}\nradius ($R_J$)\nlatitude (°)", (0, 0), (-8, -4), xycoords="axes fraction",
        textcoords="offset points", ha="right", va="top", fontsize=8,
    )  # fmt: skip
