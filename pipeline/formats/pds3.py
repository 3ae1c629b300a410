"""PDS3 labels: read, looked up, pointed from, and written (PDS Standards Reference 3.8, chapters 12 to 14).

The grammar is parsed by `pvl`. Times stay text, as the label has them: `datetime` knows no leap second and no day of
year. Text is what stands between the quotes with runs of white space made one space, as the standard treats them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pvl
from pvl.collections import PVLGroup, PVLModule, PVLObject
from pvl.decoder import OmniDecoder
from pvl.exceptions import LexerError, ParseError
from pvl.grammar import OmniGrammar
from pvl.parser import OmniParser
from pvl.token import Token

from pipeline.errors import InputError

LIMIT = 1 << 20  # bytes; the longest real labels have some 200 kB
COLUMNS = 78  # characters of a line, before CR LF
_END = re.compile(rb"^[ \t]*END[ \t]*(?:\r?\n|\r|\Z)", re.MULTILINE)
_TEXT = re.compile(r'/\*.*?\*/|"[^"]*"', re.DOTALL)
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_]*|\d{4}-\d{2,3}(-\d{2})?(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?Z?)?")
_RESERVED = {
    "NULL",
    "TRUE",
    "FALSE",
    "END",
    "OBJECT",
    "END_OBJECT",
    "GROUP",
    "END_GROUP",
    "BEGIN_OBJECT",
    "BEGIN_GROUP",
}


class Quantity(NamedTuple):
    """A number with its unit, as ``0.375 <s>``."""

    value: float
    unit: str


class ValueSet(tuple[Any, ...]):
    """The values of a set, ``{...}``, in the order written."""


class Block(Mapping[str, Any]):
    """Keywords and nested blocks of a label, an OBJECT or a GROUP, in order; keys in any case.

    Values are int, float, str, None (NULL), `Quantity`, list, `ValueSet` or `Block`. A name that occurs more than
    once gives its first value; `objects` gives all blocks.
    """

    def __init__(self, pairs: list[tuple[str, Any]], *, group: bool = False) -> None:
        self.pairs = [(name.upper(), value) for name, value in pairs]
        self.group = group
        self._first = dict(reversed(self.pairs))

    def __getitem__(self, name: str) -> Any:
        return self._first[name.upper()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.upper() in self._first

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.pairs))

    def __len__(self) -> int:
        return len(self._first)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and (self.pairs, self.group) == (other.pairs, other.group)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self)}>"

    def objects(self, name: str) -> list[Block]:
        """Return the nested blocks of that name, in order."""
        return [value for key, value in self.pairs if key == name.upper() and isinstance(value, Block)]


class Label(Block):
    """A label and where it stands.

    Attributes
    ----------
    path : file of the label.
    text : the label itself, comments included.
    size : bytes of the label, END line included; data of an attached label begin at a later record.
    structures : further folder in which ``^STRUCTURE`` files are looked for.
    """

    def __init__(self, pairs: list[tuple[str, Any]], path: Path, text: str, structures: Path | None = None) -> None:
        super().__init__(pairs)
        self.path, self.text, self.size, self.structures = path, text, len(text), structures

    @property
    def times(self) -> tuple[str, str]:
        """START_TIME and STOP_TIME as written."""
        return self.need("START_TIME", str), self.need("STOP_TIME", str)

    def need(self, name: str, kind: type = object, block: Block | None = None) -> Any:
        """Return a keyword's value, of the label or of a block of it; InputError if absent or of another type."""
        value = (self if block is None else block).get(name)
        if value is None:
            raise InputError(self.path, "keyword missing", name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(self.path, f"{kind.__name__} expected, not {value!r}", name)
        return value

    def pointer(self, name: str) -> tuple[Path, int]:
        """Return the file and the byte offset (from 0) that ``^NAME`` points at.

        Looked for in the label and its FILE objects; a location is a record (from 1) unless it has the unit BYTES.

        Raises
        ------
        InputError : no such pointer, a location that is none, a file that is not in the label's folder.
        """
        key = "^" + name.upper().removeprefix("^")
        block = next((b for b in (self, *self.objects("FILE")) if key in b), None)
        if block is None:
            raise InputError(self.path, "pointer missing", key)
        file: Path | None = None
        match block[key]:
            case str(name) | [str(name)]:
                return self.resolve(name), 0
            case [str(name), location]:
                file = self.resolve(name)
            case location:
                pass
        match location:
            case Quantity(int(first), unit) if first > 0 and unit.upper() in ("BYTE", "BYTES"):
                return file or self.path, first - 1
            case int(first) if first > 0 and not isinstance(first, bool):
                size = self.need("RECORD_BYTES", int, block if "RECORD_BYTES" in block else self)
                return file or self.path, (first - 1) * size
        raise InputError(self.path, f"{block[key]!r} is no location", key)

    def resolve(self, name: str, *folders: Path) -> Path:
        """Return the file of that name beside the label (or in `folders`), whatever the case of its letters."""
        if not name or name in (".", "..") or re.search(r"[/\\:\x00-\x1f]", name):
            raise InputError(self.path, f"{name!r} is not the name of a file in the label's folder")
        for folder in (self.path.parent, *folders):
            if (folder / name).is_file():
                return folder / name
            same = [p for p in folder.iterdir() if p.name.upper() == name.upper() and p.is_file()]
            if len(same) == 1:
                return same[0]
        raise InputError(self.path, f"names {name!r}, which is not in its folder")


def read_label(path: str | Path, structures: str | Path | None = None) -> Label:
    """Read the detached label, attached label or format (``.FMT``) file at `path`.

    Parameters
    ----------
    structures : folder of ``^STRUCTURE`` files that are not beside the label (a volume's LABEL folder).

    Raises
    ------
    InputError : unreadable, no label within the first megabyte, or not in the label language.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(LIMIT + 1)
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    end = _END.search(raw)
    if end is None and len(raw) > LIMIT:
        raise InputError(path, f"no END of a label within {LIMIT} bytes")
    text = raw[: end.end() if end else len(raw)].decode("latin-1")
    return Label(parse(text, path), path, text, Path(structures) if structures else None)


def parse(text: str, path: str | Path = "<label>") -> list[tuple[str, Any]]:
    """Return the keywords of a label's text, as `Block` takes them; raises InputError for what is no label."""
    quoted: list[str] = []

    def lift(match: re.Match[str]) -> str:
        # pvl goes through its text character by character; descriptions and comments are most of a label.
        found, lines = match[0], "\n" * match[0].count("\n")
        if found.startswith("/*"):
            return " " + lines
        quoted.append(" ".join(found[1:-1].split()))
        return f'"{len(quoted) - 1}"' + lines

    bare = _TEXT.sub(lift, "\n".join(line.rstrip() for line in text.splitlines()))
    if '"' in re.sub(r'"\d+"', "", bare):
        raise InputError(path, "a text is not closed", f"line {bare.count(chr(10), 0, bare.rfind(chr(34))) + 1}")
    grammar = OmniGrammar()
    decoder = _Decoder(quoted, grammar)
    try:
        module = pvl.loads(bare, parser=_Parser(grammar, decoder), grammar=grammar, decoder=decoder)
    except LexerError as error:
        raise InputError(path, f"not a PDS label: {str(error.msg)[:120]}", f"line {error.lineno}") from error
    except (ParseError, ValueError, TypeError, StopIteration, RuntimeError) as error:
        raise InputError(path, f"not a PDS label: {str(error)[:120] or type(error).__name__}") from error
    except RecursionError as error:
        raise InputError(path, "not a PDS label: nested too deeply") from error
    return _pairs(module)


class _Decoder(OmniDecoder):
    """Gives back the lifted texts; leaves times as text."""

    def __init__(self, quoted: list[str], grammar: OmniGrammar) -> None:
        super().__init__(grammar=grammar, quantity_cls=Quantity)
        self.quoted = quoted

    def decode_quoted_string(self, value: str) -> str:
        if len(value) > 2 and value[0] == value[-1] == '"':
            return self.quoted[int(value[1:-1])]
        return str(super().decode_quoted_string(value))

    def decode_datetime(self, value: str) -> str:
        raise ValueError(value)


class _Parser(OmniParser):
    """Keeps the order of sets; ends where pvl would not."""

    def __init__(self, grammar: OmniGrammar, decoder: OmniDecoder) -> None:
        super().__init__(grammar, decoder)

    def parse_module_post_hook(self, module: Any, tokens: Any) -> Any:
        # pvl asks whether the value before an equals sign is a name that lacks its own value. It writes blocks out as
        # text for that, for minutes, and asks for ever where the value is a number.
        value = module[-1][1] if len(module) else ""
        if not isinstance(value, str) or not Token(value, grammar=self.grammar).is_parameter_name():
            raise ParseError(f"what follows {module[-1][0]} is no statement" if len(module) else "no statement")
        return super().parse_module_post_hook(module, tokens)

    def parse_set(self, tokens: Any) -> ValueSet:
        return ValueSet(self._parse_set_seq(self.grammar.set_delimiters, tokens))


def _pairs(module: PVLModule | PVLObject | PVLGroup) -> list[tuple[str, Any]]:
    return [(str(name), _value(value)) for name, value in module.items()]


def _value(value: Any) -> Any:
    if isinstance(value, PVLGroup | PVLObject):
        return Block(_pairs(value), group=isinstance(value, PVLGroup))
    if isinstance(value, str):  # pvl marks a missing value by a subclass
        return str(value)
    return value


def write_label(pairs: Mapping[str, Any] | Block) -> str:
    r"""Write a label in the archive's layout: lines of 78 columns and CR LF, closed by END.

    Parameters
    ----------
    pairs : keywords in order; a nested mapping is an OBJECT (a `Block` with `group` a GROUP), a list of mappings is
        several of the same name. `parse` gives all of it back.

    Raises
    ------
    ValueError : a value that the label language cannot hold.
    """
    lines = [*_block_lines(pairs, 0), "END"]
    return "".join(f"{line:<{COLUMNS}}\r\n" for line in lines)


def _block_lines(pairs: Mapping[str, Any], indent: int) -> Iterator[str]:
    for name, value in pairs.pairs if isinstance(pairs, Block) else pairs.items():
        blocks = value if isinstance(value, list) and value and isinstance(value[0], Mapping) else [value]
        for block in blocks:
            key = f"{' ' * indent}{name}"
            if not isinstance(block, Mapping):
                yield from _statement(key, block)
                continue
            kind = "GROUP" if isinstance(block, Block) and block.group else "OBJECT"
            yield f"{' ' * indent + kind:<30} = {name}"
            yield from _block_lines(block, indent + 2)
            yield f"{' ' * indent + 'END_' + kind:<30} = {name}"


def _statement(key: str, value: Any) -> Iterator[str]:
    """Yield the lines of one keyword: on one if it fits, else items below each other or text wrapped."""
    head = f"{key:<30} = "
    whole = head + _literal(value)
    if len(whole) <= COLUMNS:
        yield whole
    elif isinstance(value, list | ValueSet) and value:
        first, last = "{}" if isinstance(value, ValueSet) else "()"
        items = [_literal(v) for v in value]
        for k, item in enumerate(items):
            yield (head + first if k == 0 else " " * (len(head) + 1)) + item + (last if item is items[-1] else ",")
    elif isinstance(value, str):
        yield head.rstrip()
        line = ""
        for word in _literal(value).split(" "):
            if line and len(line) + 1 + len(word) > COLUMNS:
                yield line
                line = word
            else:
                line = f"{line} {word}" if line else word
        yield line
    else:
        yield whole


def _literal(value: Any) -> str:
    """Return a value in the label language."""
    match value:
        case None:
            return "NULL"
        case Quantity():
            return f"{_literal(value.value)} <{value.unit}>"
        case ValueSet():
            return "{" + ", ".join(map(_literal, value)) + "}"
        case list():
            return "(" + ", ".join(map(_literal, value)) + ")"
        case str():
            if '"' in value or not value.isascii() or value != " ".join(value.split()):
                raise ValueError(f"{value!r}: a label holds ASCII words without quotes, one space apart")
            return value if _BARE.fullmatch(value) and value.upper() not in _RESERVED else f'"{value}"'
        case int() | float() if not isinstance(value, bool) and math.isfinite(value):
            return repr(value)
    raise ValueError(f"{value!r} has no place in a label")
