"""Scenes of the tests' own, and products made of raw data without the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from calibration.tables import Table
from instruments.gs import INSTRUMENT, calibrate, gravity, means, media, open_loop, raw, raw_media, simulate, tracking
from pipeline.clock import Sclk, Span
from pipeline.dataset import check
from pipeline.formats.dsn import rsr
from pipeline.geometry import Geometry, make_geometry
from pipeline.instrument import RawFormat
from pipeline.passes import get_pass
from pipeline.scene import Scene
from pipeline.testing.pulls import Result, compare_to_truth

CLOCK = Sclk.default()
Tables = Mapping[str, Table]
CHAIN = (
    "stations", "earth_orientation", "transponder", "troposphere", "mapping", "antenna", "spin", "plasma",
)  # fmt: skip


@dataclass(frozen=True)
class KernelScene(Scene):
    """A pass whose trajectory is that of kernels."""

    kernels: Path | None = None

    @cached_property
    def geometry(self) -> Geometry:
        return make_geometry(self.pass_, self.span.pad(7200.0), self.kernels)


def scene(number: int, start: float, stop: float, kernels: Path | None = None) -> Scene:
    """Between seconds from closest approach."""
    pass_ = get_pass(number)
    span = Span(pass_.et + start, pass_.et + stop)
    if kernels is None:
        return Scene(pass_, span, "demo", 0)
    return KernelScene(pass_, span, "demo", 0, kernels)


def tables() -> dict[str, Table]:
    return {p.stem: Table.read(p) for p in sorted(INSTRUMENT.tables.glob("*.yaml")) if p.stem != "context"}


def finished(dataset: xr.Dataset, product: str) -> xr.Dataset:
    """As the core finishes and checks it."""
    schema = INSTRUMENT.product(product).schema
    done = check.finish(dataset, schema, INSTRUMENT.flags, {"product": f"{product}/PJ01"})
    check.check(done, schema, INSTRUMENT.flags)
    return done


@dataclass(frozen=True)
class Loop:
    """A simulated stretch of a pass: its raw files, its truth, the geometry the calibration has."""

    scene: Scene
    folder: Path
    truth: dict[str, xr.Dataset]
    count_time: float = 1.0

    @cached_property
    def geometry(self) -> Geometry:
        """From transmission to reception, as the core makes it from the granules."""
        kernels = getattr(self.scene, "kernels", None)
        return make_geometry(self.scene.pass_, self.scene.span.pad(7500.0), kernels)

    def path(self, suffix: str) -> Path:
        return next(self.folder.rglob(f"*.{suffix}"))

    def read(self, form: RawFormat) -> xr.Dataset:
        suffix = form.name.split(".")[1].upper().replace("CSP", "TRO")
        return form.read([form.open(self.path(suffix), CLOCK)], None, CLOCK)

    @cached_property
    def products(self) -> dict[str, xr.Dataset]:
        return self.made(tables())

    def made(self, known: Tables, **inputs: Any) -> dict[str, xr.Dataset]:
        """All products but the open loop, with these tables; inputs may be replaced by name."""
        out = self.inputs(known) | inputs
        # Without media or orientation if they are given as None.
        arguments = [out[f"gs.{n}"] for n in ("tracking", "uplink", "media", "orientation")]
        chosen = [known[n] for n in CHAIN]
        out["gs.residuals"] = finished(
            calibrate.residuals(*arguments, self.geometry, self.scene.pass_, *chosen), "gs.residuals"
        )
        out["gs.range_rate"] = finished(means.range_rate(out["gs.residuals"]), "gs.range_rate")
        return out

    def inputs(self, known: Tables) -> dict[str, xr.Dataset]:
        tnf = self.read(raw.TNF)
        eop = raw_media.EOP.open(self.path("EOP"), CLOCK)
        made = {
            "gs.tracking": tracking.tracking_from_tnf(tnf, known["noise"], count_time=self.count_time),
            "gs.uplink": tracking.uplink_from_tnf(tnf, known["noise"]),
            "gs.media": media.media_from_csp(self.read(raw_media.CSP), known["troposphere"]),
            "gs.orientation": media.orientation_from_eop(
                self.read(raw_media.EOP), Span(eop.start, eop.stop), known["earth_orientation"]
            ),
        }
        return {name: finished(dataset, name) for name, dataset in made.items()}

    @cached_property
    def gravity(self) -> xr.Dataset:
        return self.estimated(self.products["gs.range_rate"])

    def estimated(self, range_rate: xr.Dataset, harmonics: Literal["published", "free"] = "published") -> xr.Dataset:
        made = gravity.gravity(range_rate, self.geometry, self.scene.pass_, tables()["estimate"], harmonics=harmonics)
        return finished(made, "gs.gravity")

    @cached_property
    def open_loop(self) -> xr.Dataset:
        return finished(open_loop.open_loop(self.read(open_loop.RSR)), "gs.open_loop")

    def judged(self, product: str, dataset: xr.Dataset | None = None) -> list[Result]:
        if dataset is None:
            dataset = self.open_loop if product == "gs.open_loop" else self.products[product]
        return compare_to_truth(dataset, self.truth[product], INSTRUMENT.product(product).schema)


def simulated(where: Scene, folder: Path, seed: int = 5, **options: Any) -> Loop:
    """Files and truth of a scene."""
    truth = {t.type: t.dataset for t in simulate.observe(where, folder, "demo", np.random.default_rng(seed), **options)}
    return Loop(where, folder, truth, float(options.get("every", 1)))


def recording(folder: Path, cycles: Callable[[np.ndarray], np.ndarray], strength: float, seconds: int = 10) -> Path:
    """A recording at 1 kHz of a phase in the noise, carrier to noise density in dB-Hz."""
    rng = np.random.default_rng(8)
    t = np.arange(seconds * 1000) / 1000.0
    z = np.sqrt(10.0 ** (strength / 10.0) * 2.0 * 500.0**2 / 1000.0) * np.exp(2j * np.pi * cycles(t))
    z = z + 500.0 * (rng.normal(size=t.size) + 1j * rng.normal(size=t.size))
    z = (2.0 * np.floor(z.real / 2.0) + 1.0) + 1j * (2.0 * np.floor(z.imag / 2.0) + 1.0)
    columns = {"bits_per_sample": 16, "sample_rate": 1, "rf_if_lo": 8100, "ddc_lo": 300, "spacecraft_id": 61}
    columns |= {
        "year": 2016,
        "doy": 240,
        "sec": 50000.0 + np.arange(seconds),
        "frequency_c1": -4.1e6,
        "frequency_c2": 3.0,
    }
    path = folder / "GRV_JUGR_2016240_1353X55X55001KV01.RSR"
    rsr.write_rsr(path, [(rsr.make_headers(columns, 1000), z.reshape(-1, 1000))])
    return path


def failed(results: list[Result]) -> set[str]:
    return {r.variable for r in results if not r.ok}


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(np.square(values))))


__all__ = ["Loop", "failed", "finished", "recording", "replace", "rms", "scene", "simulated", "tables"]
