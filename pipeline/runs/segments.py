"""How a unit's time is cut into segments: what is fanned out."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable

from calibration.tables import Table
from pipeline.clock import Span
from pipeline.instrument import Granule, ProductType, Step


def segments_of(
    product: ProductType,
    step: Step,
    whole: Span,
    granules: tuple[Granule, ...],
    tables: dict[str, list[tuple[Table, Span]]],
    window: Span | None,
) -> tuple[tuple[Span, ...], list[float] | str]:
    """Segments of a unit that hold data and overlap the window, and what of the window enters the key.

    Edges are whole multiples of the product's segment length in et, and where the validity of a table begins.

    Parameters
    ----------
    whole : the time of the unit.
    """
    if step.over == "unit" or product.segment is None:
        return (whole,), "all"
    length = product.segment
    edges = {length * k for k in range(math.floor(whole.start / length), math.ceil(whole.stop / length) + 1)}
    edges |= {s.start for chosen in tables.values() for _, s in chosen if whole.start < s.start < whole.stop}
    occupied = merged([Span(g.start, g.stop) for g in granules] or [whole])
    starts = [o.start for o in occupied]
    segments = []
    for segment in itertools.starmap(Span, itertools.pairwise(sorted(edges))):
        before = bisect.bisect_left(starts, segment.stop) - 1
        if before >= 0 and occupied[before].stop > segment.start:
            segments.append(segment)
    inside = tuple(s for s in segments if window is None or s.overlaps(window))
    complete = len(inside) == len(segments)
    return inside, "all" if complete or not inside else [inside[0].start, inside[-1].stop]


def hull(spans: Iterable[Span]) -> Span:
    """The shortest span that holds all of these."""
    listed = list(spans)
    return Span(min(s.start for s in listed), max(s.stop for s in listed))


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same times as disjoint spans in order."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = hull([joined[-1], span])
        else:
            joined.append(span)
    return joined
