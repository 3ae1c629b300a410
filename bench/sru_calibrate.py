"""How long SRU takes for the images of two hours of PJ1: seconds of the processor, MB/s, peak memory; and how well it
recovers what was planted: places of stars, rates of particles.

Everything one by one in one process as the core does it; images are simulated by another.
"""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr
from measure import timed

from calibration.tables import Table
from instruments.sru import INSTRUMENT, calibrate, counts, raw, stars
from pipeline.clock import Sclk
from pipeline.dataset import check, netcdf
from pipeline.dataset.context import add_context
from pipeline.dataset.quality import Quality
from pipeline.scene import Scene, make_scene

CLOCK = Sclk.default()
TABLES = {p.stem: Table.read(p) for p in INSTRUMENT.tables.glob("*.yaml") if p.stem != "context"}


def simulated(folder: Path) -> None:
    assert INSTRUMENT.simulate is not None
    scene = make_scene(1, scale="full", seed=0)
    truth = {(t.type, t.unit): t.dataset for t in INSTRUMENT.simulate(scene, folder, "full", np.random.default_rng(0))}
    (folder / "truth").write_bytes(pickle.dumps(truth))


def chosen(*names: str) -> list[Table]:
    return [TABLES[name] for name in names]


def written(folder: Path, dataset: xr.Dataset, name: str, scene: Scene) -> xr.Dataset:
    schema = INSTRUMENT.product(name).schema
    if schema.context:
        dataset = add_context(dataset, schema, scene.geometry, CLOCK)
    dataset = check.finish(dataset, schema, INSTRUMENT.flags, {})
    check.check(dataset, schema, INSTRUMENT.flags)
    netcdf.write_segment(folder / f"{name}.nc", dataset, schema)
    return dataset


def recovered(truth: dict[tuple[str, str], xr.Dataset], seen: dict[str, xr.Dataset], rates: xr.Dataset) -> None:
    off = []
    for unit, found in seen.items():
        if ("sru.stars", unit) in truth:
            true = truth["sru.stars", unit]
            _, mine, theirs = np.intersect1d(found["hip"].values, true["hip"].values, return_indices=True)
            good = (found["quality"].values[mine] & int(Quality.MISSING | Quality.SUSPECT)) == 0
            off.append((found["place"].values[mine] - true["place"].values[theirs])[good])
    places = np.concatenate(off)
    places = places[np.isfinite(places).all(axis=1)]
    print(
        f"places of {len(places)} stars: {np.sqrt((places**2).mean()):.3f} px rms, {np.abs(places).max():.3f} at most"
    )
    true = truth["sru.count_rate", ""]
    for name in ("cluster_rate", "noise_rate"):
        if name in true:
            pull = (rates[name].values - true[name].values) / rates[f"{name}_random"].values
            pull = pull[np.isfinite(pull)]
            print(f"{name}: {pull.size} images, pulls {pull.mean():+.2f} +- {pull.std():.2f}")


def main() -> None:
    scene = make_scene(1, scale="full", seed=0)
    with timed("geometry"):
        _ = scene.geometry
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = multiprocessing.get_context("spawn").Process(target=simulated, args=(folder,))
        child.start()
        child.join()
        granules = sorted((raw.open_edr(p, CLOCK) for p in folder.rglob("*.FIT")), key=lambda g: g.start)
        size = sum(g.files["data"].stat().st_size for g in granules) / 1e6
        print(f"{len(granules)} images, {size:.0f} MB")
        with timed("sru.dark", size):
            data = raw.read_edr(granules, None, CLOCK)
            dark = calibrate.dark(data, scene.geometry, *chosen("camera", "readout", "stars", "photometry"))
            dark = written(folder, dark, "sru.dark", scene)
        images, seen, hits = {}, {}, {}
        with timed("sru.image", size):
            for granule in granules:
                data = raw.read_edr([granule], None, CLOCK)
                names = ("camera", "readout", "gain", "stars", "photometry")
                made = calibrate.image(data, dark, scene.geometry, *chosen(*names))
                written(folder, made, "sru.image", scene)
                images[granule.id] = made.assign({n: made[n].astype("f4") for n in ("rate", "rate_random")})
        with timed("sru.stars", size):
            for unit, made in images.items():
                found = stars.stars(made, scene.geometry, *chosen("camera", "readout", "stars", "photometry"))
                seen[unit] = written(folder, found, "sru.stars", scene)
        with timed("sru.hits", size):
            for unit, made in images.items():
                found = counts.hits(made, *chosen("camera", "readout", "hits", "stars", "photometry"))
                hits[unit] = written(folder, found, "sru.hits", scene)
        with timed("sru.count_rate"):
            rates = written(folder, counts.count_rate_from_images(hits), "sru.count_rate", scene)
        recovered(pickle.loads((folder / "truth").read_bytes()), seen, rates)


if __name__ == "__main__":
    main()
