"""Two hundred damaged inputs of each instrument; ``bench/fuzz.py`` tries thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

import perijove  # noqa: F401  (claims the project's package names)
from pipeline import registry
from pipeline.testing.fuzz import GOOD, Fuzzer

INPUTS = 200


def names() -> list[str]:
    return [i.name for i in registry.available() if i.simulate and i.name not in ("tally", "faulty")]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", names())
def test_damaged_input(name: str, tmp_path: Path) -> None:
    """Refused with the project's own error, or made into a product that keeps its schema; in time, within memory."""
    tries = list(Fuzzer(name, tmp_path).tries(range(INPUTS)))
    assert [t for t in tries if t.outcome not in GOOD] == []
    # It is not the fuzzer that fails: undamaged parts are made, damaged ones are refused.
    assert {t.outcome for t in tries} == set(GOOD)
    # What is left of a file that lost its end, or has more than its own, is right where it says how exact it is.
    ends = [t for t in tries if t.mutation in ("truncate", "lengthen", "empty")]
    assert ends
    assert [line for t in ends for line in t.unnoticed if is_measured(line)] == []


def is_measured(line: str) -> bool:
    """Whether a line of `unnoticed`, behind its product, is about times or a variable that states its uncertainty."""
    product, variable, *_ = line.split(": ")
    known = {v.name: v for v in registry.product_type(product)[1].schema.variables}
    return variable not in known or bool(known[variable].uncertainties)
