"""The archive's own forms: survey as CSV and as das2 stream, burst records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from loops import CLOCK, PASS, finished
from waves_scene import Loop, call, granules, read, tables

from instruments.waves.burst_files import write_bursts
from instruments.waves.layout import FREQUENCY_B, FREQUENCY_E, frequencies
from instruments.waves.schemas import RECORD_CLIPPED, SCALAR
from instruments.waves.survey_files import write_csv
from pipeline.clock import TICKS, Span, format_utc
from pipeline.dataset.quality import Quality
from pipeline.errors import InputError

EVERYTHING = Span(-1e12, 1e12)


@pytest.mark.parametrize(("letter", "own"), [("E", FREQUENCY_E), ("B", FREQUENCY_B)])
def test_survey_csv_round_trip(tmp_path: Path, letter: str, own: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    psd = 10.0 ** rng.uniform(-17, -8, (50, own.size))
    psd[3, 5] = np.nan
    psd[4, 6] = 0.0
    et = PASS.et + np.arange(50) * 1.0
    flags = ["0:0:0:0"] * 50
    flags[7] = "0:1:0:0"
    path = tmp_path / f"WAV_2016240T120000_{letter}_V03.CSV"
    write_csv(path, et, CLOCK.to_ticks(et) / TICKS, psd, flags, "made in a test")
    data = read(tmp_path, "waves.survey_csv")
    archived = finished(call("survey_from_csv", {"waves.survey_csv": data, "span": EVERYTHING}), "waves.survey_archive")
    got = archived[f"psd_{letter.lower()}"].values
    good = np.isfinite(psd) & (psd > 0)
    np.testing.assert_allclose(got[good], psd[good], rtol=6e-4)
    assert np.isnan(got[~good]).all()
    assert np.max(np.abs(archived["et"].values - et)) < 6e-4
    bits = archived[f"quality_{letter.lower()}"].values
    assert ((bits & Quality.MISSING) != 0).sum() == 2
    suspect = np.argwhere((bits & Quality.SUSPECT) != 0)
    assert suspect.tolist() == ([[7, k] for k in range(43)] if letter == "E" else [])
    other = archived["psd_b" if letter == "E" else "psd_e"].values
    assert np.isnan(other).all()
    assert granules(tmp_path, "waves.survey_csv")[0].version == 3


def test_electric_and_magnetic_files_join(loop: Loop) -> None:
    data = loop.given["waves.survey_csv"]
    assert np.isfinite(data["psd_b"].values).all()
    cut = read(loop.folder, "waves.survey_csv", Span(PASS.et - 100, PASS.et + 100))
    assert cut.sizes["et"] == 200
    assert cut.sizes["record"] == 400


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.replace("48.83,97.66", "48.83,99.66"), "frequencies"),
        (lambda t: "\r\n".join(t.splitlines()[:5]), "no survey"),
        (lambda t: "\r\n".join([*t.splitlines()[:6], t.splitlines()[6][:200], t.splitlines()[7]]), "no survey"),
        (lambda t: t.replace("2016-240T12", "2016-940T12"), "not readable"),
        (lambda t: "", "no survey"),
    ],
)
def test_damaged_survey_files_are_refused(tmp_path: Path, change: object, reason: str) -> None:
    et = PASS.et + np.arange(3) * 1.0
    path = tmp_path / "WAV_2016240T120000_E_V03.CSV"
    write_csv(path, et, CLOCK.to_ticks(et) / TICKS, np.full((3, 126), 1e-15), ["0:0"] * 3, "made in a test")
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(InputError, match=reason) as error:
        read(tmp_path, "waves.survey_csv")
    assert path.name in str(error.value)


def test_a_last_row_cut_short_is_left_out_and_counted(tmp_path: Path) -> None:
    et = PASS.et + np.arange(3) * 1.0
    path = tmp_path / "WAV_2016240T120000_E_V03.CSV"
    write_csv(path, et, CLOCK.to_ticks(et) / TICKS, np.full((3, 126), 1e-15), ["0:0"] * 3, "made in a test")
    path.write_bytes(path.read_bytes()[:-40])
    data = read(tmp_path, "waves.survey_csv")
    assert data.sizes["et"] == 2
    assert dict(zip(data["event"].values, data["events"].values.sum(axis=0), strict=True))["records_truncated"] == 1


def test_a_row_whose_times_run_apart_is_left_out_and_counted(tmp_path: Path) -> None:
    et = PASS.et + np.arange(5) * 1.0
    path = tmp_path / "WAV_2016240T120000_E_V03.CSV"
    write_csv(path, et, CLOCK.to_ticks(et) / TICKS, np.full((5, 126), 1e-15), ["0:0"] * 5, "made in a test")
    utc = format_utc(et, 3, True)
    path.write_text(path.read_text("ascii").replace(utc[2], f"{utc[2][:9]}03{utc[2][11:]}"), "ascii", newline="")
    data = read(tmp_path, "waves.survey_csv")
    np.testing.assert_allclose(data["et"].values, et[[0, 1, 3, 4]], atol=1e-3)
    assert dict(zip(data["event"].values, data["events"].values.sum(axis=0), strict=True))["records_damaged"] == 1


def test_a_density_with_a_digit_too_many_is_missing(tmp_path: Path) -> None:
    et = PASS.et + np.arange(3) * 1.0
    path = tmp_path / "WAV_2016240T120000_E_V03.CSV"
    write_csv(path, et, CLOCK.to_ticks(et) / TICKS, np.full((3, 126), 1e-15), ["0:0"] * 3, "made in a test")
    path.write_text(path.read_text("ascii").replace("e-15", "e-155", 1), "ascii", newline="")
    data = read(tmp_path, "waves.survey_csv")
    archived = finished(call("survey_from_csv", {"waves.survey_csv": data, "span": EVERYTHING}), "waves.survey_archive")
    assert np.argwhere(np.isnan(archived["psd_e"].values)).tolist() == [[0, 0]]


# das2


def stream(path: Path, receiver: int, values: np.ndarray, units: str = "", factor: float = 1e-3) -> None:
    """A das2 stream of one packet type, one spectrum a second."""
    tags = ",".join(f"{f * factor:.4g}" for f in frequencies(receiver))
    y = {1e-3: "kHz", 1.0: "Hz"}[factor]
    head = '<stream version="2.2"></stream>'
    packet = f'<packet><x type="time24" units="UTC"/><yscan name="v" type="ascii12" zUnits="{units}" yUnits="{y}"'
    packet += f' nitems="{values.shape[1]}" yTags="{tags}"/></packet>'
    out = f"[00]{len(head):06d}{head}[05]{len(packet):06d}{packet}"
    times = format_utc(PASS.et + np.arange(len(values)) + 0.25, 3)
    for time, row in zip(times, values, strict=True):
        out += f":05:{time} " + "".join(f"{v:11.3e} " for v in row)
    path.write_text(out)


def test_codes_of_a_stream(tmp_path: Path) -> None:
    codes = np.tile(np.arange(10, 48.0), (4, 1))
    stream(tmp_path / "a.d2t", 3, codes)
    data = read(tmp_path, "waves.das2_codes")
    assert data["present"].values.tolist() == [[False, False, False, True, False]] * 4
    np.testing.assert_array_equal(data["codes_3"].values, codes)
    assert set(np.diff(data["et"].values).round(6)) == {1.0}
    found = finished(call("survey_from_codes", {"waves.das2_codes": data, "span": EVERYTHING}), "waves.survey")
    psd = found["psd_e"].values
    assert np.isnan(psd[:, :88]).all()
    np.testing.assert_allclose(
        psd[0, 88:], tables()["hfr_high"]["psd"].value[np.arange(38), codes[0].astype(int)], rtol=1e-6
    )


@pytest.mark.parametrize("value", [13.5, 256.0, -1.0])
def test_what_is_no_code_is_refused(tmp_path: Path, value: float) -> None:
    codes = np.full((4, 38), 13.0)
    codes[2, 5] = value
    stream(tmp_path / "a.d2t", 3, codes)
    with pytest.raises(InputError, match=r"no code of 8 bits.*record 2|record 2.*no code of 8 bits"):
        read(tmp_path, "waves.das2_codes")


def test_streams_are_told_apart(tmp_path: Path) -> None:
    stream(tmp_path / "raw.d2t", 3, np.full((2, 38), 13.0))
    stream(tmp_path / "cal.d2t", 1, np.full((2, 18), 1e-15), "V**2 m**-2 Hz**-1", 1.0)
    stream(tmp_path / "other.d2t", 1, np.full((2, 18), 13.0))
    for form, name in (("waves.das2_codes", "raw"), ("waves.das2_survey", "cal")):
        from instruments.waves import INSTRUMENT

        found = INSTRUMENT.format(form)
        found.open(tmp_path / f"{name}.d2t", CLOCK)
        for other in {"raw", "cal", "other"} - {name}:
            with pytest.raises(InputError):
                found.open(tmp_path / f"{other}.d2t", CLOCK)


# Burst records


def captures(magnetic: bool) -> xr.Dataset:
    rng = np.random.default_rng(5)
    kind = np.array([1, 1, 1] if magnetic else [0, 2, 0])
    samples = np.array([6144, 6144, 3000])
    waveform = np.full((3, 6208), np.nan)
    for row, size in zip(waveform, samples, strict=True):
        row[:size] = rng.normal(size=size).astype(np.float32)
    return xr.Dataset(
        {
            "waveform": (("et", "sample"), waveform),
            "samples": ("et", samples),
            "kind": ("et", kind),
            "attenuator": ("et", np.array([0, 1, 0], np.uint8)),
            "clipped_fraction": ("et", np.array([0.0, 0.0, 0.25])),
        },
        coords={"et": PASS.et + np.array([0.0, 7.5, 20.0])},
    )


@pytest.mark.parametrize("magnetic", [False, True])
@pytest.mark.parametrize(("length", "form"), [(24_652, "REC"), (24_908, "BIN"), (24_908, "UNC_REC")])
def test_burst_records_round_trip(tmp_path: Path, magnetic: bool, length: int, form: str) -> None:
    given = captures(magnetic)
    name = f"WAV_2016240T120000_{'B' if magnetic else 'E'}_{form}_V02".replace("_UNC", "UNC")
    write_bursts(tmp_path / f"{name}.LBL", given, CLOCK, length)
    assert (tmp_path / f"{name}.DAT").stat().st_size == 4 * length
    found = read(tmp_path, "waves.rec")
    for key in ("samples", "kind", "attenuator", "clipped_fraction"):
        np.testing.assert_array_equal(found[key].values, given[key].values)
    np.testing.assert_array_equal(found["waveform"].values, given["waveform"].values)
    assert np.max(np.abs(found["et"].values - given["et"].values)) < 6e-4
    step = "archived_low_b" if magnetic else "archived_low_e"
    product = "waves.burst_low_b" if magnetic else "waves.burst_low_e"
    made = finished(call(step, {"waves.rec": found, "span": EVERYTHING}), product)
    assert made.sizes["et"] == (3 if magnetic else 2)
    assert set(made["phase_valid"].values) == {0}
    bits = made["quality"].values
    assert np.all(bits & np.uint32(SCALAR.mask))
    assert np.flatnonzero((bits & np.uint32(RECORD_CLIPPED.mask)).any(axis=1)).tolist() == [made.sizes["et"] - 1]
    assert np.all(np.isnan(made["waveform"].values) == ((bits & Quality.MISSING) != 0))
    late = read(tmp_path, "waves.rec", Span(PASS.et + 5, PASS.et + 10))
    assert late.sizes["et"] == 1


def test_bytes_of_a_burst_record(tmp_path: Path) -> None:
    """The places of the archive's layout, read with struct."""
    import struct

    write_bursts(tmp_path / "WAV_2016240T120000_E_REC_V02.LBL", captures(False), CLOCK, 24_652)
    data = (tmp_path / "WAV_2016240T120000_E_REC_V02.DAT").read_bytes()
    assert struct.unpack_from("<I", data, 0) == (24_652,)
    row = data[24_652 * 2 :]
    assert row[24:47].decode().strip() == format_utc(PASS.et + 7.5, 3, True)
    assert row[52] == 1
    assert struct.unpack_from("<f", row, 64)[0] == np.float32(1 / 375e3)
    assert struct.unpack_from("<I", row, 72) == (6144,)
    assert struct.unpack_from("<f", row, 76)[0] == np.float32(captures(False)["waveform"].values[1, 0])


def test_damaged_burst_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "WAV_2016240T120000_E_REC_V02.LBL"
    write_bursts(path, captures(False), CLOCK, 24_652)
    data = bytearray(path.with_suffix(".DAT").read_bytes())
    many = data.copy()
    many[24_652 + 72 : 24_652 + 76] = (7000).to_bytes(4, "little")
    path.with_suffix(".DAT").write_bytes(many)
    with pytest.raises(InputError, match="more than its record"):
        read(tmp_path, "waves.rec")
    path.with_suffix(".DAT").write_bytes(data[: 24_652 * 2])
    with pytest.raises(InputError, match="bytes"):
        read(tmp_path, "waves.rec")
    path.with_suffix(".DAT").unlink()
    with pytest.raises(InputError):
        read(tmp_path, "waves.rec")
