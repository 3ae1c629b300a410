"""Images read from EDR, RDR and the public site's image sets, and written again."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from junocam_samples import CLOCK, codes, label

from instruments.junocam import imageset, raw
from instruments.junocam.labels import image_label
from instruments.junocam.raw_write import write_edr, write_imageset, write_rdr
from pipeline.clock import Span, parse_utc
from pipeline.errors import InputError
from pipeline.formats.pds3 import read_label

# RGB, methane with its read-out moved, red and blue, summed, cut short as JNCR_2019360_24C00039 is.
IMAGES = {
    "rgb": label(),
    "methane": label(("METHANE",), frames=3, id="JNCE_2021052_32M00055", centres={"METHANE": 405.48}),
    "red_blue": label(("BLUE", "RED"), id="JNCE_2021052_32T00056", mode="LIN8"),
    "summed": label(("METHANE",), frames=3, summing=2, id="JNCE_2021052_32M00057"),
    "truncated": label(lines=672),
}


@pytest.mark.parametrize("name", IMAGES)
def test_edr_comes_back(name: str, tmp_path: Path) -> None:
    described = IMAGES[name]
    strip = codes(described)
    path = write_edr(tmp_path, described, strip, CLOCK)
    assert path.relative_to(tmp_path).as_posix() == f"DATA/EDR/JUPITER/ORBIT_32/{described.id}_V01.LBL"
    granule = raw.open_edr(path, CLOCK)
    data = raw.read_edr([granule], None, CLOCK)
    height = 128 // described.summing
    lines = int(data["lines_there"].sum())
    np.testing.assert_array_equal(data["value"].values.reshape(-1, described.samples)[: described.lines], strip)
    assert lines == described.lines
    assert data.sizes == {"framelet": -(-described.lines // height), "line": height, "sample": described.samples}
    order = [described.filters[k % len(described.filters)] for k in range(data.sizes["framelet"])]
    assert data["filter"].values.tolist() == order
    assert image_label(read_label(path), "E", CLOCK).centres == described.centres
    et = data["et"].values
    assert ((et >= granule.start) & (et < granule.stop)).all()


def test_image_sets_give_the_same_as_edr(tmp_path: Path) -> None:
    described = IMAGES["rgb"]
    strip = codes(described)
    edr = raw.read_edr([raw.open_edr(write_edr(tmp_path, described, strip, CLOCK), CLOCK)], None, CLOCK)
    granule = imageset.open_imageset(write_imageset(tmp_path, described, strip, CLOCK, 10124), CLOCK)
    assert granule.id == "JNCE_2021052_32C00054"
    site = imageset.read_imageset([granule], None, CLOCK)
    assert site.identical(edr) or site.attrs == pytest.approx(edr.attrs, nan_ok=True)
    np.testing.assert_array_equal(site["value"], edr["value"])


@pytest.mark.parametrize(
    ("line", "state", "seconds"),
    [
        ("JNCE_2021052_32C00054_V01, 3.5", "corrected", 3.5 / 311.2),
        ('"JNCE_2021052_32C00054_V01.IMG"  2021-052T18:29:46.903  -1.25 ', "corrected", -1.25 / 311.2),
        ("JNCE_2021052_32C00054_V01,0.0,", "not needed", 0.0),
        ("JNCE_2021052_32C00054_V01 NULL", "undetermined", np.nan),
        ("JNCE_2021052_32C00055_V01 3.5", "not listed", np.nan),
        (None, "no list", np.nan),
    ],
)
def test_offsets_the_archive_has_applied_are_told_and_not_applied_again(
    tmp_path: Path, line: str | None, state: str, seconds: float
) -> None:
    described = label()
    path = write_edr(tmp_path, described, codes(described), CLOCK)
    if line:
        (tmp_path / "EXTRAS").mkdir()
        (tmp_path / "EXTRAS" / "EDR_TIMING_OFFSETS.TXT").write_text(f"PRODUCT_ID OFFSET\n{line}\n")
    granule = raw.open_edr(path, CLOCK)
    assert ("timing" in granule.files) == (line is not None)
    data = raw.read_edr([granule], None, CLOCK)
    assert data.attrs["timing_state"] == state
    assert data.attrs["timing_offset"] == pytest.approx(seconds, nan_ok=True)
    assert data["et_start"].values[0] == pytest.approx(described.frame_start(0), abs=1e-6)


def test_a_line_of_offsets_that_is_none_is_refused(tmp_path: Path) -> None:
    described = label()
    path = write_edr(tmp_path, described, codes(described), CLOCK)
    (tmp_path / "EXTRAS").mkdir()
    (tmp_path / "EXTRAS" / "EDR_TIMING_OFFSETS.TXT").write_text("\nJNCE_2021052_32C00054_V01 soon\n")
    with pytest.raises(InputError, match="line 2: 'soon' is neither a number of pixels nor NULL"):
        raw.read_edr([raw.open_edr(path, CLOCK)], None, CLOCK)


def test_frames_are_timed_by_the_instrument_kernel(tmp_path: Path) -> None:
    described = label(frames=3)
    data = raw.read_edr([raw.open_edr(write_edr(tmp_path, described, codes(described), CLOCK), CLOCK)], None, CLOCK)
    start = parse_utc("2021-02-21T18:29:46.903") + 0.06188 + np.repeat([0, 1, 2], 3) * 0.371
    np.testing.assert_allclose(data["et_start"], start, rtol=0, atol=1e-6)
    np.testing.assert_allclose(data["et"], start + 0.0016, rtol=0, atol=1e-6)


def test_only_the_span_s_framelets_are_read(tmp_path: Path) -> None:
    described = label(frames=5, lines=5 * 384 - 200)
    granule = raw.open_edr(write_edr(tmp_path, described, codes(described), CLOCK), CLOCK)
    whole = raw.read_edr([granule], None, CLOCK)
    middle = whole["et"].values[6]
    parts = [raw.read_edr([granule], Span(a, b), CLOCK) for a, b in ((granule.start, middle), (middle, granule.stop))]
    assert [p.sizes["framelet"] for p in parts] == [6, 8]
    for name in ("value", "lines_there", "et", "filter", "frame"):
        np.testing.assert_array_equal(np.concatenate([p[name].values for p in parts]), whole[name].values)


def test_rdr_is_read_most_significant_byte_first(tmp_path: Path) -> None:
    described = IMAGES["rgb"]
    values = np.random.default_rng(1).integers(0, 15000, (described.lines, described.samples), np.uint16)
    granule = raw.open_rdr(write_rdr(tmp_path, described, values, CLOCK), CLOCK)
    assert granule.id == described.id
    data = raw.read_rdr([granule], None, CLOCK)
    np.testing.assert_array_equal(data["value"].values.reshape(values.shape), values)
    assert data.attrs["mode"] is None
    assert "linear" in data.attrs["label_corrections"]


def test_without_utc_the_clock_tells_the_time(tmp_path: Path) -> None:
    described = label()
    path = write_edr(tmp_path, described, codes(described), CLOCK)
    text = path.read_text()
    by_utc = image_label(read_label(path), "E", CLOCK)
    path.write_text(text.replace("2021-02-21T18:29:46.903", '"N/A"'))
    by_clock = image_label(read_label(path), "E", CLOCK)
    assert by_clock.start == pytest.approx(by_utc.start, abs=1 / 256)
    assert abs(by_utc.clock_difference) < 1 / 256
    assert np.isnan(by_clock.clock_difference)


WRONG = {
    "FILTER_NAME": ("(BLUE, GREEN, RED)", "(BLUE, INFRARED)", "INFRARED"),
    "SAMPLE_BIT_MODE_ID": ("SQROOT", "CUBE", "CUBE"),
    "EXPOSURE_DURATION": ("3.2 <ms>", "3.2 <s>", "ms"),
    "LINE_SAMPLES": ("SAMPLING_FACTOR                = 1", "SAMPLING_FACTOR                = 2", "816"),
    "START_TIME": ("2021-02-21T18:29:46.903", "2021-02-31T18:29:46.903", "day"),
    "INSTRUMENT_ID": ("JNC\n", "JIR\n", "JNC"),
    "SOLAR_DISTANCE": ("SOLAR_DISTANCE ", "SOLAR_DISTANCES", "missing"),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_label_is_refused_by_its_keyword(key: str, tmp_path: Path) -> None:
    described = label()
    path = write_edr(tmp_path, described, codes(described), CLOCK)
    lines = "\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n"
    old, new, reason = WRONG[key]
    assert old in lines
    path.write_text(lines.replace(old, new))
    with pytest.raises(InputError, match=reason) as caught:
        raw.open_edr(path, CLOCK)
    assert caught.value.place == key


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    described = label()
    path = write_edr(tmp_path, described, codes(described), CLOCK)
    data = path.with_suffix(".IMG")
    data.write_bytes(data.read_bytes()[:-1648])
    with pytest.raises(InputError, match="bytes; 768 lines"):
        raw.open_edr(path, CLOCK)


def test_a_changed_image_is_refused(tmp_path: Path) -> None:
    described = label()
    path = write_edr(tmp_path, described, codes(described), CLOCK)
    data = path.with_suffix(".IMG")
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(bytes(content))
    with pytest.raises(InputError, match="MD5"):
        raw.read_edr([raw.open_edr(path, CLOCK)], None, CLOCK)


def test_a_picture_without_its_json_is_refused(tmp_path: Path) -> None:
    described = label()
    path = write_imageset(tmp_path, described, codes(described), CLOCK, 7)
    metadata = tmp_path / "metadata" / "7.json"
    document = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**document, "PRODUCT_ID": "JNCE_2021052_32C00099_V01"}))
    with pytest.raises(InputError, match="no JSON"):
        imageset.open_imageset(path, CLOCK)
    metadata.write_text(json.dumps({**document, "LINES": 640}))
    with pytest.raises(InputError, match="1648 x 768 pixels"):
        imageset.open_imageset(path, CLOCK)
    metadata.write_text("[1, 2")
    with pytest.raises(InputError, match="no JSON"):
        imageset.open_imageset(path, CLOCK)


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    described = label()
    path = write_imageset(tmp_path, described, codes(described), CLOCK, 7)
    granule = imageset.open_imageset(path, CLOCK)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(InputError, match="PNG"):
        imageset.read_imageset([granule], None, CLOCK)


def test_flipped_bits_of_a_picture_are_noticed(tmp_path: Path) -> None:
    """Without its checksums every other one would be decoded to other codes."""
    described = label()
    strip = (np.arange(described.lines * described.samples) // 50).astype(np.uint8).reshape(described.lines, -1)
    path = write_imageset(tmp_path, described, strip, CLOCK, 7)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(len(content), size=40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :])
        with pytest.raises(InputError, match=r"PNG|pixels"):
            imageset.read_imageset([imageset.open_imageset(path, CLOCK)], None, CLOCK)


def test_no_garbage_in_a_label_does_harm(tmp_path: Path) -> None:
    """Whatever is wrong, it is refused with a reason or read; nothing else is raised."""
    described = label(frames=1)
    path = write_edr(tmp_path, described, codes(described), CLOCK)
    text, rng = path.read_text(), np.random.default_rng(0)
    pieces = ["", "NULL", "(", "-1", "1e400", '"N/A"', "((1, 2), 3)", "9" * 30, "<km>", "TRUE", "2021-13-41T99:99:99"]
    lines = text.splitlines()
    outcomes = set()
    for _ in range(120):
        k = int(rng.integers(len(lines)))
        key, _, _ = lines[k].partition("=")
        changed = [*lines[:k], f"{key}= {rng.choice(pieces)}", *lines[k + 1 :]]
        path.write_text("\n".join(changed) + "\n")
        try:
            raw.read_edr([raw.open_edr(path, CLOCK)], None, CLOCK)
            outcomes.add("read")
        except InputError as error:
            outcomes.add("refused" if str(tmp_path) in str(error) else str(error))
    assert outcomes == {"read", "refused"}


@pytest.mark.real
def test_real_labels(real_data: Path) -> None:
    edr = image_label(read_label(real_data / "junocam" / "JNCE_2017038_04C00586_V01.LBL"), "E", CLOCK)
    assert (edr.orbit, edr.number, edr.mode, edr.tdi_stages) == (4, 586, "SQROOT", 1)
    assert abs(edr.clock_difference) < 4e-3  # inside the clock's coefficients; UTC is given in ms, the count in 1/256 s
    assert np.isnan(edr.temperature)
    rdr = image_label(read_label(real_data / "junocam" / "JNCR_2024134_61T00209_V01.LBL"), "R", CLOCK)
    assert rdr.filters == ("BLUE", "RED")
    assert rdr.mode is None
    assert rdr.temperature == 318.1


@pytest.mark.real
def test_real_image_sets(real_data: Path) -> None:
    folder = real_data / "junocam" / "imagesets"
    granules = {p.name[:21]: imageset.open_imageset(p, CLOCK) for p in folder.rglob("*-raw.png")}
    assert {n: g.meta["lines"] for n, g in granules.items()} == {
        "JNCE_2022186_43C00078": 4608,
        "JNCE_2022186_43M00081": 1536,
        "JNCE_2022229_44C00030": 7680,
    }
    # START_TIME against the clock kernel of 2019, extrapolated: corrections to the facts, 5.
    assert granules["JNCE_2022186_43C00078"].meta["clock_difference"] == pytest.approx(-1.558, abs=2e-3)
    data = imageset.read_imageset([granules["JNCE_2022186_43M00081"]], None, CLOCK)
    assert set(data["filter"].values) == {"METHANE"}
    assert data["value"].values[..., :23].mean() < 1.0  # dark columns


@pytest.mark.real
def test_stop_times_of_real_labels_follow_from_frames_and_delay(real_data: Path) -> None:
    """STOP_TIME is START_TIME and frames times INTERFRAME_DELAY, without the kernel's millisecond."""
    for path in sorted((real_data / "junocam" / "imagesets" / "metadata").glob("*.json")):
        label = imageset.read_metadata(path)
        described = image_label(label, "E", CLOCK)
        frames = described.framelets / len(described.filters)
        stop = parse_utc(label["STOP_TIME"]) - described.start
        assert stop == pytest.approx(frames * described.interframe, abs=1.5e-3), path.name
        assert replace(described, version=2).stop == described.stop
