"""What happened to raw data, as readers count it: ``events(record, event)`` at times ``et_event``."""

from __future__ import annotations

import xarray as xr

from pipeline.clock import Span


def counted(raw: xr.Dataset, span: Span) -> dict[str, int]:
    """How often each kind of thing happened to the raw records within a span."""
    use = span.contains(raw["et_event"].values)
    return dict(zip(raw["event"].values.tolist(), raw["events"].values[use].sum(axis=0).tolist(), strict=True))
