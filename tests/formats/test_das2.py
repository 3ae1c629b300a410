"""das2 streams: real ones by spot values, the binary and numeric-time forms by hand, and broken ones."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.das2 import read_das2


def chunk(tag: str, xml: str) -> bytes:
    return f"[{tag}]{len(xml):06d}{xml}".encode()


STREAM = chunk("00", '<stream version="2.2"><properties String:title="t" double:zFill="-9"/></stream>\n')
PACKET = chunk(
    "01",
    '<packet><x type="sun_real8" units="us2000"/><y type="little_endian_real4" name="n" units="cm**-3"/>'
    '<yscan name="s" type="sun_real4" nitems="3" yTagMin="10" yTagInterval="5" yUnits="Hz" zUnits="V"/></packet>\n',
)


TEXT = chunk("02", '<packet><x type="time23" units="us2000"/><y type="ascii6"/></packet>')


def record(x: float, y: float, *z: float) -> bytes:
    return b":01:" + struct.pack(">d", x) + struct.pack("<f", y) + struct.pack(">3f", *z)


def write(folder: Path, data: bytes) -> Path:
    (folder / "s.d2s").write_bytes(data)
    return folder / "s.d2s"


def test_binary_planes_and_numeric_times(tmp_path: Path) -> None:
    day = 86400e6
    data = STREAM + PACKET + record(0, 1.5, 1, -9, 3) + record(6210 * day + 0.5, -1e31, 4, -1e38, 6)
    (found,) = read_das2(write(tmp_path, data))
    assert found.time.values.tolist() == [946684800 * 10**9, (946684800 + 6210 * 86400) * 10**9 + 500]
    np.testing.assert_array_equal(found.n, [1.5, np.nan])
    np.testing.assert_array_equal(found.s, [[1, np.nan, 3], [4, np.nan, 6]])
    assert found.s_y.values.tolist() == [10, 15, 20]
    assert (found.s.units, found.s_y.units, found.n.units) == ("V", "Hz", "cm**-3")
    assert (found.title, found.bytes_skipped) == ("t", 0)


def test_a_header_given_anew_begins_a_new_dataset(tmp_path: Path) -> None:
    data = (
        STREAM + PACKET + record(0, 1, 2, 3, 4) + PACKET.replace(b'name="s"', b'name="q"') + record(1, 1, 2, 3, 4) * 20
    )
    first, second = read_das2(write(tmp_path, data))
    assert first.sizes["time"] == 1
    assert second.q.shape == (20, 3)


def test_text_times_with_day_of_year_and_leap_second(tmp_path: Path) -> None:
    rows = [("2016-366T23:59:60.500", 1.5), ("2017-045T12:34:56.789", np.nan), ("2017-01-01T00:00:01Z", -2.0)]
    records = [f":02:{time:<23}{value:>6}".encode() for time, value in rows]
    (found,) = read_das2(write(tmp_path, STREAM + TEXT + b"".join(records)))
    last = np.datetime64("2016-12-31T23:59:59.999999999")  # of the leap second, which datetime64 cannot hold
    new_year = np.datetime64("2017-01-01T00:00:00", "ns")
    assert (found.time.values - new_year).tolist() == [
        (last - new_year).astype(int),
        (44 * 86400 + 45296) * 10**9 + 789_000_000,
        10**9,
    ]
    np.testing.assert_array_equal(found.y, [1.5, np.nan, -2.0])
    with pytest.raises(InputError, match="neither header"):
        read_das2(write(tmp_path, STREAM + TEXT + records[0] + b" " + records[1].replace(b":02:", b"x02:")))


def test_a_cut_record_is_counted(tmp_path: Path) -> None:
    (found,) = read_das2(write(tmp_path, STREAM + PACKET + record(0, 1, 2, 3, 4) * 3 + record(0, 1, 2, 3, 4)[:-5]))
    assert found.sizes["time"] == 3
    assert found.bytes_skipped == 23  # of 28


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no das2 stream"),
        (b"hello", "neither header nor record"),
        (b"|Sx||45|<stream/>", "das2.3"),
        (b"[00]999999<stream>", "cut short"),
        (chunk("00", "<stream"), "header"),
        (chunk("00", '<!DOCTYPE x [<!ENTITY a "b">]><stream>&a;</stream>'), "declarations"),
        (chunk("00", '<stream compression="deflate"/>'), "compression deflate"),
        (STREAM + b":07:123", "no header"),
        (STREAM + chunk("01", "<packet/>"), "one x plane"),
        (STREAM + chunk("01", '<packet><x type="vax_real4"/></packet>'), "vax_real4"),
        (STREAM + chunk("01", '<packet><x type="ascii0"/></packet>'), "of 0 bytes"),
        (STREAM + PACKET.replace(b'nitems="3"', b'nitems="9"') + record(0, 1, 2, 3, 4) * 9, "neither header"),
        (STREAM + PACKET.replace(b'yTagMin="10"', b'yTags="1,2" '), "2 yTags for nitems 3"),
        (STREAM + chunk("01", '<packet><x type="ascii4"/><yscan type="ascii4" nitems="99999999"/></packet>'), "room"),
        (STREAM + PACKET + b":01:" + b"\x7f" * 24, "out of range"),
        (STREAM + TEXT + b":02:2016-367T00:00:00.000     1.5", "no day of the calendar"),
        (STREAM + TEXT + b":02:2016-364T23:59:60.000     1.5", "no leap second there"),
        (STREAM + TEXT + b":02:today                     1.5", "'today' is no UTC time"),
        (STREAM + TEXT + b":02:2016-12-01T00:00:00-04    1.5", "no UTC time"),
        (STREAM + TEXT + b":02:2016-12-01T00:0\xff:00       1.5", "plane 'x'"),
        (chunk("00", "<stream/>") + chunk("xx", '<exception type="ServerError" message="no"/>'), "exception"),
    ],
)
def test_broken_streams(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_das2(write(tmp_path, data))


@pytest.mark.real
def test_real_raw_waves(real_data: Path) -> None:
    (found,) = read_das2(real_data / "waves/hfr_high_raw_20170101T0000_0100.d2t")
    raw = found.HFRH
    assert raw.shape == (3600, 38)
    assert found.time.values[0] == np.datetime64("2017-01-01T00:00:01.309")
    assert raw.values[0, [0, 5, 9, 17, 37]].tolist() == [13, 19, 15, 60, 21]
    assert found.HFRH_y.values[[0, 37]].tolist() == [3500, 40500]
    assert found.HFRH_y.units == "kHz"
    assert len(np.unique(raw)) == 28


@pytest.mark.real
def test_real_calibrated_waves(real_data: Path) -> None:
    bands = read_das2(real_data / "waves/survey_calibrated_20170101T0000_0003.d2t")
    assert [b.spec_dens.shape for b in bands] == [(180, 43), (180, 18), (180, 27), (180, 38)]
    assert [str(b.time.values[0])[17:21] for b in bands] == ["00.4", "00.7", "00.2", "00.3"]
    assert bands[0].spec_dens.values[0, :2].tolist() == [2.287e-12, 7.82e-13]
    assert bands[3].spec_dens.values[-1, -1] == 2.787e-14
    assert bands[1].spec_dens_y.values[0] == 19960
    assert bands[0].spec_dens.zSummary == "Amplitudes from the LFRL Receiver Band"


@pytest.mark.real
def test_real_jedi(real_data: Path) -> None:
    (found,) = read_das2(real_data / "jedi/17-20_10_En_O.d2s")
    assert found.data.shape == (1000, 6)
    assert found.data_y.values.tolist() == [476.525, 746.4549999999999, 956.315, 1690.0, 3490.0, 7300.0]
    assert found.data.values[0].tolist() == [7.84, 2.01, 0.227, 0.243, 0.0, 0.0]
    assert np.isnan(found.data.values[7]).all()  # -1.00E38
    assert found.time.values[7] == np.datetime64("2017-10-17T21:31:57.000")
