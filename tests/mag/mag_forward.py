"""A small instrument of the tests' own: field in J2000 to counts, by inverse matrices and single rotations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import xarray as xr
from scipy.spatial.transform import Rotation

from calibration.tables import Table

CA = 525574313.0
FOLDER = Path(__file__).resolve().parents[2] / "calibration" / "tables" / "mag"
MEAN = ["gain", "zero", "orthogonality", "alignment", "bench", "timing", "eddy", "spacecraft_field"]
CHAIN = ["ranges", *MEAN[:5], "temperature", *MEAN[5:], "noise"]
TILT = Rotation.from_euler("xyz", [30, 40, 50], degrees=True)


class SpinningGeometry:
    """A spacecraft that spins about its z axis, and fixed or slowly turning frames."""

    def __init__(self, period: float = 30.3) -> None:
        self.rate = 2 * np.pi / period

    def rotation(self, source: str, target: str, et: np.ndarray) -> np.ndarray:
        assert source == "J2000"
        zero = np.zeros((np.size(et), 1))
        if target == "JUNO_SPACECRAFT":
            angle = np.hstack([zero, zero, -self.rate * (np.asarray(et)[:, None] - CA)])
            return (Rotation.from_rotvec(angle) * TILT).as_matrix()
        if target == "IAU_JUPITER":
            angle = np.hstack([zero, zero, -1.7585e-4 * (np.asarray(et)[:, None] - CA)])
            return Rotation.from_rotvec(angle).as_matrix()
        return np.tile(Rotation.from_euler("xyz", [3, -40, 5], degrees=True).as_matrix(), (np.size(et), 1, 1))

    def quality(self, et: np.ndarray) -> np.ndarray:
        return np.zeros(np.size(et), np.uint32)


GEOMETRY = SpinningGeometry()
PASS = SimpleNamespace(et=CA, number=1, name="PJ01")


def tables() -> dict[str, Table]:
    return {name: Table.read(FOLDER / f"{name}.yaml") for name in CHAIN}


def ambient(et: np.ndarray, size: float) -> np.ndarray:
    """A smooth field in J2000, nT (n, 3)."""
    t = et[:, None] - CA
    return size * np.array([0.7, -0.5, 0.4]) * (1 + 2e-4 * t * np.array([1, -2, 3]) + 1e-6 * t**2)


def telemetry(
    known: dict[str, Table],
    et: np.ndarray,
    size: float,
    code: int | np.ndarray,
    rng: np.random.Generator | None,
    rate: float = 64.0,
) -> xr.Dataset:
    """Counts of both sensors at centre times `et`, from the field; noise and rounding unless `rng` is None."""
    t = {name: {q: table[q].value for q in table.quantities} for name, table in known.items()}
    n = et.size
    code = np.broadcast_to(code, n).astype(np.uint8)
    k = t["ranges"]["range_of_code"][code].astype(int)
    b_sc = (GEOMETRY.rotation("J2000", "JUNO_SPACECRAFT", et) @ ambient(et, size)[:, :, None])[:, :, 0]
    omega = np.array([0, 0, GEOMETRY.rate])
    hk = np.arange(et[0] - 100, et[-1] + 100, 10.0)
    readings = np.stack([1480 + 30 * np.sin(hk / 200), 1560 + 20 * np.cos(hk / 300)], 1).round()
    counts = np.zeros((2, n, 3))
    for s in range(2):
        ratio = t["spacecraft_field"]["ratio"] if s else 1.0
        at_sensor = b_sc + ratio * np.einsum("nij,nj->ni", t["eddy"]["matrix"][k], np.cross(omega, b_sc))
        at_sensor = at_sensor + ratio * t["spacecraft_field"]["static"]
        degrees = np.interp(et, hk, np.polyval(t["temperature"]["coefficient"][s][::-1], readings[:, s]))
        angles = np.stack([np.interp(et - CA, t["bench"]["offset"], a) for a in t["bench"]["angles"][s].T], 1)
        # the inverse of SPICE's [a1]_3 [a2]_2 [a3]_1 turns a vector by a1 about z, a2 about y, a3 about x
        bench = Rotation.from_euler("zyx", angles, degrees=True)
        cube = Rotation.from_euler("xyz", t["alignment"]["angles"][s], degrees=True)
        in_cube = cube.apply(bench.apply(at_sensor))
        warm = [degrees - t[x]["reference_temperature"][s] for x in ("gain", "zero", "orthogonality")]
        slope = t["orthogonality"]["temperature_coefficient"][s]
        axes = np.linalg.inv(t["orthogonality"]["matrix"][s][k] + slope * warm[2][:, None, None])
        read = (axes @ in_cube[:, :, None])[:, :, 0]
        read = read + t["zero"]["zero"][s][k] + t["zero"]["temperature_coefficient"][s] * warm[1][:, None]
        gain = 1 + t["gain"]["correction"][s][k] + t["gain"]["temperature_coefficient"][s] * warm[0][:, None]
        if rng is not None:
            read = read + rng.normal(size=read.shape) * t["noise"]["rms"][s][k][:, None] * np.sqrt(rate / 64)
        counts[s] = read / (t["ranges"]["lsb"][k][:, None] * gain)
    delay = t["timing"]["delay"][list(t["timing"]["rate"]).index(rate)]
    whole = counts if rng is None else np.clip(np.round(counts), -32768, 32767).astype(np.int16)
    return xr.Dataset(
        {
            "counts": (("sensor", "et", "axis"), whole),
            "present": (("sensor", "et"), np.ones((2, n), bool)),
            "range_code": (("sensor", "et"), np.stack([code, code])),
            "rate": (("et",), np.full(n, rate, np.float32)),
            "temperature_counts": (("et_hk", "probe"), readings.astype(np.uint16)),
        },
        coords={"et": et + delay, "et_hk": hk},
    )
