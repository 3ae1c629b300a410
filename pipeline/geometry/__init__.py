"""Where the spacecraft is and looks: from SPICE kernels where they are given, else propagated from the pass's state.

The M-shell of the record coordinates is traced in JRM33 (degree 13) with con2020; the zero of the spin phase is where
+X lies in the half-plane of +Z and Jupiter's north pole.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.clock import Span
from pipeline.dataset.quality import Quality
from pipeline.geometry.kernels import (
    describe_kernels,
    kernel_clock,
    kernel_files,
    predicted_files,
    read_attitude,
    read_tracks,
)
from pipeline.geometry.model import Geometry
from pipeline.geometry.propagate import propagated, spin_axis, spinning, tabulated_track
from pipeline.geometry.track import Track
from pipeline.jupiter import m_shell
from pipeline.jupiter.rotation import iau_jupiter
from pipeline.passes import Pass

__all__ = ["Geometry", "describe_kernels", "kernel_clock", "kernel_files", "make_geometry"]

# Grid of the M-shell in seconds: near closest approach, and elsewhere.
NEAR, FINE, COARSE = 3 * 3600.0, 20.0, 300.0


def make_geometry(pass_: Pass, span: Span, kernels: Path | None) -> Geometry:
    """Geometry of a pass over a span.

    Parameters
    ----------
    kernels : folder of kernels or meta-kernel; None: trajectory propagated from the state at closest approach, attitude
        from the spin's axis, nominal rate and phase. Kernels without any attitude leave the attitude to that model,
        flagged as predicted.

    Raises
    ------
    GeometryError
        for kernels that cannot be used or do not cover the span.
    """
    attrs = {"pass": pass_.name}
    attitude = None
    predicted = 0
    if kernels is None:
        track, pedigree = propagated(pass_, span)
        tracks = {"JUNO": track}
        attrs["trajectory"] = f"propagated with J2 to J10 from the state at closest approach ({pedigree})"
        predicted = int(Quality.GEOMETRY_PREDICTED)
    else:
        files = kernel_files(kernels)
        tracks = read_tracks(files, span)
        attitude = read_attitude(files, span)
        attrs["trajectory"] = "SPICE kernels"
        attrs["kernels"] = "\n".join(p.name for p in files)
        if predicted_files(files):
            predicted = int(Quality.GEOMETRY_PREDICTED)
    for body in ("SUN", "EARTH"):
        tracks.setdefault(body, tabulated_track(body, span))
    attrs["attitude"] = "SPICE kernels"
    if attitude is None:
        et = min(max(pass_.et, span.start), span.stop)
        state = _state(tracks["JUNO"], et)
        axis, why = spin_axis(pass_, _state(tracks["EARTH"], et)[:3] - state[:3], state)
        attitude = spinning(axis, pass_.et, span)
        attrs["attitude"] = f"model (placeholder): {why}; 2 rpm; phase not known"
        predicted = int(Quality.GEOMETRY_PREDICTED)
    grid = _shell_grid(pass_, span)
    position = np.einsum("nij,nj->ni", iau_jupiter(grid), tracks["JUNO"].position(grid))
    return Geometry(span, pass_.et, tracks, attitude, grid, m_shell(position), predicted, attrs)


def _state(track: Track, et: float) -> NDArray[np.float64]:
    times = np.array([et])
    return np.concatenate([track.position(times)[0], track.velocity(times)[0]])


def _shell_grid(pass_: Pass, span: Span) -> NDArray[np.float64]:
    """Whole multiples of the steps in et that lie in the span, and its ends."""
    coarse, fine = (np.arange(np.ceil(span.start / s), np.floor(span.stop / s) + 1) * s for s in (COARSE, FINE))
    near = fine[np.abs(fine - pass_.et) < NEAR]
    return np.unique(np.concatenate([[span.start], coarse, near, [span.stop]]))
