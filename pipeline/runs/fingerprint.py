"""Fingerprint of the code a step reaches, locked beside each instrument.

The declared version of a step is what enters the key. The lock (``fingerprints.json`` in the instrument's folder) says
for which code that version was declared; code whose fingerprint is not the locked one, as in a checkout being worked
on, adds its fingerprint to the key, so that it never passes for the released bytes.

``python -m pipeline.runs.fingerprint`` shows what moved; ``--lock`` locks it (after a new version, or when the bytes
are known to be unchanged).
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path

from pipeline import registry
from pipeline.instrument import Instrument, Step

OWN = ("pipeline", "calibration", "instruments")
# What the core does to every dataset a step returns.
FINISH = ("pipeline.dataset.netcdf", "pipeline.dataset.check")
CONTEXT = "pipeline.dataset.context"
# Entry of the lock for all files as they are; while they are, no fingerprint needs to be computed.
SOURCES = "sources"


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Digest of a module's syntax (comments and docstrings aside) and the modules it imports."""
    path = _file(name)
    if path is None:
        return None
    tree = ast.parse(path.read_bytes())
    _strip_docstrings(tree)
    digest = hashlib.sha256(_text(tree).encode())
    if path.name == "__init__.py":
        for file in sorted((path.parent / "data").glob("*.*")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest(), tuple(sorted(_imports(tree, name, is_package=path.name == "__init__.py")))


def _file(name: str) -> Path | None:
    """File of a module, found without importing the packages above it; None if the name is no module in Python."""
    top, *below = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.origin:
        return None
    if not below:
        return Path(spec.origin)
    place = Path(spec.origin).parent.joinpath(*below)
    return next((p for p in (place / "__init__.py", place.with_suffix(".py")) if p.is_file()), None)


def _text(node: object) -> str:
    """A syntax tree as text that is the same in all versions of Python: empty fields, which they add, are left out."""
    if isinstance(node, ast.AST):
        fields = sorted((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({','.join(f'{name}={_text(value)}' for name, value in fields)})"
    return f"[{','.join(map(_text, node))}]" if isinstance(node, list) else repr(node)


def _strip_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]


def _imports(tree: ast.AST, name: str, *, is_package: bool) -> set[str]:
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue  # not imported when it runs
        waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".") if is_package else name.split(".")[:-1]
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


@cache
def _reached(root: str, declaration: str) -> frozenset[str]:
    """Modules of this project that `root` imports; not through the declaration, which lists simulators and figures."""
    tops = {*OWN, root.split(".")[0]}
    seen: set[str] = set()
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name in seen or name == declaration or name.split(".")[0] not in tops:
            continue
        module = _module(name)
        if module is None:
            continue
        seen.add(name)
        parents = [name.rsplit(".", i)[0] for i in range(1, name.count(".") + 1)]
        waiting.extend([*module[1], *parents])
    return frozenset(seen)


def fingerprint(instrument: Instrument, step: Step) -> str:
    """Digest of the product's schema and every module that the step, its reader and what finishes the product reach."""
    schema = instrument.product(step.produces).schema
    roots = {step.function.__module__, *FINISH} | ({CONTEXT} if schema.context else set())
    if step.raw:
        form = registry.load(step.raw.split(".")[0]).format(step.raw)
        roots |= {form.read.__module__, form.open.__module__}
    declaration = step.function.__module__.rpartition(".")[0]
    return hashlib.sha256(f"{schema!r} {_digest(roots, declaration)}".encode()).hexdigest()


def reached_digest(module: str) -> str:
    """Digest of a module and every module of this project that it reaches."""
    return _digest({module}, "")


def _digest(roots: set[str], declaration: str) -> str:
    digest = hashlib.sha256()
    for name in sorted(set().union(*(_reached(root, declaration) for root in roots))):
        module = _module(name)
        assert module is not None
        digest.update(f"{name} {module[0]}\n".encode())
    return digest.hexdigest()


def _lock_path(instrument: Instrument) -> Path:
    spec = importlib.util.find_spec(instrument.steps[0].__module__.rsplit(".", 1)[0])
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "fingerprints.json"


@cache
def sources(instrument_name: str) -> str:
    """Digest of all files that any step of an instrument may reach, as they are: quick, where syntax takes a while."""
    own = _lock_path(registry.load(instrument_name)).parent
    digest = hashlib.sha256()
    for folder in (*(_file(name) for name in ("pipeline", "calibration")), own / "__init__.py"):
        assert folder is not None
        files = [p for p in sorted(folder.parent.rglob("*")) if p.suffix == ".py" or p.parent.name == "data"]
        for path in files:
            digest.update(f"{path.relative_to(folder.parent)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def locked(instrument_name: str) -> dict[str, dict[str, str | int]]:
    """The lock of an instrument: step name to version and fingerprint."""
    path = _lock_path(registry.load(instrument_name))
    return json.loads(path.read_text()) if path.exists() else {}


def code_part(instrument: Instrument, step: Step) -> dict[str, str | int]:
    """What the code adds to a recipe: step, version, and the fingerprint only if it is not the locked one."""
    part: dict[str, str | int] = {"step": step.name, "version": step.version}
    lock = locked(instrument.name).get(step.name, {})
    untouched = locked(instrument.name).get(SOURCES, {}).get("digest") == sources(instrument.name)
    current = lock.get("fingerprint") if untouched else fingerprint(instrument, step)
    if lock.get("version") != step.version or lock.get("fingerprint") != current:
        part["fingerprint"] = current or fingerprint(instrument, step)
    return part


def _steps(instrument: Instrument) -> list[Step]:
    return [f.__perijove_step__ for f in instrument.steps]  # type: ignore[attr-defined]


def main() -> None:
    """Show which steps' code is not the locked one; with ``--lock`` record the present state."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--lock", action="store_true")
    arguments = parser.parse_args()
    for name in registry.names():
        instrument = registry.load(name)
        now = {s.name: {"version": s.version, "fingerprint": fingerprint(instrument, s)} for s in _steps(instrument)}
        old = locked(name)
        for step_name, entry in now.items():
            if old.get(step_name) != entry:
                print(f"{name}.{step_name}: version {old.get(step_name, {}).get('version')} -> {entry['version']}")
        if arguments.lock:
            told = now | {SOURCES: {"digest": sources(name)}}
            _lock_path(instrument).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
