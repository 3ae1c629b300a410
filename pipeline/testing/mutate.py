"""Damage to files: each mutation takes the content and a generator, and gives the content back damaged."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]


def _place(content: bytes, rng: np.random.Generator) -> int:
    """Somewhere; in half of the cases near the beginning, where headers are."""
    reach = len(content) if rng.random() < 0.5 else min(len(content), 4096)
    return int(rng.integers(0, max(1, reach)))


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """Between one and 64 bits turned."""
    changed = bytearray(content)
    for _ in range(int(2 ** rng.uniform(0, 6)) if content else 0):
        changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """The end is missing."""
    return content[: _place(content, rng)]


def lengthen(content: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes at the end."""
    return content + rng.bytes(int(2 ** rng.uniform(0, 14)))


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch is missing in the midst."""
    start = _place(content, rng)
    return content[:start] + content[start + int(2 ** rng.uniform(0, 12)) :]


def repeat(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch stands there twice."""
    start, length = _place(content, rng), int(2 ** rng.uniform(0, 12))
    return content[: start + length] + content[start:]


def fill(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of zeros, ones, or noise."""
    start, length = _place(content, rng), int(2 ** rng.uniform(0, 12))
    length = min(length, len(content) - start)
    filling = [b"\0" * length, b"\xff" * length, rng.bytes(length)][int(rng.integers(3))]
    return content[:start] + filling + content[start + length :]


def swap(content: bytes, rng: np.random.Generator) -> bytes:
    """Two stretches have changed places."""
    length = int(2 ** rng.uniform(2, 10))
    a, b = sorted((_place(content, rng), _place(content, rng)))
    if b - a < length:
        return content[::-1]
    return (
        content[:a]
        + content[b : b + length]
        + content[a + length : b]
        + content[a : a + length]
        + content[b + length :]
    )


def empty(content: bytes, rng: np.random.Generator) -> bytes:
    """Nothing, or noise in place of everything."""
    return b"" if rng.random() < 0.5 else rng.bytes(min(len(content), 65536))


NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
VALUES = (
    b"0",
    b"-1",
    b"4294967296",
    b"9" * 30,
    b"1e308",
    b"-1e400",
    b"nan",
    b"inf",
    b"1e-320",
    b"2147483647",
    b"x",
    b"",
)
TEXTS = (
    b"../../../etc/passwd", b"/etc/passwd", b"/dev/zero", b"CON", b"{" * 3000, b"(" * 3000, b'"', b"/*", b"%s%n", b"\0",
    b"&a;" * 100, b"NULL", b"OBJECT = X\r\n" * 400, b"'" * 100, b"16#FFFFFFFFFFFF#", b"9999-366T99:99:99", b"..",
)  # fmt: skip


def number(content: bytes, rng: np.random.Generator) -> bytes:
    """A number is another one: absurd, none at all, or off by a little."""
    found = list(NUMBER.finditer(content[:200_000]))
    if not found:
        return flip(content, rng)
    match = found[int(rng.integers(len(found)))]
    new = VALUES[int(rng.integers(len(VALUES)))]
    if rng.random() < 0.3 and match[0].isdigit() and len(match[0]) < 15:
        new = str(int(match[0]) + int(rng.integers(-3, 4))).encode()
    return content[: match.start()] + new + content[match.end() :]


def line(content: bytes, rng: np.random.Generator) -> bytes:
    """A line is missing, stands there twice, or at another place."""
    lines = content.splitlines(keepends=True)
    if len(lines) < 3:
        return cut(content, rng)
    a, b = (int(rng.integers(len(lines))) for _ in range(2))
    how = rng.integers(3)
    taken = lines[a] if how == 1 else lines.pop(a)
    if how:
        lines.insert(b, taken)
    return b"".join(lines)


def value(content: bytes, rng: np.random.Generator) -> bytes:
    """A value of a label is a hostile one."""
    found = list(re.finditer(rb"=[ \t]*([^\r\n]*)|>([^<]*)<", content[:200_000]))
    if not found:
        return fill(content, rng)
    match = found[int(rng.integers(len(found)))]
    group = 1 if match[1] is not None else 2
    return content[: match.start(group)] + TEXTS[int(rng.integers(len(TEXTS)))] + content[match.end(group) :]


BYTES: tuple[Mutation, ...] = (flip, flip, truncate, lengthen, cut, repeat, fill, swap, empty)
TEXT: tuple[Mutation, ...] = (number, number, number, line, line, value, value)


def mutate(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """A mutation's name and the damaged content; text is mostly damaged as text."""
    is_text = not re.search(rb"[^\t\r\n\x20-\x7e]", content[:2000])
    chosen = TEXT if is_text and rng.random() < 0.7 else BYTES
    mutation = chosen[int(rng.integers(len(chosen)))]
    return mutation.__name__, mutation(content, rng)
