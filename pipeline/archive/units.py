"""Units as the information model spells them (its lists ``Units_of_...``): ``deg``, ``1/s``, ``W/(m**2*sr)``."""

from __future__ import annotations

import re

NAMES = {"degree": "deg", "h": "hr", "d": "day", "um": "micrometer", "px": "pixel"}
# Units that the lists have in a spelling of their own.
WHOLE = {"W/m**2/sr": "W/(m**2*sr)", "W/m**2/micrometer/sr": "W/m**2/sr/μm", "W/m**2/nm/sr": "W/m**2/sr/nm"}
TERM = re.compile(r"(?P<name>[A-Za-z]+)(?:\^|\*\*)?(?P<power>[+-]?\d+(?:\.\d+)?)?")
SCALED = re.compile(r"(?P<factor>\d[\d.eE+-]*) (?P<unit>\S.*)")


def scaled(text: str) -> tuple[str | None, str]:
    """A factor before a unit, if there is one, and the unit as PDS4 spells it.

    Parameters
    ----------
    text : units of a variable, several apart by commas; what is none stays as it is.
    """
    match = SCALED.fullmatch(text)
    factor, rest = (match["factor"], match["unit"]) if match else (None, text)
    return factor, ", ".join(_spelt(one) for one in rest.split(", "))


def _spelt(text: str) -> str:
    above: list[str] = []
    below: list[str] = []
    over, _, under = text.partition("/")
    for part, sign in ((over, 1.0), (under.strip("()"), -1.0)):
        for term in part.split():
            match = TERM.fullmatch(term)
            if term == "1":
                continue
            if match is None:
                return text
            name, power = NAMES.get(match["name"], match["name"]), sign * float(match["power"] or 1)
            (above if power > 0 else below).append(name if abs(power) == 1 else f"{name}**{abs(power):g}")
    spelt = "/".join(("*".join(above) or "1", *below))
    return WHOLE.get(spelt, spelt)
