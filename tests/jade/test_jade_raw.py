"""Level 2 and 3 records: what is written is read, by labels; what is damaged is refused or counted."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from jade_scene import called, electron_rate, granules, tables
from loops import CLOCK, PASS, Loop

from instruments.jade import INSTRUMENT, archive, chain, layout, level3, level3_write, looks, raw, raw_write
from instruments.jade.schemas import ELECTRON_RATE, ION_RATE
from pipeline.archive.declaration import Legacy
from pipeline.clock import Span
from pipeline.dataset import check
from pipeline.dataset.context import add_context
from pipeline.errors import InputError

RNG = np.random.default_rng(7)
START = PASS.et + np.arange(6.0)


def hrs(folder: Path, start=START, **columns) -> Path:
    codes = RNG.integers(0, 256, (len(start), 64, 51))
    own = {"DATA": codes, "ACCUMULATION_TIME": 1, "PACKET_MODE": 2, "COMPRESSION": 1}
    return raw_write.write_level2(folder, "HRS_ELC_ALL", start, own | columns, CLOCK)


def ion(folder: Path, start, species, sweep) -> Path:
    data = RNG.integers(0, 256, (len(start), 32, 78))
    own = {
        "DATA": data, "ACCUMULATION_TIME": 60, "PACKET_MODE": 1, "COMPRESSION": 2, "PACKET_SPECIES": np.array(species),
        "SWEEP_TABLE": np.repeat(np.asarray(sweep)[:, None], 3, axis=1),
    }  # fmt: skip
    return raw_write.write_level2(folder, "LRS_ION_ANY", np.asarray(start), own, CLOCK)


def events(dataset) -> dict[str, int]:
    return dict(zip(dataset["event"].values.tolist(), dataset["events"].values.sum(axis=0).tolist(), strict=True))


# Level 2


def test_bytes_are_where_the_document_says(tmp_path: Path) -> None:
    path = hrs(tmp_path, ISSUES=np.full(6, 131329, np.uint32))
    data = path.with_suffix(".DAT").read_bytes()
    assert len(data) == 6 * layout.row_bytes(layout.level2("HRS_ELC_ALL"))
    sync, count, compression, length, packet = struct.unpack_from("<IBBHB", data)
    assert (sync, count, compression, length, packet) == (0xFAF33403, 0, 1, 20 + 4 * 64 * 51, 0x8E)
    assert path.parent.parts[-5:] == ("JNO-J_SW-JAD-2-UNCALIBRATED-V1.0", "DATA", "2016", "2016240", "ELECTRONS")
    seconds, fraction = struct.unpack_from("<IH", data, 12)
    assert abs(CLOCK.to_et(CLOCK.encode(seconds * 65536 + fraction)) - START[0]) < 1e-5
    assert data[18:39] == b"2016-240T12:50:44.060"


def test_the_housekeeping_packet_has_the_archives_length() -> None:
    """224 bytes: a header of 20 and 51 counters of 4."""
    assert layout.IDP_HEADER + 4 * np.prod(layout.KINDS["HVE_ELC_ALL"].shape) == 224


def test_electrons_are_read_as_written(tmp_path: Path) -> None:
    data = RNG.integers(0, 256, (6, 64, 51))
    granule = raw.open_level2(hrs(tmp_path, DATA=data, ISSUES=np.arange(6, dtype=np.uint32)), CLOCK)
    found = raw.read_electrons([granule], None, CLOCK)
    np.testing.assert_array_equal(found["code"].values, data)
    np.testing.assert_array_equal(found["issues"].values, np.arange(6))
    np.testing.assert_allclose(found["et"].values, START + 0.5, atol=2e-5)
    part = raw.read_electrons([granule], Span(START[2], START[4]), CLOCK)
    np.testing.assert_array_equal(part["code"].values, data[2:4])


def test_a_record_is_read_by_its_label_alone(tmp_path: Path) -> None:
    """Objects in the reverse order and of wider types, as another version of the archive may have them."""
    path = hrs(tmp_path / "one", DATA=RNG.integers(0, 256, (6, 64, 51)), ISSUES=np.arange(6, dtype=np.uint32))
    _, columns, _ = raw.open_table(path)
    wide = {"u1": "<u2", "<u2": "<u4", "i1": "<i2"}
    objects = {n: (wide.get(t, t), shape) for n, (t, shape) in reversed(layout.level2("HRS_ELC_ALL").items())}
    other = raw_write.write_product(
        tmp_path / "other", path.stem, objects, [({n: columns[n] for n in objects}, 6)], raw_write.LEVEL_2, {}
    )
    assert other.with_suffix(".DAT").stat().st_size == 6 * layout.row_bytes(objects)
    one, two = (raw.read_electrons([raw.open_level2(p, CLOCK)], None, CLOCK) for p in (path, other))
    assert one.equals(two)


def test_times_by_the_comments_of_a_big_clock_step(tmp_path: Path) -> None:
    granule = raw.open_level2(hrs(tmp_path), CLOCK)
    assert granule.id == "jad_l20_hrs_elc_all_2016240"
    assert granule.start == pytest.approx(START[0], abs=1e-4)
    assert granule.stop == pytest.approx(START[-1] + 1.0, abs=1e-4)


def test_ping_and_pong_become_one_record(tmp_path: Path) -> None:
    start = PASS.et + np.array([0.0, 0.0, 0.0, 60.0, 60.0])
    path = ion(tmp_path, start, [3, 3, 4, 3, 3], [0, 1, 1, 2, 3])
    found = raw.read_ions([raw.open_level2(path, CLOCK)], None, CLOCK)
    assert found["species"].values.tolist() == [3, 4, 3]
    assert found["present"].values.tolist() == [[True, True], [False, True], [True, True]]
    _, table, _ = raw.open_table(path)
    np.testing.assert_array_equal(found["code"].values[2, 1], table["DATA"][4])
    assert events(found)["records_unpaired"] == 1


def test_records_repeated_and_damaged_are_counted(tmp_path: Path) -> None:
    path = hrs(tmp_path, START[[0, 1, 1, 2, 3, 4, 5]])
    label = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in label if b"MD5" not in line))
    data = bytearray(path.with_suffix(".DAT").read_bytes())
    size = len(data) // 7
    data[4 * size] ^= 0xFF
    path.with_suffix(".DAT").write_bytes(bytes(data[:-10]))
    found = raw.read_electrons([raw.open_level2(path, CLOCK)], None, CLOCK)
    assert found.sizes["et"] == 2
    # The record before one that does not begin as it should, or that is cut short, is not sound either.
    told = events(found)
    assert (told["records_repeated"], told["records_damaged"], told["records_truncated"]) == (1, 3, 1)


def test_unset_issues_mark_no_record(tmp_path: Path) -> None:
    path = hrs(tmp_path, ISSUES=np.array([0, 0xFFFFFFFF, 0, 0, 0, 0], np.uint32))
    assert raw.read_electrons([raw.open_level2(path, CLOCK)], None, CLOCK).sizes["et"] == 5


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("/* RJW, SYNC, I, 1, 1 */", "/* RJW, SYNC, H, 1, 1 */", "RJW comments say"),
        ("/* RJW, DPID_COUNT, B, 1, 1 */", "/* RJW, DPID_CUONT, B, 1, 1 */", "no column"),
        ("/* RJW, BYTES_PER_RECORD, 3343 */", "/* RJW, BYTES_PER_RECORD, 3344 */", "bytes per record"),
        ("= ISSUES", "= ISSUEX", "no such column|no column"),
        ("LSB_UNSIGNED_INTEGER", "LSB_UNSIGNED_INTEGEX", "data type"),
    ],
)
def test_labels_that_contradict_are_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = hrs(tmp_path)
    text = path.read_text("ascii")
    assert old in text
    path.write_text(text.replace(old, new), "ascii")
    with pytest.raises(InputError, match=reason):
        raw.open_level2(path, CLOCK)


def test_a_file_without_a_sound_record_is_refused(tmp_path: Path) -> None:
    path = hrs(tmp_path, SYNC=0)
    with pytest.raises(InputError, match="none of 6 records is sound"):
        raw.open_level2(path, CLOCK)


def test_another_shape_of_data_is_refused(tmp_path: Path) -> None:
    path = ion(tmp_path, [PASS.et], [3], [0])
    other = path.with_name(path.name.replace("LRS_ION_ANY", "LRS_ELC_ANY"))
    other.write_text(path.read_text("ascii").replace(f"{path.stem}.DAT", f"{other.stem}.DAT"), "ascii")
    path.with_suffix(".DAT").rename(other.with_suffix(".DAT"))
    granule = raw.open_level2(other, CLOCK)
    with pytest.raises(InputError, match="DATA is"):
        raw.read_electrons([granule], None, CLOCK)


@pytest.mark.parametrize(("kind", "read"), [("HLC_ION_TOF", raw.read_tof), ("HLS_ION_LOG", raw.read_logicals)])
def test_times_of_flight_and_logicals_are_read_as_written(tmp_path: Path, kind: str, read) -> None:
    shape = layout.KINDS[kind].shape
    data = RNG.integers(0, 256, (6, *shape))
    own = {"DATA": data, "ACCUMULATION_TIME": 1, "PACKET_MODE": 1, "PACKET_SPECIES": 9}
    granule = raw.open_level2(raw_write.write_level2(tmp_path, kind, START, own, CLOCK), CLOCK)
    found = read([granule], Span(START[1], START[5]), CLOCK)
    np.testing.assert_array_equal(found["code"].values, data[1:5])
    assert found["code"].dims == ("et", "energy", "bin")


# Level 3


@pytest.mark.parametrize(
    ("kind", "version", "size"),
    [("LRS_ION_ANY", 2, 259_872), ("LRS_ELC_ANY", 3, 160_036), ("HLS_ION_LOG", 4, 45_120)],
)
def test_record_sizes_are_the_archives(kind: str, version: int, size: int) -> None:
    """259 872 bytes of ions in V02, data from byte 289, energies from byte 80 161 on; 160 036 of electrons in V03."""
    objects = layout.level3(kind, version)
    assert layout.row_bytes(objects) == layout.RECORD_BYTES[kind, version] == size
    names = list(objects)
    before = {n: layout.row_bytes({k: objects[k] for k in names[: names.index(n)]}) for n in names}
    assert before["PACKET_SPECIES"] == 65
    assert before["SC_POS_R"] == (88 if version == 4 else 76)
    if kind == "LRS_ION_ANY":
        assert (before["DATA"], before["DIM1_E"]) == (288, 80_160)
    if kind == "HLS_ION_LOG":
        assert (before["DATA"], layout.row_bytes(objects) - before["DATA"]) == (320, 7 * 64 * 25 * 4)


def test_version_4_has_its_position_later() -> None:
    objects = layout.level3("HRS_ELC_ALL", 4)
    names = list(objects)
    assert layout.row_bytes({k: objects[k] for k in names[: names.index("SC_POS_R")]}) == 88
    assert names[-1] == "MAG_VECTOR"


def level3_columns(n: int) -> dict[str, object]:
    cube = RNG.uniform(1.0, 100.0, (n, 64, 48)).astype(np.float32)
    utc = [b"2016-240T12:50:%02d.500" % k for k in range(n)]
    return {
        "DIM0_UTC": np.array([t[:21] for t in utc]), "DATA_UNITS": 2, "PACKET_MODE": 2, "ACCUMULATION_TIME": 1,
        "SOURCE_BACKGROUND": 1, **{name: cube + k for k, name in enumerate(layout.ARRAYS)},
        "MAG_VECTOR": np.array([[1.0, 2.0, 3.0]] * (n - 1) + [[9_990_000.0] * 3]),
    }  # fmt: skip


@pytest.mark.parametrize("version", [1, 4])
def test_level_3_is_read_as_written(tmp_path: Path, version: int) -> None:
    """The field of version 01 was despun with a wrong clock: it is left out, and said so."""
    columns = level3_columns(3)
    written = raw_write.write_level3(tmp_path, "HRS_ELC_ALL", "2016240", columns, 3, version=4)
    path = written
    if version == 1:
        path = written.with_name(written.name.replace("_V04", "_V01"))
        path.write_text(written.read_text("ascii").replace("_V04", "_V01"), "ascii")
        written.with_suffix(".DAT").rename(path.with_suffix(".DAT"))
    granule = level3.open_level3(path, CLOCK)
    assert granule.version == version
    found = level3.read_electrons([granule], None, CLOCK)
    np.testing.assert_array_equal(found["rate"].values.astype(np.float32), columns["DATA"])
    np.testing.assert_array_equal(found["rate_sigma"].values.astype(np.float32), columns["DATA_SIGMA"])
    np.testing.assert_array_equal(found["azimuth"].values.astype(np.float32), columns["DIM2_AZIMUTH_DESPUN"])
    assert found["mag_wrong"].values.all() == (version == 1)
    known = np.isfinite(found["mag_vector"].values).all(axis=1)
    assert known.tolist() == ([False] * 3 if version == 1 else [True, True, False])


@pytest.mark.parametrize("version", [3, 4])
def test_rates_go_to_level_3_and_come_back(loop: Loop, tmp_path: Path, version: int) -> None:
    rate = loop.products["jade.electron_rate"].isel(et=slice(4, 30))
    edges = chain.energies(tables()["energy_electrons"])[1]
    labels = level3_write.write_electrons(tmp_path, rate, loop.scene.geometry, edges, version=version)
    assert [p.name[8:19] for p in labels] == ["HRS_ELC_ALL", "LRS_ELC_ANY"]
    size = labels[1].with_suffix(".DAT").stat().st_size // int((rate["mode"].values == 1).sum())
    assert size == (160_036 if version == 3 else layout.row_bytes(layout.level3("LRS_ELC_ANY", 4)))
    found = level3.read_electrons([level3.open_level3(p, CLOCK) for p in labels], None, CLOCK)
    back = called(
        archive.electron_rate_from_archive, tables(), raw=found, geometry=loop.scene.geometry, span=loop.scene.span
    )
    np.testing.assert_allclose(back["et"].values, rate["et"].values, atol=1e-3)
    for name in ("rate", "rate_random", "background", "energy_per_charge", "exposure"):
        np.testing.assert_allclose(back[name].values, rate[name].values, rtol=1e-6, atol=1e-6, err_msg=name)
    missing = np.isnan(back["rate"].values)
    np.testing.assert_array_equal(missing, np.isnan(rate["rate"].values))
    turned = (back["azimuth_despun"].values - rate["azimuth_despun"].values + 180.0) % 360.0 - 180.0
    assert np.abs(turned).max() < 0.2  # half a step of energy later
    _, table = level3.open_table(labels[0])
    np.testing.assert_allclose(table["SC_SPIN_PERIOD"], 30.0, rtol=1e-3)
    axes = table["J2000_TO_JSSRTP"].reshape(-1, 3, 3).astype(float)
    np.testing.assert_allclose(axes @ np.swapaxes(axes, 1, 2), np.broadcast_to(np.eye(3), axes.shape), atol=1e-6)
    position = table["SC_POS_JUPITER_J2000XYZ"].astype(float)
    along = np.einsum("nij,nj->ni", axes, position) / 71492.0
    np.testing.assert_allclose(along[:, 0], table["SC_POS_R"], rtol=1e-5)
    np.testing.assert_allclose(along[:, 1:], 0.0, atol=1e-6)
    check.check(
        check.finish(
            add_context(back, ELECTRON_RATE, loop.scene.geometry, CLOCK), ELECTRON_RATE, INSTRUMENT.flags, {}
        ), ELECTRON_RATE, INSTRUMENT.flags,
    )  # fmt: skip


@pytest.mark.parametrize("version", [2, 3, 4])
def test_ion_rates_go_to_level_3_and_come_back(loop: Loop, tmp_path: Path, version: int) -> None:
    rate = loop.products["jade.ion_rate"].isel(record=slice(3, 15))
    known = tables()
    edges, look = chain.energies(known["energy_ions"])[1], looks.ion_looks(known["look_ions"])
    (path,) = level3_write.write_ions(tmp_path, rate, loop.scene.geometry, look, edges, (0.5, 0.25), version=version)
    assert path.parent.parts[-2:] == ("2016240", "ION_SPECIES")
    size = path.with_suffix(".DAT").stat().st_size / rate.sizes["record"]
    assert size == {2: 259_872, 3: 259_876, 4: 259_894}[version]
    granule = level3.open_level3(path, CLOCK)
    assert granule.format == "jade.l30_ions"
    found = level3.read_ions([granule, granule], None, CLOCK)
    assert events(found)["records_repeated"] == rate.sizes["record"]
    inputs = {"raw": found, "geometry": loop.scene.geometry, "span": loop.scene.span}
    back = called(archive.ion_rate_from_archive, known, **inputs)
    np.testing.assert_allclose(back["et"].values, rate["et"].values, atol=1e-3)
    np.testing.assert_array_equal(back["species"].values, rate["species"].values)
    # The text of a time has milliseconds; a view may fall into the next look.
    for name in ("rate", "rate_random", "energy_per_charge", "azimuth_despun", "elevation"):
        np.testing.assert_allclose(back[name].values, rate[name].values, rtol=1e-6, atol=1e-6, err_msg=name)
    both = np.isfinite(rate["rate"].values)
    np.testing.assert_array_equal((back["quality"].values & np.uint32(1)) == 0, both)
    np.testing.assert_allclose(
        back["rate_systematic"].values[both], rate["rate_systematic"].values[both], rtol=0.02, err_msg="systematic"
    )
    swapped = found.assign(azimuth=found["azimuth"].roll(look=1), elevation=found["elevation"].roll(look=1))
    other = called(archive.ion_rate_from_archive, known, **inputs | {"raw": swapped})
    assert ((other["quality"].values & np.uint32(1 << 1)) != 0).any(axis=(0, 1)).all()
    done = check.finish(add_context(back, ION_RATE, loop.scene.geometry, CLOCK), ION_RATE, INSTRUMENT.flags, {})
    check.check(done, ION_RATE, INSTRUMENT.flags)


@pytest.mark.parametrize("simulated", [True, False])
def test_level_3_of_a_pass_is_written_in_blocks(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: bool
) -> None:
    """As `archive --format pds3` does it: the same bytes in blocks of seven records as at once."""
    rates = {n: loop.products[n] for n in ("jade.electron_rate", "jade.ion_rate")}
    known = {f"jade.{n}": t for n, t in tables().items()}
    scene = loop.scene
    written = {}
    for size in (7, 1000):
        monkeypatch.setattr(level3_write, "BLOCK", size)
        given = Legacy(rates, {}, known, scene.geometry, CLOCK, scene.pass_, tmp_path / str(size), simulated)
        written[size] = level3_write.write_level_3(given)
    assert sorted({p.name[:19] for p in written[7]}) == [
        "JAD_L30_HRS_ELC_ALL",
        "JAD_L30_LRS_ELC_ANY",
        "JAD_L30_LRS_ION_ANY",
    ]
    for one, other in zip(written[7], written[1000], strict=True):
        for suffix in (".LBL", ".DAT"):
            assert one.with_suffix(suffix).read_bytes() == other.with_suffix(suffix).read_bytes()
        assert level3.open_level3(one, CLOCK).meta["simulated"] == simulated
    found = level3.read_electrons([level3.open_level3(p, CLOCK) for p in written[7][:2]], None, CLOCK)
    np.testing.assert_allclose(found["rate"].values, rates["jade.electron_rate"]["rate"].values, rtol=1e-6)
    archived = Legacy(rates, {}, {}, scene.geometry, CLOCK, scene.pass_, tmp_path, simulated)
    assert level3_write.write_level_3(archived) == []


def test_two_sensors_are_two_of_three(tmp_path: Path) -> None:
    cube = level3_columns(2)
    columns = {n: v[:, :, :32] if getattr(v, "ndim", 0) == 3 else v for n, v in cube.items()}
    columns["MCP_VOLTAGE"] = np.array([[2500.0, 2510.0]] * 2)
    path = raw_write.write_level3(tmp_path, "HRS_ELC_TWO", "2016240", columns, 2, version=4)
    found = level3.read_electrons([level3.open_level3(path, CLOCK)], None, CLOCK)
    np.testing.assert_array_equal(found["rate"].values[:, :, :32].astype(np.float32), columns["DATA"])
    assert np.isnan(found["rate"].values[:, :, 32:]).all()
    np.testing.assert_array_equal(found["mcp_voltage"].values[0], [2500.0, 2510.0, 0.0])


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [("DATA_UNITS", 6, "counts per second"), ("PACKET_MODE", 1, "modes of code"), ("ACCUMULATION_TIME", 0, "without")],
)
def test_level_3_that_contradicts_itself_is_refused(tmp_path: Path, column: str, value: int, reason: str) -> None:
    columns = level3_columns(2) | {column: value}
    path = raw_write.write_level3(tmp_path, "HRS_ELC_ALL", "2016240", columns, 2, version=4)
    with pytest.raises(InputError, match=reason):
        level3.open_level3(path, CLOCK)


# Segments


def test_rates_in_segments_are_the_whole(loop: Loop) -> None:
    whole = loop.products["jade.electron_rate"]
    found = granules(loop.folder, "ELC")
    edges = np.floor(loop.scene.span.start / 60.0) * 60.0 + 60.0 * np.arange(12)
    for start in edges[4:8]:
        span = Span(start, start + 60.0)
        reach = span.pad(4.0)
        near = [g for g in found if g.start < reach.stop and g.stop > reach.start]
        part = electron_rate(raw.read_electrons(near, reach, CLOCK), loop.scene, span=span)
        inside, own = (span.contains(d["et"].values) for d in (whole, part))
        assert own.sum() > 20 or own.sum() == inside.sum()
        for name in ("rate", "rate_random", "counts_expected", "quality", "background"):
            np.testing.assert_array_equal(part[name].values[own], whole[name].values[inside], name)
