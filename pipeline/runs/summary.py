"""A run at a glance: what was made, what failed, what is flagged, what is missing and why."""

from __future__ import annotations

import itertools
from typing import Any

from pipeline import registry
from pipeline.clock import Span, format_utc
from pipeline.dataset.summary import GAP
from pipeline.errors import PerijoveError
from pipeline.passes import get_pass, mission_gaps
from pipeline.runs.segments import merged

# A product of which more than this share of a quality variable is flagged by something is named as flagged.
FLAGGED = 0.01
GOOD = ("made", "kept")


def counts(record: dict[str, Any]) -> dict[str, int]:
    """Products by status."""
    count: dict[str, int] = {}
    for product in record["products"]:
        count[product["status"]] = count.get(product["status"], 0) + 1
    return count


def flagged(record: dict[str, Any]) -> list[str]:
    """Identities of products with more than a hundredth of some quality variable flagged."""
    shares = {p["identity"]: p.get("flagged") or {} for p in record["products"]}
    return [identity for identity, share in shares.items() if any(s > FLAGGED for s in share.values())]


def sentence(record: dict[str, Any]) -> str:
    """``3 made, 5 kept, 1 failed; 1 raw file not usable; 2 flagged; 4 gaps``."""
    parts = [", ".join(f"{n} {status}" for status, n in counts(record).items()) or "no products"]
    if record["quarantined"]:
        parts.append(f"{len(record['quarantined'])} raw file{'s' * (len(record['quarantined']) > 1)} not usable")
    if flagged(record):
        parts.append(f"{len(flagged(record))} flagged")
    gaps = missing(record)
    if gaps:
        parts.append(f"{len(gaps)} gap{'s' * (len(gaps) > 1)}")
    return "; ".join(parts)


def missing(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Times of the pass without records, by instrument, with the reason as far as it is known.

    Looked at are the two hours about closest approach and the products that are made of the whole pass; an instrument
    that takes single images is not expected to cover them.

    Returns
    -------
    list
        ``[{"instrument", "start", "stop", "why"}]``, times as UTC; without times where nothing at all is there.
    """
    window = get_pass(record["pass"]).window()
    rows: list[dict[str, Any]] = []
    for name in sorted({p["instrument"] for p in record["products"]}):
        own = [p for p in record["products"] if p["instrument"] == name]
        why = _why(record, name, own)
        there = [Span(*ends) for p in own if not p["unit"] and p["status"] in GOOD for ends in p.get("covers") or ()]
        if not any(p["status"] in GOOD for p in own):
            rows.append({"instrument": name, "start": None, "stop": None, "why": why})
        if not there:
            continue
        edges = [window.start, *(e for span in merged(there) for e in (span.start, span.stop)), window.stop]
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            start, stop = max(start, window.start), min(stop, window.stop)
            if stop - start > GAP:
                gap = {"start": str(format_utc(start)), "stop": str(format_utc(stop))}
                rows.append({"instrument": name, **gap, "why": why})
    return rows


def missing_at_a_glance(record: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]], str]]:
    """Every instrument with gaps, in a line each: its name, from when until when (none: nothing is there), and why."""
    glance = []
    for (name, why), rows in itertools.groupby(missing(record), lambda row: (row["instrument"], row["why"])):
        glance.append((name, [(row["start"], row["stop"]) for row in rows if row["start"]], why))
    return glance


def _why(record: dict[str, Any], name: str, products: list[dict[str, Any]]) -> str:
    """What is known of why an instrument has gaps: the mission's own, unusable files, products that were not made."""
    reasons = [f"known: {g.what} ({g.source})" for g in mission_gaps(record["pass"], name)]
    reasons += [f"not usable: {q['reason']}" for q in record["quarantined"] if q["instrument"] == name]
    reasons += [f"{p['identity']} {p['status']}: {p['reason']}" for p in products if p["status"] not in GOOD]
    return "; ".join(reasons[:3]) or "no raw data"


def absent(record: dict[str, Any]) -> list[str]:
    """Instruments of which the run has nothing at all."""
    there = {p["instrument"] for p in record["products"]}
    found = []
    for name in registry.names():
        try:
            registry.load(name)
        except PerijoveError:
            continue
        if name not in there:
            found.append(name)
    return found
