"""Where Juno is and how it is oriented, as arrays: nothing of SPICE, nothing that changes, safe in threads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pipeline.clock import Span
from pipeline.dataset.quality import Quality
from pipeline.errors import GeometryError, nearest
from pipeline.geometry.attitude import Attitude, apply, compose
from pipeline.geometry.frames import DYNAMIC, OBLIQUITY, SPACECRAFT, axis_rotation, two_vector
from pipeline.geometry.propagate import despun
from pipeline.geometry.track import Track
from pipeline.jupiter.rotation import Orientation

Floats = NDArray[np.float64]
BODIES = ("JUNO", "JUPITER", "SUN", "SSB", "EARTH", "IO", "EUROPA", "GANYMEDE", "CALLISTO")
SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Geometry:
    """Positions and attitudes over a span, interpolated at any time in it.

    Made by `pipeline.geometry.make_geometry`. Times are et; vectors are rows; whatever is unknown is NaN.

    Parameters
    ----------
    span : the times it holds.
    closest_approach : et of the pass's perijove.
    tracks : body to its position relative to Jupiter.
    position_predicted : for each interval of Juno's track, whether it is predicted or propagated.
    attitudes : frame to its attitude; ``JUNO_SPACECRAFT`` is always there, perhaps empty.
    attitude_predicted : for each interval of the spacecraft's attitude.
    frames : frames fixed to another: name to (root, rotation from the root).
    orientations : body to its rotation, of the frames ``IAU_<body>``.
    shells : times and M-shells there (2, n).
    digests : hash of the values in each block of `BLOCK` seconds of the span.
    info : plain text on sources: ``pass``, ``source``, ``trajectory``, ``attitude``, ``kernels``, ...
    """

    span: Span
    closest_approach: float
    tracks: Mapping[str, Track]
    position_predicted: NDArray[np.bool_]
    attitudes: Mapping[str, Attitude]
    attitude_predicted: NDArray[np.bool_]
    frames: Mapping[str, tuple[str, Floats]]
    orientations: Mapping[str, Orientation]
    shells: Floats
    digests: NDArray[np.uint8]
    info: Mapping[str, Any]

    # Vectors

    def position(self, frame: str, et: ArrayLike, target: str = "JUNO", observer: str = "JUPITER") -> Floats:
        """Geometric position of a target relative to an observer at the same time, km (n, 3), in any frame.

        Raises
        ------
        GeometryError
            for an unknown frame or body. A known body that the source does not hold is NaN.
        """
        times = _times(et)
        return self._in_frame(frame, times, self._relative(target, observer, times, "position"))

    def velocity(self, frame: str, et: ArrayLike, target: str = "JUNO", observer: str = "JUPITER") -> Floats:
        """Velocity relative to J2000 (inertial), km/s (n, 3), with its components along the axes of `frame`."""
        times = _times(et)
        return self._in_frame(frame, times, self._relative(target, observer, times, "velocity"))

    def _relative(self, target: str, observer: str, et: Floats, what: str) -> Floats:
        total = np.zeros((et.size, 3))
        for sign, name in ((1.0, target), (-1.0, observer)):
            if name not in BODIES:
                raise GeometryError(f"no body {name!r}; {nearest(name, list(BODIES))}")
            if name in self.tracks:
                total = total + sign * getattr(self.tracks[name], what)(et)
            elif name != "JUPITER":
                total = total + np.nan
        return total

    def _in_frame(self, frame: str, et: Floats, vectors: Floats) -> Floats:
        return vectors if frame == "J2000" else apply(self.rotation("J2000", frame, et), vectors)

    # Frames

    def rotation(self, source: str, target: str, et: ArrayLike) -> Floats:
        """Rotation matrices from `source` to `target`, (n, 3, 3): v_target = M v_source.

        Between frames fixed to the same thing it is constant and known even where the attitude is not.

        Raises
        ------
        GeometryError
            for an unknown frame, with the nearest names.
        """
        times = _times(et)
        (from_root, first), (to_root, second) = self._root(source), self._root(target)
        if from_root == to_root:
            return np.broadcast_to(second @ first.T, (times.size, 3, 3))
        before = _turned(first, self._from_j2000(from_root, times))
        after = _turned(second, self._from_j2000(to_root, times))
        if before is None:
            assert after is not None
            return after
        back = np.swapaxes(before, -1, -2)
        return back if after is None else compose(after, back)

    def frame_names(self) -> list[str]:
        """All frames `rotation` knows, sorted."""
        bodies = [f"IAU_{name}" for name in self.orientations]
        return sorted({"J2000", "ECLIPJ2000", *DYNAMIC, *bodies, *self.attitudes, *self.frames})

    def _root(self, frame: str) -> tuple[str, Floats]:
        """What a frame is fixed to, and the rotation from there."""
        if frame in self.frames and frame not in self.attitudes:
            return self.frames[frame]
        if frame == "ECLIPJ2000":
            return "J2000", axis_rotation(1, OBLIQUITY)
        if frame in ("J2000", *DYNAMIC) or frame in self.attitudes or frame.removeprefix("IAU_") in self.orientations:
            return frame, np.eye(3)
        raise GeometryError(f"no frame {frame!r}; {nearest(frame, self.frame_names())}")

    def _from_j2000(self, root: str, et: Floats) -> Floats | None:
        """Rotation from J2000 to a root frame; None for J2000 itself."""
        if root == "J2000":
            return None
        if root in self.attitudes:
            return self.attitudes[root].matrix(et)
        if root in DYNAMIC:
            return self._dynamic(root, et)
        return self.orientations[root.removeprefix("IAU_")].matrix(et)

    def _dynamic(self, frame: str, et: Floats) -> Floats:
        """The frames of class 5 of the frames kernel."""
        if frame == "JUNO_SUN_EQU_RTN":
            outward = self._relative("JUNO", "SUN", et, "position")
            return two_vector(outward, 0, self.orientations["SUN"].pole(et), 2)
        sun = self._relative("SUN", "JUPITER", et, "position")
        if frame == "JUNO_JSS":
            return two_vector(self.orientations["JUPITER"].pole(et), 2, sun, 0)
        if frame == "JUNO_JSO":
            return two_vector(sun, 0, self._relative("SUN", "JUPITER", et, "velocity"), 1)
        return two_vector(sun, 0, self.orientations["SUN"].pole(et), 2)

    # Scalars

    def spin_phase(self, et: ArrayLike) -> Floats:
        """Spin phase in degrees, 0 to 360 (n): angle of +X about +Z from the north of the ecliptic, right-handed.

        Zero when the despun x-z plane holds the north of the ecliptic (JADE software interface specification).
        """
        matrix = self.attitudes[SPACECRAFT].matrix(_times(et))
        x, y = despun(matrix[:, 2])
        across, along = (matrix[:, 0] * y).sum(axis=1), (matrix[:, 0] * x).sum(axis=1)
        return np.degrees(np.arctan2(across, along)) % 360.0

    def m_shell(self, et: ArrayLike) -> Floats:
        """M-shell of Juno in Jupiter radii (n), interpolated between traced field lines; NaN where none closes."""
        times = _times(et)
        if self.shells.shape[1] < 2:
            return np.full(times.shape, np.nan)
        return np.exp(np.interp(times, self.shells[0], np.log(self.shells[1]), left=np.nan, right=np.nan))

    def quality(self, et: ArrayLike) -> NDArray[np.uint32]:
        """Bits ``GEOMETRY_MISSING`` (no position or no attitude) and ``GEOMETRY_PREDICTED`` (n)."""
        times = _times(et)
        known = np.isfinite(self.tracks["JUNO"].position(times)[:, 0])
        index, _ = self.tracks["JUNO"].interval(times)
        predicted = known & self.position_predicted[index]
        attitude = self.attitudes[SPACECRAFT]
        oriented = np.isfinite(attitude.quaternion(times)[0])
        if self.attitude_predicted.size:
            at = np.clip(np.searchsorted(attitude.et, times, side="right") - 1, 0, self.attitude_predicted.size - 1)
            predicted |= oriented & self.attitude_predicted[at]
        missing = np.where(known & oriented, np.uint32(0), np.uint32(Quality.GEOMETRY_MISSING))
        return missing | np.where(predicted, np.uint32(Quality.GEOMETRY_PREDICTED), np.uint32(0))

    def values_hash(self, span: Span) -> str:
        """Hash of the values over a span, rounded outward to whole blocks of `digest.BLOCK` seconds.

        Raises
        ------
        GeometryError
            if the span reaches beyond the geometry.
        """
        from pipeline.geometry.digest import BLOCK

        first = int(np.floor(span.start / BLOCK)) - round(self.span.start / BLOCK)
        last = int(np.ceil(span.stop / BLOCK)) - round(self.span.start / BLOCK)
        if first < 0 or last > len(self.digests):
            raise GeometryError(f"geometry of {self.info['pass']} does not hold all of {span}")
        constant = self.info["constants"].encode()
        return hashlib.sha256(constant + self.digests[first : max(last, first + 1)].tobytes()).hexdigest()[:32]

    def describe(self) -> str:
        """Text on where the numbers come from and how far to trust them, a line each."""
        lines = [f"{key}: {self.info[key]}" for key in ("pass", "source", "trajectory", "attitude", "bodies", "shells")]
        kernels = json.loads(self.info["kernels"])
        return "\n".join([*lines, *(f"kernel {name} {sha}" for name, sha in kernels.items())])

    # Files

    def to_dataset(self) -> xr.Dataset:
        """The arrays as a dataset, from which `from_dataset` makes an equal geometry."""
        data: dict[str, Any] = {}
        for name, track in self.tracks.items():
            key = name.lower()
            data[f"{key}_edges"] = (f"{key}_edge",), track.edges
            data[f"{key}_coefficients"] = (f"{key}_degree", "xyz", f"{key}_interval"), track.coefficients
        data["position_predicted"] = ("juno_interval",), self.position_predicted.astype(np.uint8)
        for number, attitude in enumerate(self.attitudes.values()):
            data[f"attitude{number}_et"] = (f"attitude{number}",), attitude.et
            data[f"attitude{number}_quaternion"] = (f"attitude{number}", "wxyz"), attitude.quaternions
            data[f"attitude{number}_joined"] = (f"attitude{number}_interval",), attitude.joined.astype(np.uint8)
        data["attitude_predicted"] = ("attitude0_interval",), self.attitude_predicted.astype(np.uint8)
        data["frame_matrix"] = ("frame", "row", "column"), np.array([m for _, m in self.frames.values()])
        data["shells"] = ("shell", "shell_time"), self.shells
        data["digests"] = ("block", "byte"), self.digests
        names = {
            "tracks": list(self.tracks),
            "attitudes": list(self.attitudes),
            "frames": {name: root for name, (root, _) in self.frames.items()},
            "orientations": {name: asdict(o) for name, o in self.orientations.items()},
        }
        attrs = {
            "geometry_version": SCHEMA_VERSION,
            "start": self.span.start,
            "stop": self.span.stop,
            "closest_approach_et": self.closest_approach,
            "names": json.dumps(names),
            "info": json.dumps(dict(self.info)),
        }
        return xr.Dataset(data, attrs=attrs)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Geometry:
        """Inverse of `to_dataset`; raises GeometryError if it was made by another version."""
        if int(dataset.attrs.get("geometry_version", 0)) != SCHEMA_VERSION:
            raise GeometryError("this is no geometry of this version of perijove")
        names = json.loads(dataset.attrs["names"])
        tracks = {
            name: Track(dataset[f"{name.lower()}_edges"].values, dataset[f"{name.lower()}_coefficients"].values)
            for name in names["tracks"]
        }
        attitudes = {
            name: Attitude(*(dataset[f"attitude{i}_{part}"].values for part in ("et", "quaternion")),
                           dataset[f"attitude{i}_joined"].values.astype(bool))
            for i, name in enumerate(names["attitudes"])
        }  # fmt: skip
        matrices = dataset["frame_matrix"].values
        return cls(
            span=Span(float(dataset.attrs["start"]), float(dataset.attrs["stop"])),
            closest_approach=float(dataset.attrs["closest_approach_et"]),
            tracks=tracks,
            position_predicted=dataset["position_predicted"].values.astype(bool),
            attitudes=attitudes,
            attitude_predicted=dataset["attitude_predicted"].values.astype(bool),
            frames={name: (root, matrices[i]) for i, (name, root) in enumerate(names["frames"].items())},
            orientations={
                name: Orientation(**{k: tuple(v) for k, v in items.items()})
                for name, items in names["orientations"].items()
            },
            shells=dataset["shells"].values,
            digests=dataset["digests"].values,
            info=json.loads(dataset.attrs["info"]),
        )


def _times(et: ArrayLike) -> Floats:
    times = np.atleast_1d(np.asarray(et, np.float64))
    if times.ndim != 1:
        raise ValueError(f"times of shape {times.shape}: geometry takes a number or one dimension")
    return times


def _turned(constant: Floats, matrix: Floats | None) -> Floats | None:
    """A constant rotation after a varying one; None: no rotation."""
    if np.array_equal(constant, np.eye(3)):
        return matrix
    return constant[None] if matrix is None else compose(constant[None], matrix)
