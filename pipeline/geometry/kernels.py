"""Files of SPICE kernels: which there are, in what order they rule, what they say without SPICE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.clock import Sclk, format_utc
from pipeline.errors import GeometryError, InputError

SUFFIXES = {".bsp", ".bc", ".tls", ".tpc", ".tf", ".tsc", ".ti", ".pck", ".bpc"}
# Marks in NAIF's names of what is not reconstructed from tracking or telemetry: predicted, reference and nominal files.
PREDICTED = ("_pre_", "_prl_", "_prs_", "_pred_", "_ref_", "_nom_", "_tst_")


def kernel_files(kernels: Path) -> list[Path]:
    """Kernels of a folder or those a meta-kernel names, in the order in which they are loaded: later ones rule.

    In a folder reconstructed trajectories and attitudes rule over predicted ones, then names later in the alphabet
    (case ignored), which are newer or Juno's own.

    Raises
    ------
    GeometryError
        if there is none.
    """
    if kernels.is_dir():
        found = sorted(
            (p for p in kernels.rglob("*") if p.suffix.lower() in SUFFIXES),
            key=lambda p: (not is_predicted(p.name), p.name.lower(), str(p)),
        )
        if not found:
            raise GeometryError(f"{kernels} holds no SPICE kernel ({', '.join(sorted(SUFFIXES))})")
        return found
    if not kernels.is_file():
        raise GeometryError(f"{kernels}: there is no such folder of kernels or meta-kernel")
    if kernels.suffix.lower() != ".tm":
        return [kernels]
    from pipeline.geometry import spice

    return spice.listed(kernels)


def is_predicted(name: str) -> bool:
    """Whether a trajectory or attitude kernel is not reconstructed, by NAIF's naming."""
    return any(mark in name.lower() for mark in PREDICTED)


def kernel_clock(kernels: Path) -> Sclk | None:
    """The spacecraft clock of the newest SCLK kernel (by its last coefficient), or None if there is none."""
    clocks = [Sclk.from_kernel(p) for p in kernel_files(kernels) if p.suffix.lower() == ".tsc"]
    return max(clocks, key=lambda c: c.last, default=None)


def describe_kernels(kernels: Path, ets: Sequence[float]) -> str:
    """What a set of kernels covers: number of files, and how many of the times have position and attitude."""
    from pipeline.geometry import spice

    files = kernel_files(kernels)
    position = spice.coverage(files)
    try:
        clock = kernel_clock(kernels)
    except InputError as error:
        raise GeometryError(str(error)) from error
    passes = sum(any(a <= et <= b for a, b in position) for et in ets)
    attitude = sum(p.suffix.lower() == ".bc" for p in files)
    reach = f"to {format_utc(clock.last, 0)[:10]}" if clock else "none"
    return f"{len(files)} kernels: trajectory at {passes} of {len(ets)} passes, {attitude} C-kernels, clock {reach}"
