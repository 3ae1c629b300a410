"""Where the spacecraft is and looks: from SPICE kernels where they are given, else propagated from the pass's state.

The M-shell of the record coordinates is traced in JRM33 (degree 13) with con2020; the zero of the spin phase is where
the half-plane of +Z and +X holds the north of the ecliptic.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.clock import Span
from pipeline.errors import GeometryError
from pipeline.geometry.attitude import apply
from pipeline.geometry.kernels import describe_kernels, kernel_clock, kernel_files
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
        from the spin's axis, nominal rate and phase. Kernels without attitude at any time leave the attitude to that
        model, flagged as predicted; where they have it for other times, it is missing.

        Fixed frames are those of the kernels, where they hold them. The rotation of Jupiter, its satellites and the
        Sun is always that of pck00010 (and pck00011): it defines System III here.

    Raises
    ------
    GeometryError
        for kernels that cannot be used or do not cover the span.
    """
    attrs = {"pass": pass_.name}
    read, frames = None, {}
    if kernels is None:
        track, pedigree = propagated(pass_, span)
        tracks, predicted = {"JUNO": track}, np.ones(track.edges.size - 1, bool)
        attrs["trajectory"] = f"propagated with J2 to J10 from the state at closest approach ({pedigree})"
    else:
        # Spares whoever has no kernels the time to load SPICE.
        from pipeline.geometry.spice import read_attitude, read_frames, read_tracks

        files = kernel_files(kernels)
        tracks, predicted = read_tracks(files, span)
        read = read_attitude(files, span)
        frames = read_frames(files)
        attrs["trajectory"] = "SPICE kernels"
        if frames:
            attrs["frames"] = f"other than in juno_v12.tf: {', '.join(frames)}"
        attrs["kernels"] = "\n".join(p.name for p in files)
    tabulated = [body for body in ("SUN", "SSB", "EARTH") if body not in tracks]
    tracks |= {body: tabulated_track(body, span) for body in tabulated}
    if tabulated:
        attrs["tabulated"] = f"{', '.join(tabulated)}: from the barycentre of Jupiter's system, within 250 km"
    if read is None:
        axis, text = _nominal_axis(pass_, span, tracks)
        attitude = spinning(axis, pass_.et, span)
        read = attitude, np.ones(attitude.et.size - 1, bool)
        attrs["attitude"] = f"model (placeholder): {text}; 2 rpm; phase not known"
    else:
        attrs["attitude"] = "SPICE kernels"
    grid = _shell_grid(pass_, span)
    shells = m_shell(apply(iau_jupiter(grid), tracks["JUNO"].position(grid)))
    return Geometry(span, pass_.et, tracks, read[0], grid, shells, predicted, read[1], frames, attrs)


def _nominal_axis(pass_: Pass, span: Span, tracks: dict[str, Track]) -> tuple[NDArray[np.float64], str]:
    """Spin axis at the time of the span nearest to closest approach at which the kernels have Juno."""
    times = np.linspace(span.start, span.stop, 1001)
    times = np.append(times, min(max(pass_.et, span.start), span.stop))
    known = times[np.isfinite(tracks["JUNO"].position(times)[:, 0])]
    if known.size == 0:
        raise GeometryError("the kernels have Juno for less than a thousandth of the span")
    et = float(known[np.argmin(np.abs(known - pass_.et))])
    state = _state(tracks["JUNO"], et)
    return spin_axis(pass_, _state(tracks["EARTH"], et)[:3] - state[:3], state)


def _state(track: Track, et: float) -> NDArray[np.float64]:
    times = np.array([et])
    return np.concatenate([track.position(times)[0], track.velocity(times)[0]])


def _shell_grid(pass_: Pass, span: Span) -> NDArray[np.float64]:
    """Whole multiples of the steps in et that lie in the span, and its ends."""
    coarse, fine = (np.arange(np.ceil(span.start / s), np.floor(span.stop / s) + 1) * s for s in (COARSE, FINE))
    near = fine[np.abs(fine - pass_.et) < NEAR]
    return np.unique(np.concatenate([[span.start], coarse, near, [span.stop]]))
