"""The table of differences between this survey and the archive's, channel by channel, in words and numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import xarray as xr


def lines(table: xr.Dataset) -> Iterator[str]:
    """Lines of ``waves.differences``: the channels in which there is something to compare, and the sum of them."""
    yield f"{'MHz':>8} {'spectra':>8} {'unseen':>7} {'mean':>10} {'largest':>10} {'in sigma':>9}"
    known = table.isel(channel_e=table["matched"].values > 0)
    for k in range(known.sizes["channel_e"]):
        own = known.isel(channel_e=k)
        mean, largest, sigma = (float(own[n]) for n in ("difference", "largest", "largest_in_sigma"))
        counts = f"{int(own['matched']):>8} {int(own['unseen']):>7}"
        yield f"{float(own['frequency_e']) * 1e-6:>8.3f} {counts} {mean:>10.1e} {largest:>10.1e} {sigma:>9.2f}"
    largest = float(known["largest"].max()) if known.sizes["channel_e"] else 0.0
    yield f"{known.sizes['channel_e']} channels, {int(known['matched'].sum())} densities, largest {largest:.1e}"


if __name__ == "__main__":  # python -m instruments.waves.differences PRODUCT STORE
    from pipeline.notebook import open_product

    print("\n".join(lines(open_product(sys.argv[1], sys.argv[2]))))
