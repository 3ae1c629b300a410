"""The radiometer equation against a cascade of two-ports, and its derivatives."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from mwr_scene import CHAIN, Loop, components_of, deflections_of, tables

from instruments.mwr import radiometer, simulate
from pipeline.errors import CalibrationError

LOSSES = st.lists(st.floats(0.0, 3.0), min_size=3, max_size=3)


def world(loss: list[float], reflection: float, back: float) -> tuple[dict, dict]:
    """Tables with one front end for all receivers, as the calibration and as the simulation have them."""
    known = tables()
    known["chain"] = known["chain"].replace(
        loss=np.tile(loss, (6, 1)), reflection=np.full(6, reflection), back_ratio=np.full(6, back)
    )
    return known, {name: dict(table.values) for name, table in known.items()}


@given(LOSSES, st.floats(0.0, 0.3), st.floats(0.2, 1.5), st.floats(2.0, 1000.0))
@settings(max_examples=60, deadline=None)
def test_a_noise_free_cascade_gives_ta_back(loss: list[float], reflection: float, back: float, ta: float) -> None:
    """To 1e-9 for reflections to 0.3, through every state: gain by the diodes, load, antenna."""
    known, truth = world(loss, reflection, back)
    now = simulate.physical(np.zeros(1))
    frequency = known["receiver"]["frequency"].value
    sky = np.full((1, 6), ta)

    def power(state: int) -> np.ndarray:
        return 17.0 * (simulate.received(sky, np.array([state], np.uint8), now, truth) + simulate.NOISE)

    front = radiometer.front({"load": now.load, "elements": now.elements}, known["chain"], frequency)
    tnd = radiometer.diode(now.diode, known["noise_diode"]) * front.referral[:, None]
    for lit, off in ((5, 4), (6, 4), (3, 0)):
        gain = (power(lit) - power(off)) / tnd[:, :, lit % 4 - 1]
        found = radiometer.antenna_temperature(power(0), power(4), gain, front.offset)
        np.testing.assert_allclose(found, sky, rtol=1e-9)


def test_antenna_like_the_load_gives_the_loads_counts() -> None:
    """The meaning of TOFF: an aperture of that brightness and the load are indistinguishable."""
    known, truth = world([0.3, 0.5, 0.4], 0.1, 0.7)
    now = simulate.physical(np.zeros(1))
    frequency = known["receiver"]["frequency"].value
    front = radiometer.front({"load": now.load, "elements": now.elements}, known["chain"], frequency)
    states = [simulate.received(front.offset, np.array([s], np.uint8), now, truth) for s in (0, 4)]
    np.testing.assert_allclose(states[0], states[1], rtol=1e-12)


def test_an_offset_that_forgets_the_back_wave_is_off_by_three_kelvin() -> None:
    known, _ = world([0.3, 0.3, 0.3], 0.01, 1.0)
    now = simulate.physical(np.zeros(1))
    f = radiometer.front(
        {"load": now.load, "elements": now.elements}, known["chain"], known["receiver"]["frequency"].value
    )
    wrong = (f.load - f.emitted) * f.total / (1.0 - f.reflection)
    assert np.all((wrong - f.offset > 2.5) & (wrong - f.offset < 4.0))


def test_brightness_is_that_of_rayleigh_and_jeans() -> None:
    """The cosmic background of 2.725 K is 2.711 K at C1 and 2.234 K at C6; a warm load half of h f / k below its T."""
    found = radiometer.brightness(np.array(2.725), np.array([0.6, 21.9]))
    np.testing.assert_allclose(found, [2.711, 2.234], atol=1e-3)
    np.testing.assert_allclose(290.0 - radiometer.brightness(np.array(290.0), np.array(21.9)), 0.5255, atol=2e-3)


def test_the_two_forms_of_the_detector_are_inverse() -> None:
    """The simulator solves ``y = x (1 + a x)`` for x, the calibration evaluates it."""
    power = np.linspace(0.0, 8e4, 9)
    a = 6e-8
    x = 2.0 * power / (1.0 + np.sqrt(1.0 + 4.0 * a * power))
    np.testing.assert_allclose(radiometer.linear(x, a), power, rtol=1e-13)
    d = radiometer.linear_deflection(x[1:] - x[:-1], x[:-1], a)
    np.testing.assert_allclose(d, np.diff(power), rtol=1e-10)


@pytest.mark.parametrize("which", ["loss", "reflection", "back_ratio"])
def test_derivatives_are_those_of_the_equation(which: str) -> None:
    """`systematic` with one uncertain quantity against a finite difference at fixed power at the receiver."""
    known = tables()
    now = simulate.physical(np.zeros(1))
    frequency = known["receiver"]["frequency"].value
    ta = np.linspace(3.0, 850.0, 6)[None]
    truth = {name: dict(table.values) for name, table in known.items()}
    arriving = simulate.through(ta, now, truth["chain"], frequency)

    def referred(chain: object) -> np.ndarray:
        f = radiometer.front({"load": now.load, "elements": now.elements}, chain, frequency)  # type: ignore[arg-type]
        return f.offset + (arriving - f.load) * f.referral

    np.testing.assert_allclose(referred(known["chain"]), ta, rtol=1e-10)
    zero = {name: _sure(known["chain"], name) for name in ("loss", "reflection", "back_ratio") if name != which}
    chain = known["chain"].replace(**zero)
    thermal = known["thermal"].replace(
        **{name: _sure(known["thermal"], name) for name in ("load_offset", "element_offset")}
    )
    f = radiometer.front({"load": now.load, "elements": now.elements}, chain, frequency)
    stated = radiometer.systematic(ta, f, chain, thermal, np.zeros((1, 6)))
    sigma, value = chain[which].sigma, chain[which].value
    variance = np.zeros((1, 6))
    for column in range(value.shape[1] if value.ndim == 2 else 1):
        step = np.zeros_like(value)
        step[..., column if value.ndim == 2 else slice(None)] = 1e-4
        moved = referred(chain.replace(**{which: value + step})) - referred(chain.replace(**{which: value - step}))
        own = sigma[:, column] if value.ndim == 2 else sigma
        variance += (moved / 2e-4 * own) ** 2
    np.testing.assert_allclose(stated, np.sqrt(variance), rtol=2e-3)


UNPHYSICAL = {
    "a loss that amplifies": ("chain", {"loss": np.full((6, 3), -0.1)}),
    "all reflected": ("chain", {"reflection": np.ones(6)}),
    "a diode of nothing": ("noise_diode", {"scale": np.zeros(6)}),
    "no bandwidth": ("receiver", {"bandwidth": np.array([0.0, 1, 1, 1, 1, 1])}),
    "no integration": ("receiver", {"integration": 0.0}),
    "no beam": ("beam", {"half_power_width": np.zeros(6)}),
}


@pytest.mark.parametrize("what", UNPHYSICAL)
def test_tables_that_cannot_be_are_refused(quiet_loop: Loop, what: str) -> None:
    """No plausible wrong number comes of them."""
    name, values = UNPHYSICAL[what]
    known = tables()
    known[name] = known[name].replace(**values)
    where = quiet_loop.scene

    def calibrate() -> None:
        if name == "beam":
            components_of(quiet_loop.products["mwr.antenna_temperature"], where, known)
        deflections_of(quiet_loop.raw, where.span, known)

    with pytest.raises(CalibrationError, match=f"mwr.{name}"):
        calibrate()


@pytest.mark.parametrize("quantity", ["belts", "belts_scale", "galaxy", "galaxy_scale", "background"])
def test_galaxy_and_belts_are_required(quiet_loop: Loop, quantity: str) -> None:
    known = tables()
    left = {name: value for name, value in known["sky"].quantities.items() if name != quantity}
    known["sky"] = dataclasses.replace(known["sky"], quantities=left)
    with pytest.raises(CalibrationError, match=f"table mwr.sky has no quantity '{quantity}'"):
        components_of(quiet_loop.products["mwr.antenna_temperature"], quiet_loop.scene, known)


@pytest.mark.parametrize("name", CHAIN)
def test_a_table_that_lacks_a_quantity_is_named(quiet_loop: Loop, name: str) -> None:
    known = tables()
    quantities = dict(known[name].quantities)
    gone = {
        "receiver": "bandwidth",
        "detector": "offset",
        "chain": "loss",
        "noise_diode": "linear",
        "thermal": "coefficient",
    }
    quantities.pop(gone[name])
    known[name] = dataclasses.replace(known[name], quantities=quantities)
    with pytest.raises(CalibrationError, match=f"table mwr.{name} has no quantity '{gone[name]}'"):
        deflections_of(quiet_loop.raw, quiet_loop.scene.span, known)


def _sure(table: object, name: str) -> object:
    return dataclasses.replace(table[name], uncertainty=np.zeros(()))  # type: ignore[index]
