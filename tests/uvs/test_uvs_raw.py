"""The EDR: what is written is read, by whom it may, and what a damaged one says."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).parent))
from uvs_world import CLOCK, PASS, Loop, looped

from instruments.uvs import raw, raw_write
from pipeline.clock import TICKS, Span
from pipeline.errors import InputError
from pipeline.formats.pds3 import read_label

NAME = "UVS_S01_525573236_2016240_P01OBS_V01.FIT"
START = 525573236
FRAMES, HACKS, PERIOD = 4, 100, 0.01


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of a second with a hundred events each."""
    path = tmp_path_factory.mktemp("edr") / NAME
    raw_write.write_edr(path, small_tables(), {"MODE": "PIXLIST"}, {"LA": (0, 2047, 0, 255)}, CLOCK, simulated=True)
    return path


def small_tables(seed: int = 1) -> dict[int, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    rows: dict[str, list[np.ndarray]] = {"TYPE": [], "X": [], "Y": [], "PULSE_HEIGHT": []}
    for _ in range(FRAMES):
        hack = np.sort(rng.integers(0, HACKS, 100))
        block = raw_write.hacked(
            rng.integers(0, 2048, 100).astype(np.int16), rng.integers(0, 256, 100).astype(np.uint8),
            rng.integers(0, 32, 100).astype(np.uint8), hack, HACKS,
        )  # fmt: skip
        for name, value in block.items():
            rows[name].append(value)
    clock = {"SCLK_SECONDS": START + np.arange(FRAMES), "SCLK_SUBSECONDS": np.full(FRAMES, 32768)}
    each = np.full(FRAMES, 200)
    frames = clock | {
        "DURATION": np.full(FRAMES, 1.0), "HACK_PERIOD": np.full(FRAMES, PERIOD), "FIRST_ROW": np.cumsum(each) - each,
        "ROWS": each, "EVENTS": each // 2, "SPIN_PHASE": np.zeros(FRAMES), "MODE": np.full(FRAMES, b"PIXLIST"),
        "FRAME_QUALITY": np.zeros(FRAMES, int),
    }  # fmt: skip
    counts = clock | {"INTERVAL": np.full(FRAMES, 1.0), "COUNTS": np.full(FRAMES, 101)}
    return {
        raw.FRAMES: frames, raw.EVENTS: {n: np.concatenate(v) for n, v in rows.items()},
        raw.MIRROR: clock | {"ANGLE": np.linspace(-30, 30, FRAMES)}, raw.ANALOG: counts,
        raw.DIGITAL: counts | {"COUNTS": each // 2},
        raw.HOUSEKEEPING: clock
        | {"DETECTOR_TEMPERATURE": np.full(FRAMES, -8.0), "HIGH_VOLTAGE": np.full(FRAMES, 4200.0)},
    }  # fmt: skip


def read(path: Path, span: Span | None = None):  # type: ignore[no-untyped-def]
    return raw.read_edr([raw.open_edr(path, CLOCK)], span, CLOCK)


def test_what_is_written_is_read(small: Path) -> None:
    tables, got = small_tables(), read(small)
    events = tables[raw.EVENTS]
    here = events["TYPE"] == raw.EVENT
    for name, column in (("x", "X"), ("y", "Y"), ("pulse_height", "PULSE_HEIGHT")):
        np.testing.assert_array_equal(got[name].values, events[column][here])
    np.testing.assert_array_equal(got["number"].values, np.flatnonzero(here))
    np.testing.assert_array_equal(got["digital_counts"].values, tables[raw.DIGITAL]["COUNTS"])
    np.testing.assert_allclose(got["mirror_angle"].values, np.linspace(-30, 30, FRAMES))
    # each event at the middle of the hack whose row stands before it
    counter = np.repeat(np.nan, len(here))
    counter[~here] = events["X"][~here]
    for i in range(1, len(counter)):
        counter[i] = counter[i - 1] if np.isnan(counter[i]) else counter[i]
    frame = np.arange(len(here)) // 200
    tags = (START + frame) * TICKS + 32768
    expected = CLOCK.to_et(CLOCK.encode(tags)) + (counter + 0.5) * PERIOD
    np.testing.assert_allclose(got["et"].values, expected[here], atol=1e-6)
    assert raw.open_edr(small, CLOCK).meta["simulated"]


def test_bytes_are_as_the_standard_has_them(small: Path) -> None:
    """Twelve parts of whole 2880-byte records, big-endian, where the label points."""
    label, size = read_label(small.with_suffix(".LBL")), small.stat().st_size
    assert size % 2880 == 0
    assert label["FILE_RECORDS"] * 2880 == size
    assert label["DATA_SET_ID"] == "JNO-J-UVS-2-EDR-V1.0"
    path, offset = label.pointer("RAW_FRAME_TABLE")
    row = np.dtype([("type", "u1"), ("x", ">i2"), ("y", "u1"), ("height", "u1")])
    block = np.fromfile(path, row, FRAMES * 200, offset=offset)
    np.testing.assert_array_equal(block["x"], small_tables()[raw.EVENTS]["X"])
    names = [k[1:] for k in label if k.startswith("^") and k.endswith("_HEADER")]
    assert names == [f"{n}_HEADER" for n, _ in raw.PARTS]
    with fits.open(small) as parts:
        parts.verify("exception")
        assert [p.header["EXTNAME"] for p in parts] == [n for n, _ in raw.PARTS]
        assert parts[0].shape == (256, 2048)
        assert parts[0].data.sum() == parts[1].data.sum() == parts[7].data.sum() == FRAMES * 100
        described = label["RAW_FRAME_TABLE"]
        assert described["ROW_BYTES"] == parts[raw.EVENTS].header["NAXIS1"]


def test_pointers_of_the_label_are_not_believed(small: Path, tmp_path: Path) -> None:
    """Start records in labels are known to be wrong: parts are found by their index."""
    shutil.copy(small, tmp_path)
    text = small.with_suffix(".LBL").read_text()
    wrong = re.sub(r"(\.FIT\"?, *\r?\n? *)(\d+)\)", r"\g<1>1\2)", text)
    assert wrong != text
    (tmp_path / NAME).with_suffix(".LBL").write_text(wrong)
    np.testing.assert_array_equal(read(tmp_path / NAME)["x"].values, read(small)["x"].values)


def test_a_span_reads_what_the_whole_holds_there(loop: Loop) -> None:
    whole, start = loop.raw, float(loop.raw["frame_et"].values[0])
    for a, b in ((3.3, 25.1), (20.0, 20.01), (60.0, 200.0)):
        span = Span(start + a, start + b)
        part = raw.read_edr(loop.granules, span, CLOCK)
        inside = span.contains(whole["et"].values)
        for name in ("x", "y", "et", "number"):
            np.testing.assert_array_equal(part[name].values, whole[name].values[inside])
    assert raw.read_edr(loop.granules, Span(start - 50, start - 40), CLOCK).sizes["event"] == 0
    assert raw.read_edr([], None, CLOCK).sizes["event"] == 0


def test_parts_of_an_acquisition_join(tmp_path: Path, small: Path) -> None:
    later = {
        k: {**v, **({"SCLK_SECONDS": v["SCLK_SECONDS"] + 10} if "SCLK_SECONDS" in v else {})}
        for k, v in small_tables(2).items()
    }
    second = tmp_path / NAME.replace("S01", "S02").replace(str(START), str(START + 10))
    raw_write.write_edr(second, later, {}, {}, CLOCK, simulated=False)
    granules = [raw.open_edr(p, CLOCK) for p in (second, small)]
    both = raw.read_edr(granules, None, CLOCK)
    assert both.sizes["event"] == 2 * FRAMES * 100
    assert np.all(np.diff(both["et"].values) >= 0)
    assert [g.meta["simulated"] for g in granules] == [False, True]
    with pytest.raises(InputError, match="overlap"):
        raw.read_edr([granules[1], granules[1]], None, CLOCK)


def test_lost_hacks_are_counted(small: Path, tmp_path: Path) -> None:
    tables = small_tables()
    events, frames = tables[raw.EVENTS], tables[raw.FRAMES]
    lost = np.zeros(len(events["X"]), bool)
    lost[230:260] = events["TYPE"][230:260] == raw.HACK
    tables[raw.EVENTS] = {n: v[~lost] for n, v in events.items()}
    rows = np.array([200, 200 - lost.sum(), 200, 200])
    tables[raw.FRAMES] = frames | {"ROWS": rows, "FIRST_ROW": np.cumsum(rows) - rows}
    raw_write.write_edr(tmp_path / NAME, tables, {}, {}, CLOCK, simulated=True)
    got = read(tmp_path / NAME)
    assert got["hacks_lost"].values.tolist() == [0, lost.sum(), 0, 0]
    later = got["number"].values > 270
    np.testing.assert_array_equal(got["et"].values[later], read(small)["et"].values[later])


# Damage


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 2 * 2880 - 100)


def _cut_to_the_first_part(path: Path) -> None:
    os.truncate(path, 5000)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _without_a_part(path: Path) -> None:
    with fits.open(path) as parts:
        kept = fits.HDUList([p.copy() for i, p in enumerate(parts) if i != 5])
    kept.writeto(path, overwrite=True)


def _parts_in_another_order(path: Path) -> None:
    with fits.open(path) as parts:
        copies = [p.copy() for p in parts]
    copies[2], copies[1] = copies[1], copies[2]
    fits.HDUList(copies).writeto(path, overwrite=True)


def _no_label(path: Path) -> None:
    path.with_suffix(".LBL").unlink()


def _label_of_another_file(path: Path) -> None:
    label = path.with_suffix(".LBL")
    label.write_text(label.read_text().replace(NAME, NAME.replace("S01", "S05")))


def _label_of_an_rdr(path: Path) -> None:
    label = path.with_suffix(".LBL")
    label.write_text(label.read_text().replace("= EDR", "= RDR"))


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(path.stat().st_size))


def _swapped_bytes(path: Path) -> None:
    """The list of frames in the other byte order."""
    with fits.open(path) as parts:
        place = parts[raw.FRAMES].fileinfo()
        size = parts[raw.FRAMES].header["NAXIS1"] * FRAMES
    data = bytearray(path.read_bytes())
    at = slice(place["datLoc"], place["datLoc"] + size)
    data[at] = np.frombuffer(bytes(data[at]), "<u4").astype(">u4").tobytes()
    path.write_bytes(bytes(data))


def _frames_beyond_the_list(path: Path) -> None:
    with fits.open(path, mode="update") as parts:
        parts[raw.FRAMES].data["FIRST_ROW"][3] = 10**9


def _no_frames(path: Path) -> None:
    with fits.open(path, mode="update") as parts:
        parts[raw.FRAMES].data = parts[raw.FRAMES].data[:0]


def _times_back(path: Path) -> None:
    with fits.open(path, mode="update") as parts:
        parts[raw.FRAMES].data["SCLK_SECONDS"][2] -= 5


def _other_histogram(path: Path) -> None:
    with fits.open(path, mode="update") as parts:
        parts[0].data[0, 0] += 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate, "complete|cut short"),
        (_cut_to_the_first_part, "complete|cut short"),
        (_empty, "complete"),
        (_without_a_part, "11 HDUs; an EDR has 12"),
        (_parts_in_another_order, "HDU 1 .*an image is expected"),
        (_no_label, "label is missing"),
        (_label_of_another_file, "describes"),
        (_label_of_an_rdr, "an EDR is expected"),
        (_noise, "complete"),
        (_swapped_bytes, "HDU 2"),
        (_frames_beyond_the_list, "HDU 2 .*row 4.*outside the list"),
        (_no_frames, "no frame"),
        (_times_back, "HDU 2 .*row 3.*do not increase|HDU 2 .*do not increase"),
        (_other_histogram, "histogram holds 401"),
    ],
)
def test_a_damaged_file_is_refused_when_it_is_opened(
    small: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    for path in (small, small.with_suffix(".LBL")):
        shutil.copy(path, tmp_path)
    damage(tmp_path / NAME)
    with pytest.raises(InputError, match=words) as caught:
        raw.open_edr(tmp_path / NAME, CLOCK)
    assert NAME.removesuffix(".FIT") in str(caught.value)


def _set(column: str, row: int, value: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with fits.open(path, mode="update") as parts:
            parts[raw.EVENTS].data[column][row] = value

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_set("TYPE", 0, raw.EVENT), "does not begin with a time hack"),
        (_set("TYPE", 150, 7), "row 151: type 7"),
        (_set("X", 400, 5000), "do not count up|hacks"),
    ],
)
def test_damaged_events_are_refused_when_they_are_read(
    small: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    for path in (small, small.with_suffix(".LBL")):
        shutil.copy(path, tmp_path)
    damage(tmp_path / NAME)
    with pytest.raises(InputError, match=words):
        read(tmp_path / NAME)


def test_flipped_bits_never_crash(small: Path, tmp_path: Path) -> None:
    """A bit flipped anywhere: a clear refusal, or a value that is what the bits say."""
    content, rng = small.read_bytes(), np.random.default_rng(5)
    shutil.copy(small.with_suffix(".LBL"), tmp_path)
    refused = 0
    # the image alone is most of the file
    places = np.concatenate([rng.integers(2_100_000, len(content), 24), rng.integers(0, 2880, 8)])
    for place in places:
        data = bytearray(content)
        data[place] ^= 1 << int(rng.integers(8))
        (tmp_path / NAME).write_bytes(bytes(data))
        try:
            got = read(tmp_path / NAME)
        except InputError:
            refused += 1
        else:
            assert got.sizes["event"] == FRAMES * 100
    assert refused > 0


def test_a_name_that_is_not_the_archive_s(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name is not"):
        raw_write.write_edr(tmp_path / "uvs.fit", small_tables(), {}, {}, CLOCK, simulated=True)


def test_granules_belong_to_their_pass(small: Path) -> None:
    granule = raw.open_edr(small, CLOCK)
    assert granule.id == NAME.removesuffix("_V01.FIT")
    assert granule.version == 1
    assert abs(granule.start - PASS.et) < 1200.0
    assert granule.stop - granule.start == pytest.approx(4.0, abs=1e-4)


def test_what_the_simulator_writes_stands_where_the_archive_has_it(tmp_path: Path) -> None:
    short = looped(tmp_path, -1190.0, 6.0)
    path = next(short.folder.rglob("*.FIT")).relative_to(short.folder)
    assert path.parts[:-1] == ("JNOUVS_2001", "DATA", "ORBIT-01")
    assert raw.NAME.fullmatch(path.name)
