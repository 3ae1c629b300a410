"""Media calibrations: statements of real files, the series at their ends, forth and back, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.dsn import media

# Forms met in delivered files: wrapped lines, hours and minutes alone, seconds, several on a line, comments.
TEXT = """# TROPOSPHERE
ADJUST(DOPRNG)BY NRMPOW(   0.7048,   0.0938,   0.8502,  -0.2993,   1.0217,
   0.0260)                                                         MODEL(CHPART)
FROM(03/02/01,01:21)TO(03/02/01,15:01)DSN(C10)SCID(77).    #S20 ADJ 030203 11:19
ADJUST(ALL)BY TRIG(31557600., .0870,-.0360,-.0336,.0002,.0200)MODEL(WET NUPART)
FROM(72/01/01)DSN(C10). ADJUST(ALL) BY NRMPOW(1.0,-3.0773)MODEL(DRY NUPART)
FROM(16/12/31,12:18:00)TO(17/01/01,01)DSN(25).
ADJUST BY CONST(-0.01)MODEL(WET NUPART)DSN(C60).
"""


def write(folder: Path, text: str) -> Path:
    (folder / "a.tro").write_text(text)
    return folder / "a.tro"


def test_statements_of_delivered_files(tmp_path: Path) -> None:
    first, seasonal, dry, constant = media.read_csp(write(tmp_path, TEXT))
    assert first.coefficients == (0.7048, 0.0938, 0.8502, -0.2993, 1.0217, 0.0260)
    assert (first.data, first.series, first.model) == ("DOPRNG", "NRMPOW", "CHPART")
    assert (first.start, first.end) == ((52671, 4860.0), (52671, 54060.0))
    assert (first.network, first.source) == ("C10", "SCID(77)")
    assert first.comment == "TROPOSPHERE\nS20 ADJ 030203 11:19"
    assert (seasonal.series, seasonal.start, seasonal.end) == ("TRIG", (41317, 0.0), None)
    assert (dry.network, dry.start, dry.end) == ("25", (57753, 44280.0), (57754, 3600.0))
    assert (constant.data, constant.start, constant.coefficients) == ("", None, (-0.01,))


def test_the_power_series_from_minus_one_to_one(tmp_path: Path) -> None:
    command = media.read_csp(write(tmp_path, TEXT))[0]
    c = command.coefficients
    day, second = np.full(5, 52671), np.array([4860.0, 29460.0, 54060.0, 4859.9, 54060.1])
    value = command.evaluate(day, second)
    assert value[:3] == pytest.approx([sum(v * (-1) ** k for k, v in enumerate(c)), c[0], sum(c)], abs=1e-14)
    assert np.isnan(value[3:]).all()


def test_the_trigonometric_series_term_by_term(tmp_path: Path) -> None:
    command = media.read_csp(write(tmp_path, TEXT))[1]
    assert command.start is not None
    period, a0, c1, s1, c2, s2 = command.coefficients
    day, second = 57627, 49422.0
    phase = 2 * math.pi * ((day - command.start[0]) * 86400.0 + second) / period
    expected = a0 + c1 * math.cos(phase) + s1 * math.sin(phase) + c2 * math.cos(2 * phase) + s2 * math.sin(2 * phase)
    assert float(command.evaluate(day, second)) == pytest.approx(expected, abs=1e-12)


def test_a_constant_and_a_series_that_cannot_be(tmp_path: Path) -> None:
    constant = media.read_csp(write(tmp_path, TEXT))[3]
    assert constant.evaluate([1, 2], 0.0).tolist() == [-0.01, -0.01]
    with pytest.raises(ValueError, match="DNRMPOW cannot"):
        dataclasses.replace(constant, series="DNRMPOW", start=(1, 0.0), end=(2, 0.0)).evaluate(1, 0.0)


def test_forth_and_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    commands = media.read_csp(write(tmp_path, TEXT))
    for k in range(200):
        day = int(rng.integers(41317, 69000))
        start, second = (day, float(rng.integers(86400))), float(np.round(rng.uniform(0, 86399), int(rng.integers(7))))
        end = (day + int(rng.integers(1, 4)), 86400.5 if k % 50 == 0 else second)
        scope, network, series = ("ALL", "DOPPLER", "")[k % 3], ("C10", "25", "C40")[k % 3], media.SERIES[k % 2]
        coefficients = tuple(rng.normal(0, 3, 1 + k % 9 * (1 - k % 2)).tolist())
        model = media.MODELS[k % 4]
        source = "QUASAR(3C 273)" if k % 2 else "SCID(61)"
        commands.append(media.Command(scope, series, coefficients, model, start, end, network, source, "a remark"))
    media.write_csp(tmp_path / "b.tro", commands)
    assert media.read_csp(tmp_path / "b.tro") == commands


GOOD = "ADJUST(ALL)BY CONST(1.0)MODEL(DRY NUPART)FROM(16/08/27,00:00)TO(16/08/28,00:00)DSN(C60).\n"
REFUSED = {
    "cut": (GOOD + GOOD[:60], "line 2", "not ended by a full stop"),
    "cut in a number": (GOOD + GOOD[:22], "line 2", "not ended"),
    "another verb": (GOOD + GOOD.replace("ADJUST", "DELETE"), "line 2", "not an ADJUST"),
    "a limiter": (GOOD.replace("DSN", "DSM"), "line 1", "unknown limiter"),
    "twice": (GOOD.replace("DSN(C60)", "DSN(C60)DSN(C10)"), "line 1", "given twice"),
    "series": (GOOD.replace("CONST", "CHEBY"), "line 1", "unknown series"),
    "model": (GOOD.replace("DRY NUPART", "WRY NUPART"), "line 1", "unknown model"),
    "number": (GOOD.replace("1.0", "1.O"), "line 1", "could not convert"),
    "not finite": (GOOD.replace("1.0", "nan"), "line 1", "not finite"),
    "time": (GOOD.replace("16/08/27", "16/08/32"), "line 1", "out of range"),
    "hour": (GOOD.replace("27,00:00", "27,25:00"), "line 1", "no time of a day"),
    "backwards": (GOOD.replace("16/08/28", "16/08/26"), "line 1", "ends before it begins"),
    "no network": (GOOD.replace("DSN(C60)", ""), "line 1", "no DSN"),
    "periods": (GOOD.replace("CONST(1.0)", "TRIG(9.0,1.0,2.0)"), "line 1", "TRIG needs"),
    "two constants": (GOOD.replace("1.0", "1.0,2.0"), "line 1", "CONST needs"),
    "nothing": ("# a comment\n", None, "no CSP command"),
    "empty": ("", None, "no CSP command"),
    "binary": ("\u00e9" + GOOD, "byte 0", "not ASCII"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_where(case: str, tmp_path: Path) -> None:
    text, place, reason = REFUSED[case]
    (tmp_path / "a.tro").write_bytes(text.encode())
    with pytest.raises(InputError, match=reason) as error:
        media.read_csp(tmp_path / "a.tro")
    assert error.value.place == place


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        media.read_csp(tmp_path / "absent")
