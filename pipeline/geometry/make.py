"""The geometry of a pass, from kernels or from the state at closest approach."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clock import Span
from pipeline.errors import GeometryError
from pipeline.geometry import digest, ephemeris
from pipeline.geometry.frames import SPACECRAFT, resolve, tabulated
from pipeline.geometry.model import Geometry
from pipeline.geometry.propagate import nominal_attitude, propagate, state_of
from pipeline.geometry.track import Track
from pipeline.jupiter.rotation import orientations
from pipeline.passes import Pass

Floats = NDArray[np.float64]

# Spans are rounded outward to whole steps in et, so that more data inside change nothing.
STEP = 3600.0
# Lengths of the intervals of Juno's track and of the others' in seconds, and degrees: the interpolation is exact to
# 1e-9 km (the rounding of the kernels themselves).
JUNO_INTERVAL, JUNO_DEGREE = 300.0, 11
BODY_INTERVAL, BODY_DEGREE = 3600.0, 7
# Field lines are traced every so often (s) within three hours of closest approach, and farther out.
SHELL_STEPS, SHELL_NEAR = (30.0, 300.0), 3 * 3600.0


def rounded(span: Span) -> Span:
    """A span made wider to whole steps."""
    return Span(STEP * np.floor(span.start / STEP), STEP * np.ceil(span.stop / STEP))


def make_geometry(pass_: Pass, span: Span, kernels: Path | None = None) -> Geometry:
    """Geometry of a pass over a span.

    Parameters
    ----------
    span : rounded outward to whole hours of et.
    kernels : SPICE kernels, a folder or a meta-kernel. None: the trajectory is propagated from closest approach and the
        attitude nominal, all flagged ``GEOMETRY_PREDICTED``.

    Raises
    ------
    GeometryError
        if the kernels cannot be used or cover nothing of the span, or the packaged ephemeris does not reach it.
    """
    whole = rounded(span)
    if kernels is not None:
        from pipeline.geometry.spice import from_kernels

        bare = from_kernels(pass_, whole, kernels)
    else:
        bare = _propagated(pass_, whole)
    traced = replace(bare, shells=_shells(bare))
    return replace(traced, digests=digest.block_digests(traced))


def grid(span: Span, step: float) -> Floats:
    """Whole multiples of a step that cover the span."""
    return step * np.arange(np.floor(span.start / step), np.ceil(span.stop / step) + 1)


def _propagated(pass_: Pass, span: Span) -> Geometry:
    state = state_of(pass_)
    juno = Track.fit(propagate(state, span), grid(span, JUNO_INTERVAL), JUNO_DEGREE)
    tracks = {"JUNO": juno}
    for body in ("SUN", "SSB", "EARTH"):
        tracks[body] = Track.fit(lambda t, b=body: ephemeris.position(b, t), grid(span, BODY_INTERVAL), BODY_DEGREE)
    if not np.isfinite(tracks["SUN"].coefficients).all():
        raise GeometryError(f"{pass_.name}: the packaged ephemeris of the Sun reaches from 2016-06 to 2026-01 only")
    attitude, text = nominal_attitude(pass_, state, span)
    info = {
        "source": "propagated from closest approach, without kernels",
        "trajectory": f"{state.source} ({state.pedigree}), propagated with J2 to J10",
        "pedigree": state.pedigree,
        "attitude": text,
        "bodies": f"Sun, Earth: {ephemeris.ACCURACY}; satellites: missing",
        "kernels": json.dumps({}),
    }
    return assemble(
        pass_,
        span,
        tracks=tracks,
        position_predicted=np.ones(juno.edges.size - 1, bool),
        attitudes={SPACECRAFT: attitude},
        attitude_predicted=np.ones(attitude.et.size - 1, bool),
        frames=resolve(tabulated(), [SPACECRAFT, "IAU_JUPITER"]),
        orientations=orientations(),
        info=info,
    )


def assemble(pass_: Pass, span: Span, *, info: dict[str, str], **parts: Any) -> Geometry:
    """A geometry without M-shells and digests yet."""
    text = {
        "pass": pass_.name,
        "shells": "M-shell: see pipeline.jupiter.m_shell",
        "constants": digest.constants(parts["frames"], parts["orientations"]),
    }
    empty = np.zeros((0, digest.BYTES), np.uint8)
    return Geometry(
        span=span, closest_approach=pass_.et, shells=np.zeros((2, 0)), digests=empty, info=info | text, **parts
    )


def _shells(geometry: Geometry) -> Floats:
    """Times and M-shells there, (2, n)."""
    from pipeline.jupiter import m_shell

    near, far = SHELL_STEPS
    coarse, fine = grid(geometry.span, far), grid(geometry.span, near)
    fine = fine[np.abs(fine - geometry.closest_approach) <= SHELL_NEAR]
    times = np.union1d(coarse, fine)
    times = times[(times >= geometry.span.start) & (times <= geometry.span.stop)]
    position = geometry.position("IAU_JUPITER", times)
    shells = np.full(times.shape, np.nan)
    known = np.isfinite(position[:, 0])
    if known.any():
        shells[known] = m_shell(position[known])
    return np.stack([times, shells])
