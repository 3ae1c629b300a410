"""What perijove needs, and whether it is there."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from pipeline import registry
from pipeline.errors import PerijoveError
from pipeline.passes import passes
from pipeline.runs.store import Store


def doctor(store: Path, kernels: Path | None) -> dict[str, Any]:
    """Check versions, the store, the instruments and the kernels.

    Returns
    -------
    dict
        ``{"ok", "checks": [{"what", "ok", "found", "advice"}]}``
    """
    checks = [*_packages(), _store(store), *_instruments(), _kernels(kernels)]
    return {"ok": all(c["ok"] for c in checks), "checks": checks}


def _check(what: str, ok: bool, found: str, advice: str = "") -> dict[str, Any]:
    return {"what": what, "ok": ok, "found": found, "advice": "" if ok else advice}


def _packages() -> list[dict[str, Any]]:
    checks = []
    for text in requires("perijove") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = ""
        advice = f"install {requirement}"
        checks.append(
            _check(requirement.name, bool(found) and found in requirement.specifier, found or "absent", advice)
        )
    return checks


def _store(path: Path) -> dict[str, Any]:
    parent = next(p for p in [path, *path.resolve().parents] if p.exists())
    try:
        if path.exists():
            Store(path).prepare()
        elif not os.access(parent, os.W_OK):
            raise PermissionError
    except (PerijoveError, OSError):
        return _check("store", False, str(path), "it cannot be written: name another with --store")
    free = shutil.disk_usage(parent).free / 2**30
    return _check("store", free > 1, f"{path.resolve()}, {free:.0f} GB free", "less than 1 GB is free")


def _instruments() -> list[dict[str, Any]]:
    checks = []
    for name in registry.names():
        try:
            instrument = registry.load(name)
            found = f"{instrument.title}: {len(instrument.products)} product types"
            checks.append(_check(f"instrument {name}", True, found))
        except Exception as error:
            checks.append(
                _check(f"instrument {name}", False, f"{type(error).__name__}: {error}", "its plugin is broken")
            )
    return checks


def _kernels(path: Path | None) -> dict[str, Any]:
    from pipeline.geometry import describe_kernels

    if path is None:
        return _check("kernels", True, "none named: geometry is propagated and flagged so")
    try:
        found = describe_kernels(path, [p.et for p in passes()])
    except PerijoveError as error:
        return _check("kernels", False, str(error), "without kernels, geometry is propagated and flagged so")
    return _check("kernels", True, found)
