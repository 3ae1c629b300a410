"""The geometry of a pass: where Juno is, where it looks, and how both are known; arrays only.

Positions are Chebyshev polynomials (`Track`), the attitude is orientations with constant rates between them
(`Attitude`), the rotation of Jupiter and the fixed frames of the spacecraft are package data. Nothing here calls
SPICE, so it may be used in any process and thread.
"""

from __future__ import annotations

import hashlib
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
from pipeline.geometry.frames import DYNAMIC, SPACECRAFT, resolve, tabulated, two_vector
from pipeline.geometry.track import Track
from pipeline.jupiter.rotation import orientations

Floats = NDArray[np.float64]

BODIES = ("JUNO", "SUN", "EARTH", "IO", "EUROPA", "GANYMEDE", "CALLISTO")
CENTER = "JUPITER"
# Grid in seconds of et, and digits, on which values are hashed: 1 mm and 2e-4 arcsec.
HASH_STEP = 10.0
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
    predicted : quality bits that hold everywhere, GEOMETRY_PREDICTED or none.
    attrs : what it was made from, for a reader.
    """

    span: Span
    closest_approach: float
    tracks: Mapping[str, Track]
    attitude: Attitude
    shell_et: Floats
    shell: Floats
    predicted: int = 0
    attrs: Mapping[str, str] = field(default_factory=dict)

    # Frames

    @cached_property
    def _fixed(self) -> dict[str, tuple[str, Floats]]:
        return resolve(tabulated(), (SPACECRAFT, "IAU_JUPITER"))

    @property
    def frames(self) -> list[str]:
        """Names of all frames, sorted."""
        bodies = [f"IAU_{name}" for name in orientations()]
        return sorted({"J2000", SPACECRAFT, *bodies, *DYNAMIC, *self._fixed})

    def rotation(self, source: str, target: str, et: ArrayLike) -> Floats:
        """Rotation v_target = M v_source at times, (n, 3, 3); NaN where it is not known.

        Raises
        ------
        GeometryError
            for a frame that is not known.
        """
        times = np.atleast_1d(np.asarray(et, np.float64))
        if source == target:
            return np.broadcast_to(np.eye(3), (times.size, 3, 3)).copy()
        back = np.swapaxes(self._from_j2000(source, times), -1, -2)
        return compose(self._from_j2000(target, times), back)

    def _from_j2000(self, frame: str, et: Floats) -> Floats:
        if frame == "J2000":
            return np.broadcast_to(np.eye(3), (et.size, 3, 3))
        if frame == SPACECRAFT:
            return self.attitude.matrix(et)
        if frame.startswith("IAU_") and frame[4:] in orientations():
            return orientations()[frame[4:]].matrix(et)
        if frame in DYNAMIC:
            return self._dynamic(frame, et)
        if frame in self._fixed:
            root, matrix = self._fixed[frame]
            # `resolve` gives the rotation from the root to the frame.
            return compose(np.broadcast_to(matrix, (et.size, 3, 3)), self._from_j2000(root, et))
        raise GeometryError(f"no frame {frame!r}; {nearest(frame, self.frames)}")

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
        return vector if frame == "J2000" else apply(self._from_j2000(frame, times), vector)

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
        """Degrees (n) by which the spacecraft's +X has turned about +Z beyond the plane of +Z and Jupiter's pole."""
        times = np.atleast_1d(np.asarray(et, np.float64))
        north = apply(self.attitude.matrix(times), orientations()["JUPITER"].pole(times))
        return np.degrees(np.arctan2(-north[:, 1], north[:, 0])) % 360.0

    # How far it is known

    def quality(self, et: ArrayLike) -> NDArray[np.uint32]:
        """Quality bits: no position or attitude; predicted."""
        times = np.atleast_1d(np.asarray(et, np.float64))
        missing = np.isnan(self._relative("position", "JUNO", times)[:, 0]) | np.isnan(
            self.attitude.quaternion(times)[0]
        )
        return np.where(missing, np.uint32(Quality.GEOMETRY_MISSING), np.uint32(0)) | np.uint32(self.predicted)

    def values_hash(self, span: Span) -> str:
        """Digest of all positions and orientations on a fixed grid of times over a span, 32 hexadecimal digits."""
        return self._hash(float(np.floor(span.start / HASH_STEP)), float(np.ceil(span.stop / HASH_STEP)))

    @cached_property
    def _hashes(self) -> dict[tuple[float, float], str]:
        return {}

    def _hash(self, first: float, last: float) -> str:
        if (first, last) not in self._hashes:
            et = np.arange(first, last + 1.0) * HASH_STEP
            digest = hashlib.sha256(str(self.predicted).encode())
            for name in BODIES:
                if name in self.tracks:
                    # Adding zero makes one zero of two.
                    digest.update(name.encode() + (np.round(self.tracks[name].position(et), HASH_KM) + 0.0).tobytes())
            digest.update((np.round(self.attitude.matrix(et), HASH_UNIT) + 0.0).tobytes())
            self._hashes[first, last] = digest.hexdigest()[:32]
        return self._hashes[first, last]

    # As a file

    def to_dataset(self) -> xr.Dataset:
        """The geometry as a dataset; `from_dataset` gives it back."""
        data: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {
            "attitude_et": (("instant",), self.attitude.et),
            "attitude_quaternion": (("instant", "q"), self.attitude.quaternions),
            "attitude_joined": (("instant",), np.append(self.attitude.joined, False).astype(np.int8)),
            "m_shell_et": (("shell",), self.shell_et),
            "m_shell": (("shell",), self.shell),
        }
        for name, track in self.tracks.items():
            low = name.lower()
            data[f"{low}_edges"] = ((f"{low}_edge",), track.edges)
            data[f"{low}_coefficients"] = ((f"{low}_order", "xyz", f"{low}_interval"), track.coefficients)
        numbers = {"start": self.span.start, "stop": self.span.stop, "closest_approach": self.closest_approach}
        attrs = {**numbers, "predicted": np.int32(self.predicted), **{f"made_{k}": v for k, v in self.attrs.items()}}
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
            int(attrs["predicted"]),
            {k[5:]: str(v) for k, v in attrs.items() if str(k).startswith("made_")},
        )
