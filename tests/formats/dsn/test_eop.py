"""Earth orientation files: a file in the document's form, forth and back, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.dsn import eop

TEXT = """$ EARTH ORIENTATION
 EOPLBL='EOP. LAST DATUM DATE 2016-08-29'
 EOPUT1='UT1'
 57626.0, 228.1, 417.2, 36.2197, 36.0, -103.2, -10.9,
 57627.0, 229.0, 416.0, 36.2203, 36.0, -103.0,-1.08D+1, $ PJ1
 EOP= 57628.0, 230.0, 414.8, 36.2210, 36.0, -102.8, -10.7
$END
"""


def write(folder: Path, text: str) -> Path:
    (folder / "a.eop").write_text(text)
    return folder / "a.eop"


def test_a_file(tmp_path: Path) -> None:
    read = eop.read_eop(write(tmp_path, TEXT))
    assert read.table["mjd"].tolist() == [57626.0, 57627.0, 57628.0]
    assert read.table[1].tolist() == (57627.0, 229.0, 416.0, 36.2203, 36.0, -103.0, -10.8)
    assert read.labels["EOPLBL"] == "EOP. LAST DATUM DATE 2016-08-29"
    assert not read.regularised
    assert read.comments == ["EARTH ORIENTATION", "PJ1", "END"]
    data = read.dataset()
    assert data["pole_x"].attrs["units"] == "mas"
    assert data.sizes == {"day": 3}


def test_forth_and_back(tmp_path: Path) -> None:
    read = eop.read_eop(write(tmp_path, TEXT))
    read.table["dpsi"] = np.random.default_rng(1).normal(-100.0, 5.0, 3)
    read.labels["EOPUT1"] = "UT1R"
    eop.write_eop(tmp_path / "b.eop", read)
    again = eop.read_eop(tmp_path / "b.eop")
    assert again.table.tobytes() == read.table.tobytes()
    assert (again.labels, again.comments, again.regularised) == (read.labels, read.comments, True)


REFUSED = {
    "later form": (TEXT.replace("EOPUT1", "EOP2UT1"), None, "no label EOPUT1"),
    "kind of UT1": (TEXT.replace("'UT1'", "'UT2'"), None, "neither UT1 nor UT1R"),
    "columns": (TEXT.replace("36.0, -103.2,", "-103.2,"), "line 4", "6 numbers, not 7"),
    "letters": (TEXT.replace("228.1", "228.l"), "line 4", "not a row of numbers"),
    "order": (TEXT.replace("57627.0", "57625.0"), "line 5", "not after the one before"),
    "day twice": (TEXT.replace("57627.0", "57626.0"), "line 5", "not after the one before"),
    "not finite": (TEXT.replace("229.0", "nan"), "line 5", "not finite"),
    "pole": (TEXT.replace("414.8", "41480."), "line 6", "2 arcseconds"),
    "UT1 in ms": (TEXT.replace("36.2210", "36221.0"), "line 6", "more than 1 s from UTC"),
    "UT1 a digit off": (TEXT.replace("36.2210", "36.3210"), "line 6", "more than the Earth can"),
    "pole a digit off": (TEXT.replace("414.8", "474.8"), "line 6", "more than the Earth can"),
    "pole 8 mas off": (TEXT.replace("229.0", "237.0"), "line 5", "not on the curve"),
    "UT1 2 ms off": (TEXT.replace("36.2203", "36.2223"), "line 5", "not on the curve"),
    "nutation": (TEXT.replace("-103.2", "-1032e3"), "line 4", "more than 1 arcsecond"),
    "day of no calendar": (TEXT.replace("57628.0", "1e308"), "line 6", "1958 to 2199"),
    "cut": (TEXT[:-8], "line 6", "no end of line"),
    "no rows": ("".join(TEXT.splitlines(True)[:3]), None, "no row"),
    "empty": ("", "line 1", "no label"),
    "binary": ("\u00e9" + TEXT, "byte 0", "not ASCII"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_where(case: str, tmp_path: Path) -> None:
    text, place, reason = REFUSED[case]
    (tmp_path / "a.eop").write_bytes(text.encode())
    with pytest.raises(InputError, match=reason) as error:
        eop.read_eop(tmp_path / "a.eop")
    assert place is None or error.value.place == place


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        eop.read_eop(tmp_path / "absent")
