"""The figure of a comparison: how the differences of every variable that changed are distributed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import write_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 110
# Rows of a figure; of more variables those are drawn that changed most.
MOST = 40


def draw(document: dict[str, Any], out: Path) -> None:
    """Draw what `pipeline.runs.compare.compare_runs` says, in sigma and in units; raises StoreError if it cannot.

    A bar from 1 % to 99 %, a thick one from 16 % to 84 %, a mark at the median.
    """
    from matplotlib.figure import Figure

    changed = [
        (f"{p['identity']} {v['variable']}", v) for p in document["products"] for v in p["variables"] if v["changed"]
    ]
    changed.sort(key=lambda row: -row[1].get("rms_sigma", 0.0))
    rows = changed[:MOST]
    figure = Figure(figsize=(11, 1.5 + 0.32 * max(1, len(rows))), layout="constrained")
    in_sigma, in_units = figure.subplots(1, 2, sharey=True)
    for place, (_, variable) in enumerate(rows):
        _bar(in_sigma, place, variable.get("quantiles_sigma"), 1.0)
        largest = variable["max_abs"] or 1.0
        _bar(in_units, place, variable["quantiles"], largest)
        in_units.annotate(
            f"{largest:.3g} {variable['units']}",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
        )
    in_sigma.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=7)
    in_sigma.invert_yaxis()
    in_sigma.set_xscale("symlog", linthresh=0.1)
    in_sigma.set_xlabel("difference / sigma of the first run")
    in_units.set_xlim(-1.05, 1.05)
    in_units.set_xlabel("difference / largest difference, which stands at the right")
    left = f", the {MOST} that changed most of {len(changed)}" if len(changed) > MOST else ""
    figure.suptitle(f"{document['b']} less {document['a']}{left}", fontsize=9)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI, metadata={"Software": None})
    write_aside(out, image.getvalue())


def _bar(axes: Axes, place: int, quantiles: list[float] | None, scale: float) -> None:
    if quantiles is None:
        return
    low, lower, middle, upper, high = (q / scale for q in (quantiles[1], *quantiles[3:6], quantiles[7]))
    axes.plot([low, high], [place, place], color="C0", lw=1)
    axes.plot([lower, upper], [place, place], color="C0", lw=4, solid_capstyle="butt")
    axes.plot([middle], [place], color="black", marker="|", ms=8)
