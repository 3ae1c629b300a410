"""What a bundle holds, and that it is what it says."""

from __future__ import annotations

import hashlib
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from archive_world import PDS, World, as_another_pass, edit, files, found, labels, made_bundle, text, tree
from core_fixtures import invoke, run, write_tally

import perijove
from pipeline.archive.context import registered
from pipeline.archive.layout import MISSING
from pipeline.errors import InputError, StoreError, UsageError

DAY = datetime(2027, 3, 1, tzinfo=UTC)


def test_the_checker_finds_nothing_and_compares_everything(world: World, schemas: Path) -> None:
    result = invoke("check", world.bundles, "--schemas", schemas, "--store", world.store, "--json")
    assert result.status == 0
    document = result.document
    assert document["findings"] == []
    for told in document["bundles"]:
        # All but the inventories, which have no product, and the texts.
        inventories = len(list(Path(told["path"]).rglob("collection_*.xml")))
        assert told["compared"] == told["objects"] - inventories > 20
        assert told["labels"] == len(labels(Path(told["path"])))


def test_every_product_opens_as_the_dataset_of_the_store(world: World) -> None:
    count = 0
    for label in sorted(world.bundles.rglob("data_*/pj01/*.xml")):
        opened = perijove.open_product(label)
        if "product_key" not in opened.attrs:
            continue
        stored = perijove.open_product(opened.attrs["product_key"], store=world.store)
        xr.testing.assert_identical(opened, stored)
        assert {n: v.dtype for n, v in opened.variables.items()} == {n: v.dtype for n, v in stored.variables.items()}
        count += 1
    assert count >= 7


def test_pdr_reads_the_same_numbers(world: World) -> None:
    pdr = pytest.importorskip("pdr")
    [image] = (world.bundle("jiram") / "data_calibrated" / "pj01").glob("radiance_*.xml")
    [field] = (world.bundle("mag") / "data_calibrated" / "pj01").glob("field_60s_*.xml")
    radiance, read = perijove.open_product(image)["radiance"].values, pdr.read(str(image))["radiance"]
    np.testing.assert_array_equal(np.where(np.isnan(radiance), np.float32(MISSING), radiance), read)
    table = pdr.read(str(field))["table_et"]
    np.testing.assert_array_equal(table["et"], perijove.open_product(field)["et"].values)


def test_labels_say_what_no_schema_can(world: World) -> None:
    [spectrum] = (world.bundle("jiram") / "data_calibrated" / "pj01").glob("spectra_*.xml")
    root = tree(spectrum)
    names = {e.tag.rpartition("}")[2] for e in root.iter()}
    assert {"Spectral_Characteristics", "Processing_Information", "Array_3D_Spectrum", "Science_Facets"} <= names
    [image] = (world.bundle("jiram") / "data_calibrated" / "pj01").glob("radiance_*.xml")
    assert "Display_Settings" in {e.tag.rpartition("}")[2] for e in tree(image).iter()}
    field = tree(world.bundle("mag") / "data_calibrated" / "pj01" / "field_pj01.xml")
    components = field.findall(f".//{PDS}Observing_System_Component")
    assert [(text(c, "name"), text(c, "type")) for c in components] == [
        ("JUNO", "Host"),
        ("MAGNETOMETER", "Instrument"),
    ]
    assert text(field, "Observation_Area/Primary_Result_Summary/Science_Facets/facet1") == "Magnetic"


def test_every_calibration_table_and_raw_granule_that_was_read_is_there(world: World) -> None:
    bundle = world.bundle("mag")
    table = perijove.open_product(next((bundle / "calibration").glob("mag_gain_*.xml")))
    known = perijove.table("mag", "gain", "2016-08-27T12:00:00")
    for name, quantity in known.quantities.items():
        np.testing.assert_array_equal(table[name].values, quantity.value)
    raw = perijove.open_product(next((bundle / "data_raw" / "pj01").glob("*.xml")))
    read = perijove.open_raw(next(world.raw.rglob("*.pkt")))
    np.testing.assert_array_equal(raw["counts"].values, read["counts"].values)


def test_simulated_data_say_so_everywhere(world: World) -> None:
    for label in labels(world.bundles):
        root = tree(label)
        assert "simulated" in text(root, "Identification_Area/logical_identifier")
        assert text(root, "Identification_Area/title").startswith("Simulated: ")
        assert "SIMULATED DATA" in " ".join(e.text or "" for e in root.iter())


def test_context_products_are_named_as_registered_and_no_doi_is_made_up(world: World) -> None:
    known = registered()
    for label in labels(world.bundles):
        root = tree(label)
        assert not list(root.iter(f"{PDS}doi"))
        for element in root.iter(f"{PDS}lid_reference"):
            if ":context:" in element.text:
                assert element.text in known


def test_files_are_where_the_archive_wants_them(world: World) -> None:
    bundle = world.bundle("mag")
    folders = {p.name for p in bundle.iterdir() if p.is_dir()}
    assert folders == {
        "data_raw", "data_calibrated", "data_derived", "calibration", "geometry", "browse", "document", "context",
        "xml_schema",
    }  # fmt: skip
    assert {p.name for p in bundle.iterdir() if p.is_file()} == {f"bundle_{bundle.name}.xml", "readme.txt"}
    assert (bundle / "browse" / "pj01" / "mag-field_pj01.png").read_bytes().startswith(b"\x89PNG")
    guide = (bundle / "document" / "user_guide.txt").read_text()
    assert "b_payload_random" in guide
    assert "range_change" in guide
    rows = (bundle / "context" / "collection_context_inventory.csv").read_bytes().decode().split("\r\n")
    assert "S,urn:nasa:pds:context:instrument:fgm.jno::1.2" in rows


def test_the_manifest_lies_beside_the_bundle(bundle: Path) -> None:
    listed = dict(
        reversed(row.split("  ", 1)) for row in bundle.with_name(f"{bundle.name}.md5").read_text().splitlines()
    )
    there = {f"{bundle.name}/{n}": hashlib.md5(content).hexdigest() for n, content in files(bundle).items()}
    assert listed == there


def test_an_instrument_without_a_declaration_has_a_sound_bundle(bundle: Path, schemas: Path, store: Path) -> None:
    assert found(bundle, schemas, store) == []


def test_the_same_run_gives_the_same_bytes(bundle: Path, store: Path, tmp_path: Path) -> None:
    assert files(made_bundle(store, tmp_path / "again")) == files(bundle)


def test_the_prefix_and_the_date_are_the_users(store: Path, tmp_path: Path) -> None:
    result = invoke(
        "archive", "--store", store, "--out", tmp_path / "out", "--date", "2027-03-01", "--lid-prefix",
        "urn:esa:psa:juno", "--json",
    )  # fmt: skip
    assert result.status == 0
    [told] = result.document["bundles"]
    assert told["lid"] == "urn:esa:psa:juno_tally_simulated"
    root = tree(Path(told["path"]) / "bundle_juno_tally_simulated.xml")
    assert root.findtext(f".//{PDS}modification_date") == "2027-03-01"


def test_what_has_not_changed_keeps_version_and_label(bundle: Path, store: Path, schemas: Path, tmp_path: Path) -> None:
    new = made_bundle(store, tmp_path / "new", previous=bundle, date=DAY)
    assert files(new) == files(bundle)


def test_what_has_changed_gets_the_next_version(
    bundle: Path, raw: Path, store: Path, schemas: Path, tmp_path: Path
) -> None:
    run(raw, store, settings={"tally.rate.smooth": "3"})
    new = made_bundle(store, tmp_path / "new", previous=bundle, date=DAY)
    assert found(new, schemas, store) == []
    versions = {label.relative_to(new): _versions(label) for label in labels(new)}
    changed = {str(n) for n, v in versions.items() if v[0] == "2.0"}
    assert any(n.startswith("data_calibrated/pj01/") for n in changed)
    assert {"data_calibrated/collection_data_calibrated.xml", f"bundle_{new.name}.xml"} <= changed
    # Raw data are the same.
    assert not any(n.startswith(("data_raw/", "document/")) for n in changed)
    for name, history in versions.items():
        if str(name) in changed:
            assert history == ["2.0", "1.0"]
            assert tree(new / name).findtext(f".//{PDS}modification_date") == "2027-03-01"


def test_a_label_that_is_written_otherwise_now_gets_a_version_of_its_own(
    bundle: Path, store: Path, schemas: Path, tmp_path: Path
) -> None:
    """As if the earlier export were of a version that spelt units otherwise: no file has changed, one label has."""
    edit(bundle / "data_calibrated" / "pj01" / "rate_pj01.xml", "<unit>1/s</unit>", "<unit>per second</unit>", count=0)
    new = made_bundle(store, tmp_path / "new", previous=bundle, date=DAY)
    assert found(new, schemas, store) == []
    versions = {str(label.relative_to(new)): _versions(label) for label in labels(new)}
    assert {name: history for name, history in versions.items() if history != ["1.0"]} == {
        "data_calibrated/pj01/rate_pj01.xml": ["1.1", "1.0"],
        "data_calibrated/collection_data_calibrated.xml": ["2.0", "1.0"],
        f"bundle_{new.name}.xml": ["2.0", "1.0"],
    }
    again = made_bundle(store, tmp_path / "again", previous=new)
    assert files(again) == files(new)


def _versions(label: Path) -> list[str]:
    return [e.findtext(f"{PDS}version_id") or "" for e in tree(label).iter(f"{PDS}Modification_Detail")]


def test_another_pass_is_kept_beside_the_new_one(bundle: Path, store: Path, schemas: Path, tmp_path: Path) -> None:
    old = bundle / "data_calibrated" / "pj01"
    assert list(old.glob("*.xml"))
    as_another_pass(bundle)
    new = made_bundle(store, tmp_path / "new", previous=bundle, date=DAY)
    names = {p.name for p in (new / "data_calibrated").rglob("*.xml")}
    assert any("_pj00" in n for n in names)
    assert any("_pj01" in n for n in names)
    problems = [f for f in found(new, schemas, store) if f["rule"] not in ("checksum", "file-size")]
    assert problems == []


def test_a_bundle_that_is_there_is_not_touched(bundle: Path, store: Path) -> None:
    before = files(bundle)
    with pytest.raises(StoreError, match="there already"):
        made_bundle(store, bundle.parent)
    assert files(bundle) == before
    assert not [p for p in bundle.parent.iterdir() if p.name.startswith(".")]


def test_wrong_requests_are_refused(store: Path, raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known: tally"):
        made_bundle(store, tmp_path / "out", instruments=("mag",))
    with pytest.raises(UsageError, match="lid-prefix"):
        made_bundle(store, tmp_path / "out", prefix="urn:Nasa:pds:x")
    with pytest.raises(InputError, match="no bundle label"):
        made_bundle(store, tmp_path / "out", previous=raw)
    for file in raw.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(InputError, match=r"changed|no longer"):
        made_bundle(store, tmp_path / "out")


def test_what_is_gone_from_the_raw_folder_is_named(store: Path, raw: Path, tmp_path: Path) -> None:
    for file in raw.rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(InputError, match=r"granule .* is no longer there"):
        made_bundle(store, tmp_path / "out")


def test_two_seeds_have_different_data(bundle: Path, tmp_path: Path) -> None:
    raw = write_tally(tmp_path / "other", seed=9)
    run(raw, tmp_path / "other_store")
    other = made_bundle(tmp_path / "other_store", tmp_path / "out")
    mine, its = ({n: c for n, c in files(b).items() if n.endswith(".dat")} for b in (bundle, other))
    assert mine.keys() == its.keys()
    assert any(mine[n] != its[n] for n in mine)
    assert re.fullmatch(r"perijove_tally_simulated", bundle.name)


@pytest.mark.real
def test_every_kernel_is_named_with_its_type(
    raw: Path, real_data: Path, schemas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.runs.geometry import geometry_of

    monkeypatch.setattr("pipeline.runs.run.geometry_of", geometry_of)
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    names = ("JNO_SCLKSCET.00061.tsc", "juno_struct_v04.bsp", "juno_v12.tf", "naif0012.tls", "pck00010.tpc")
    for name in (*names, "spk_rec_160729_160923_161027.bsp"):
        (kernels / name).symlink_to(real_data / "spice" / name)
    run(raw, tmp_path / "with", kernels=kernels)
    bundle = made_bundle(tmp_path / "with", tmp_path / "out")
    assert found(bundle, schemas, tmp_path / "with") == []
    root = tree(bundle / "data_calibrated" / "pj01" / "rate_pj01.xml")
    named = {
        (text_of(e, "spice_kernel_file_name"), text_of(e, "kernel_type"))
        for e in root.iter(f"{GEOM}SPICE_Kernel_Identification")
    }
    kinds = {".bsp": "SPK", ".tls": "LSK", ".tsc": "SCLK", ".tpc": "PCK", ".tf": "FK"}
    assert named == {(p.name, kinds[p.suffix]) for p in kernels.iterdir()}


GEOM = "{http://pds.nasa.gov/pds4/geom/v1}"


def text_of(element: Any, name: str) -> str:
    return element.findtext(f"{GEOM}{name}") or ""


def test_the_files_that_were_read_stand_beside_what_was_decoded_from_them(world: World) -> None:
    for instrument in ("mag", "jiram"):
        own = {p.name: p.read_bytes() for p in (world.bundle(instrument) / "data_raw" / "pj01").iterdir()}
        sent = [p for p in world.raw.rglob("*") if p.is_file() and p.name in own]
        assert sent
        for path in sent:
            assert own[path.name] == path.read_bytes()
    [label] = (world.bundle("jiram") / "data_raw" / "pj01").glob("spectrum_edr*.xml")
    root = tree(label)
    texts = [text(e, "name") for e in root.iter(f"{PDS}Stream_Text")]
    bytes_ = [text(e, "local_identifier") for e in root.iter(f"{PDS}Array_1D") if "original" in text(e, "name")]
    assert texts == ["attributes", "original_label", "original_log_label"]
    assert bytes_ == ["original_data", "original_log"]


def test_a_bundle_can_be_run_again_from_its_own_raw_data(world: World, tmp_path: Path) -> None:
    folder = world.bundle("mag") / "data_raw"
    perijove.run(1, raw=folder, store=tmp_path / "store", instruments=["mag"], products=["mag.field_60s"])
    again = perijove.open_product("mag.field_60s/PJ01", store=tmp_path / "store")
    first = perijove.open_product("mag.field_60s/PJ01", store=world.store)
    xr.testing.assert_equal(again, first)


def test_a_changed_original_is_found(world: World, schemas: Path, tmp_path: Path) -> None:
    bundle = tmp_path / world.bundle("mag").name
    shutil.copytree(world.bundle("mag"), bundle)
    packets = next((bundle / "data_raw" / "pj01").glob("*.pkt"))
    content = packets.read_bytes()
    packets.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    findings = found(bundle, schemas, world.store)
    assert {f["rule"] for f in findings} == {"checksum", "values"}
    assert any("original_data" in f["text"] for f in findings)


def test_collections_and_bundle_cover_the_times_of_their_products(world: World) -> None:
    bundle = world.bundle("jiram")

    def times(path: Path) -> tuple[str, str]:
        root = tree(path)
        return tuple(root.findtext(f".//{PDS}Time_Coordinates/{PDS}{n}_date_time") for n in ("start", "stop"))

    of_products = [times(p) for p in (bundle / "data_raw" / "pj01").glob("*.xml")]
    whole = min(s for s, _ in of_products), max(e for _, e in of_products)
    assert times(bundle / "data_raw" / "collection_data_raw.xml") == whole
    first, last = times(bundle / f"bundle_{bundle.name}.xml")
    assert first <= whole[0]
    assert last >= whole[1]
