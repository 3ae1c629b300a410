"""Files as they come out of a bad line or disk."""

from __future__ import annotations

from numpy.random import Generator


def damaged(data: bytes, rng: Generator) -> bytes:
    """Some bytes changed, a piece cut out, doubled, or the end cut off."""
    out = bytearray(data)
    kind, at = rng.integers(0, 4), int(rng.integers(0, len(out)))
    if kind == 0:
        for place in rng.integers(0, len(out), 1 + len(out) // 5000):
            out[place] = int(rng.integers(0, 256))
    elif kind == 1:
        del out[at : at + int(rng.integers(1, 2000))]
    elif kind == 2:
        out[at:at] = out[at : at + int(rng.integers(1, 2000))]
    else:
        del out[at:]
    return bytes(out)
