"""What makes radiance and I/F of the DN of a filter, and how the camera fared when (README.md, steps 4 to 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.tables import Table
from instruments.junocam.layout import FILTERS
from pipeline.errors import CalibrationError

AU = 149597870.7


@dataclass(frozen=True)
class Tables:
    """The tables of the radiometric chain."""

    response: Table
    detector: Table
    throughput: Table
    solar: Table
    pixels: Table
    epochs: Table


@dataclass(frozen=True)
class Band:
    """What makes radiance and I/F of the DN of one filter of one image.

    Parameters
    ----------
    place : of the filter in the tables.
    per_dn : radiance of one DN, W m^-2 sr^-1.
    i_over_f : I/F of a radiance of 1.
    relative, relative_i_over_f : systematic uncertainties as fractions.
    throughput : as divided out; `extrapolated` where no value is known for filter and orbit.
    """

    place: int
    per_dn: float
    i_over_f: float
    relative: float
    relative_i_over_f: float
    throughput: float
    extrapolated: bool


def band_of(name: str, said: dict[str, Any], tables: Tables, throughput_correction: bool) -> Band:
    """Step 4 to 6: DN per radiance of a filter, with the loss of throughput, the leakage, and the Sun.

    ``L = DN (1 - leakage) / (response exposure throughput)``, ``I/F = pi L d^2 / F``, d in au.
    """
    place = FILTERS.index(name)
    loss, loss_sigma, known = throughput_of(place, said["orbit"], tables.throughput)
    if not throughput_correction:
        # What is left in is an error as large as the loss itself.
        loss, loss_sigma = 1.0, abs(1.0 - loss)
    response, leakage = (tables.response[n] for n in ("response", "leakage"))
    summed = tables.response["summed_signal"]
    signal = float(summed.value) if said["summing"] == 2 else 1.0
    per_second = float(response.value[place]) * signal * loss
    passed = 1.0 - float(leakage.value[place])
    relative = [
        response.sigma[place] / response.value[place],
        loss_sigma / loss,
        leakage.sigma[place] / passed,
        float(summed.sigma) / signal if said["summing"] == 2 else 0.0,
        float(np.sqrt(np.mean(np.square(tables.pixels["flat"].sigma)))),
    ]
    solar = tables.solar["irradiance"]
    factor = np.pi * (said["solar_distance"] / AU) ** 2 / float(solar.value[place])
    own = float(np.sqrt(np.sum(np.square(relative))))
    of_sun = float(solar.sigma[place] / solar.value[place])
    return Band(
        place,
        passed / (per_second * said["exposure"]),
        float(factor),
        own,
        float(np.hypot(own, of_sun)),
        loss,
        not known or said["summing"] == 2,
    )


def throughput_of(place: int, orbit: int, throughput: Table) -> tuple[float, float, bool]:
    """Throughput of a filter at an orbit, its uncertainty, and whether it is known for that filter and orbit."""
    first, last = throughput["orbits"].value
    if place == FILTERS.index("METHANE"):
        slope = throughput["methane_slope"]
        return 1.0 + float(slope.value) * orbit, float(slope.sigma) * orbit, False
    intercept, slope = throughput["intercept"], throughput["slope"]
    value = float(intercept.value[place] + slope.value[place] * orbit)
    if not value > 0.0:
        raise CalibrationError(f"table junocam.throughput gives {value:.3f} for {FILTERS[place]} at orbit {orbit}")
    sigma = float(np.hypot(intercept.sigma[place], slope.sigma[place] * orbit))
    return value, sigma, bool(first <= orbit <= last)


def condition_of(orbit: int, number: int, epochs: Table) -> int:
    """Condition of the camera: the worst of the epochs that hold an image; 0: nominal."""
    place = orbit * 1e5 + number
    first, last = (epochs[f"{end}_orbit"].value * 1e5 + epochs[f"{end}_image"].value for end in ("first", "last"))
    inside = (first <= place) & (place <= last)
    return int(np.max(epochs["condition"].value, where=inside, initial=0.0))
