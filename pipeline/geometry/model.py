"""The geometry of a pass: where Juno is, where it looks, and how both are known; arrays only.

Positions are Chebyshev polynomials (`Track`), the attitude is orientations with constant rates between them
(`Attitude`), the rotation of Jupiter and the fixed frames of the spacecraft are package data. Nothing here calls
SPICE, so it may be used in any process and thread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pipeline.clock import Span
from pipeline.dataset.quality import Quality
from pipeline.errors import GeometryError, nearest
from pipeline.geometry.attitude import Attitude, apply, compose
from pipeline.geometry.frames import (
    DYNAMIC,
    OBLIQUITY,
    SPACECRAFT,
    FixedFrame,
    axis_rotation,
    resolve,
    tabulated,
    two_vector,
)
from pipeline.geometry.propagate import ECLIPTIC_NORTH
from pipeline.geometry.track import Track
from pipeline.jupiter.rotation import orientations

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BODIES = ("JUNO", "SUN", "SSB", "EARTH", "IO", "EUROPA", "GANYMEDE", "CALLISTO")
CENTER = "JUPITER"
# Grids in seconds of et, and digits, on which values are hashed: 1 mm and 2e-4 arcsec. The attitude's is as fine as the
# instants of C-kernels.
HASH_STEP, HASH_INSTANT = 10.0, 1.0
HASH_KM, HASH_UNIT = 6, 9


@dataclass(frozen=True, eq=False)
class Geometry:
    """Positions and attitude over a span of time.

    Parameters
    ----------
    span : times that are covered, gaps aside.
    closest_approach : et.
    tracks : of `BODIES` relative to the centre of Jupiter; those that are not known are left out.
    attitude : of JUNO_SPACECRAFT.
    shell_et, shell : grid of the M-shell of Juno: JRM33 of degree 13 with con2020, see `pipeline.jupiter.m_shell`.
    position_predicted : whether an interval of Juno's track is predicted or propagated (m).
    attitude_predicted : the same between instants of the attitude (n - 1).
    own_frames : fixed frames that kernels define otherwise than the package does.
    attrs : what it was made from, for a reader.
    """

    span: Span
    closest_approach: float
    tracks: Mapping[str, Track]
    attitude: Attitude
    shell_et: Floats
    shell: Floats
    position_predicted: Bools
    attitude_predicted: Bools
    own_frames: Mapping[str, FixedFrame] = field(default_factory=dict)
    attrs: Mapping[str, str] = field(default_factory=dict)

    # Frames

    @cached_property
    def _fixed(self) -> dict[str, tuple[str, Floats]]:
        return resolve({**tabulated(), **self.own_frames}, (SPACECRAFT, "IAU_JUPITER"))

    @property
    def frames(self) -> list[str]:
        """Names of all frames, sorted."""
        bodies = [f"IAU_{name}" for name in orientations()]
        return sorted({"J2000", "ECLIPJ2000", SPACECRAFT, *bodies, *DYNAMIC, *self._fixed})

    def rotation(self, source: str, target: str, et: ArrayLike) -> Floats:
        """Rotation v_target = M v_source at times, (n, 3, 3); NaN where it is not known.

        Raises
        ------
        GeometryError
            for a frame that is not known.
        """
        times = np.atleast_1d(np.asarray(et, np.float64))
        (from_root, first), (to_root, second) = self._root(source), self._root(target)
        if from_root == to_root:
            return np.broadcast_to(_product(second, first.T), (times.size, 3, 3)).copy()
        before = self._from_j2000(from_root, first, times)
        after = self._from_j2000(to_root, second, times)
        if before is None:
            assert after is not None  # the roots differ
            return after
        back = np.swapaxes(before, -1, -2)
        return back if after is None else compose(after, back)

    def _root(self, frame: str) -> tuple[str, Floats]:
        """What a frame is fixed to, and the rotation from there."""
        if frame in self._fixed:
            return self._fixed[frame]
        if frame == "ECLIPJ2000":
            return "J2000", axis_rotation(1, OBLIQUITY)
        if frame in ("J2000", SPACECRAFT, *DYNAMIC) or (frame.startswith("IAU_") and frame[4:] in orientations()):
            return frame, np.eye(3)
        raise GeometryError(f"no frame {frame!r}; {nearest(frame, self.frames)}")

    def _from_j2000(self, root: str, fixed: Floats, et: Floats) -> Floats | None:
        """Rotations from J2000 to a frame fixed to a root, (n, 3, 3); None for J2000 itself."""
        still = np.array_equal(fixed, np.eye(3))
        if root == "J2000":
            return None if still else np.broadcast_to(fixed, (et.size, 3, 3))
        if root == SPACECRAFT:
            turned = self.attitude.matrix(et)
        elif root in DYNAMIC:
            turned = self._dynamic(root, et)
        else:
            turned = orientations()[root[4:]].matrix(et)
        return turned if still else compose(fixed[None], turned)

    def _dynamic(self, frame: str, et: Floats) -> Floats:
        """Two-vector frames of juno_v12.tf (class 5)."""
        sun = self.position("J2000", et, target="SUN")
        if frame == "JUNO_JSS":
            return two_vector(orientations()["JUPITER"].pole(et), 2, sun, 0)
        if frame == "JUNO_JSO":
            return two_vector(sun, 0, self.velocity("J2000", et, target="SUN"), 1)
        pole = orientations()["SUN"].pole(et)
        if frame == "JUNO_JH":
            return two_vector(sun, 0, pole, 2)
        return two_vector(self.position("J2000", et, target="JUNO", observer="SUN"), 0, pole, 2)

    # Positions

    def position(self, frame: str, et: ArrayLike, target: str = "JUNO", observer: str = CENTER) -> Floats:
        """Geometric position of one body from another, km (n, 3), along the axes of a frame; NaN where not known."""
        return self._vector("position", frame, et, target, observer)

    def velocity(self, frame: str, et: ArrayLike, target: str = "JUNO", observer: str = CENTER) -> Floats:
        """Inertial velocity (in J2000) of one body relative to another, km/s (n, 3), along the axes of a frame."""
        return self._vector("velocity", frame, et, target, observer)

    def _vector(self, what: str, frame: str, et: ArrayLike, target: str, observer: str) -> Floats:
        times = np.atleast_1d(np.asarray(et, np.float64))
        vector = self._relative(what, target, times) - self._relative(what, observer, times)
        return vector if frame == "J2000" else apply(self.rotation("J2000", frame, times), vector)

    def _relative(self, what: str, body: str, et: Floats) -> Floats:
        if body == CENTER:
            return np.zeros((et.size, 3))
        if body in self.tracks:
            return np.asarray(getattr(self.tracks[body], what)(et))
        if body in BODIES:
            return np.full((et.size, 3), np.nan)
        raise GeometryError(f"no body {body!r}; {nearest(body, [CENTER, *BODIES])}")

    def m_shell(self, et: ArrayLike) -> Floats:
        """M-shell of Juno in radii of Jupiter (n), linear between the grid's times; NaN where no line closes."""
        times = np.atleast_1d(np.asarray(et, np.float64))
        if self.shell_et.size == 0:
            return np.full(times.shape, np.nan)
        return np.interp(times, self.shell_et, self.shell, left=np.nan, right=np.nan)

    def spin_phase(self, et: ArrayLike) -> Floats:
        """Degrees (n), 0 to 360, by which +X has turned about +Z, right-handed, from the north of the ecliptic.

        Zero where the half-plane of +Z and +X holds the north of ECLIPJ2000, as JADE's despun azimuth has it (JADE
        software interface specification).
        """
        matrix = self.attitude.matrix(np.atleast_1d(np.asarray(et, np.float64)))
        # The components of the direction along +X and +Y, in the spacecraft's frame.
        north = apply(matrix, np.broadcast_to(ECLIPTIC_NORTH, matrix.shape[:-1]))
        return np.degrees(np.arctan2(-north[:, 1], north[:, 0])) % 360.0

    # How far it is known

    def quality(self, et: ArrayLike) -> NDArray[np.uint32]:
        """Quality bits (n): no position or no attitude; either of them predicted, propagated or a model."""
        times = np.atleast_1d(np.asarray(et, np.float64))
        known = np.isfinite(self._relative("position", "JUNO", times)[:, 0])
        oriented = np.isfinite(self.attitude.quaternion(times)[0])
        predicted = known & self.position_predicted[self.tracks["JUNO"].interval(times)[0]]
        if self.attitude_predicted.size:
            index = np.searchsorted(self.attitude.et, times, side="right") - 1
            predicted |= oriented & self.attitude_predicted[np.clip(index, 0, self.attitude_predicted.size - 1)]
        bits = np.where(known & oriented, np.uint32(0), np.uint32(Quality.GEOMETRY_MISSING))
        bits |= np.where(predicted, np.uint32(Quality.GEOMETRY_PREDICTED), np.uint32(0))
        return bits

    def values_hash(self, span: Span) -> str:
        """Digest of all values on fixed grids of times over a span, 32 hexadecimal digits.

        Positions of all bodies, attitude, M-shell and quality, rounded: kernels that give the same have the same.
        """
        return self._hash(float(np.floor(span.start / HASH_STEP)), float(np.ceil(span.stop / HASH_STEP)))

    @cached_property
    def _hashes(self) -> dict[tuple[float, float], str]:
        return {}

    def _hash(self, first: float, last: float) -> str:
        if (first, last) not in self._hashes:
            et = np.arange(first, last + 1.0) * HASH_STEP
            fine = np.arange(first * HASH_STEP, last * HASH_STEP + HASH_INSTANT, HASH_INSTANT)
            digest = hashlib.sha256(self.quality(fine).astype("<u4").tobytes())
            for name in BODIES:
                if name in self.tracks:
                    # Adding zero makes one zero of two.
                    digest.update(name.encode() + (np.round(self.tracks[name].position(et), HASH_KM) + 0.0).tobytes())
            digest.update((np.round(self.attitude.matrix(fine)[:, ::2], HASH_UNIT) + 0.0).tobytes())
            digest.update(np.round(self.m_shell(et), HASH_UNIT).tobytes())
            digest.update(_frames_text(self.own_frames).encode())
            self._hashes[first, last] = digest.hexdigest()[:32]
        return self._hashes[first, last]

    # As a file

    def to_dataset(self) -> xr.Dataset:
        """The geometry as a dataset; `from_dataset` gives it back."""
        data: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {
            "attitude_et": (("instant",), self.attitude.et),
            "attitude_quaternion": (("instant", "q"), self.attitude.quaternions),
            "attitude_joined": (("instant",), np.append(self.attitude.joined, False).astype(np.int8)),
            "attitude_predicted": (("instant",), np.append(self.attitude_predicted, False).astype(np.int8)),
            "position_predicted": (("juno_interval",), self.position_predicted.astype(np.int8)),
            "m_shell_et": (("shell",), self.shell_et),
            "m_shell": (("shell",), self.shell),
        }
        for name, track in self.tracks.items():
            low = name.lower()
            data[f"{low}_edges"] = ((f"{low}_edge",), track.edges)
            data[f"{low}_coefficients"] = ((f"{low}_order", "xyz", f"{low}_interval"), track.coefficients)
        numbers = {"start": self.span.start, "stop": self.span.stop, "closest_approach": self.closest_approach}
        attrs = {
            **numbers,
            "own_frames": _frames_text(self.own_frames),
            **{f"made_{k}": v for k, v in self.attrs.items()},
        }
        return xr.Dataset(data, attrs=attrs)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Geometry:
        """Geometry from what `to_dataset` wrote."""
        tracks = {
            name: Track(dataset[f"{name.lower()}_edges"].values, dataset[f"{name.lower()}_coefficients"].values)
            for name in BODIES
            if f"{name.lower()}_edges" in dataset
        }
        attitude = Attitude(
            dataset["attitude_et"].values,
            dataset["attitude_quaternion"].values,
            dataset["attitude_joined"].values[:-1].astype(bool),
        )
        attrs = dataset.attrs
        return cls(
            Span(float(attrs["start"]), float(attrs["stop"])),
            float(attrs["closest_approach"]),
            tracks,
            attitude,
            dataset["m_shell_et"].values,
            dataset["m_shell"].values,
            dataset["position_predicted"].values.astype(bool),
            dataset["attitude_predicted"].values[:-1].astype(bool),
            {
                n: FixedFrame(n, relative, tuple(values), tuple(axes))
                for n, relative, values, axes in json.loads(attrs["own_frames"])
            },
            {k[5:]: str(v) for k, v in attrs.items() if str(k).startswith("made_")},
        )


def _frames_text(frames: Mapping[str, FixedFrame]) -> str:
    return json.dumps([[f.name, f.relative, f.values, f.axes] for f in frames.values()])


def _product(a: Floats, b: Floats) -> Floats:
    """Product of two matrices, in `compose`'s order of summing."""
    return np.ascontiguousarray(compose(a[None], b[None])[0])
