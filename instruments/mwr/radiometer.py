"""The radiometer equation and what follows from it (README.md, "One equation"); arrays over (n, receiver, ...).

A receiver behind elements i = 1..N of loss L_i >= 1 and physical brightness T_i, with power reflection g at its input:

``T_rx = (1 - g) (TA / L + S) + g T_back``, ``L = prod L_i``, ``S = sum_i (1 - 1/L_i) T_i prod_(j>i) 1/L_j``

Its detector gives ``y = x (1 + a x) = K (T_rx + T_receiver)`` with x the counts less their offset; on the load T_load
takes the place of T_rx, with a noise diode on, T_ND is added. Brightness is that of the Rayleigh-Jeans law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.tables import Table
from pipeline.errors import CalibrationError

Array = NDArray[np.float64]

# h/k in K per GHz (exact constants of the SI).
QUANTUM = 0.04799243073
PER_DECIBEL = np.log(10.0) / 10.0


def brightness(temperature: Array, frequency: Array) -> Array:
    """Rayleigh-Jeans brightness of a black body, K: ``q / (exp(q/T) - 1)``, q = h f / k (f in GHz)."""
    quantum = QUANTUM * frequency
    return np.asarray(quantum / np.expm1(quantum / temperature))


@dataclass(frozen=True)
class Front:
    """What lies between aperture and detector, at n times.

    Parameters
    ----------
    loss : L_i >= 1 (receiver, element), in the order of the way of the signal.
    reflection : g (receiver).
    elements : T_i (n, receiver, element), K.
    load, back : T_load and T_back (n, receiver), K.
    """

    loss: Array
    reflection: Array
    elements: Array
    load: Array
    back: Array

    @property
    def total(self) -> Array:
        """L (receiver)."""
        return np.asarray(self.loss.prod(axis=1))

    @property
    def emitted(self) -> Array:
        """S, K (n, receiver)."""
        after = np.cumprod(self.loss[:, ::-1], axis=1)[:, ::-1] / self.loss
        return np.asarray(((1.0 - 1.0 / self.loss) * self.elements / after).sum(axis=2))

    @property
    def offset(self) -> Array:
        """Brightness of the load referred to the aperture, K (n, receiver).

        The aperture's brightness for which ``T_rx = T_load``: ``TOFF = ((T_load - g T_back) / (1 - g) - S) L``.
        """
        through = (self.load - self.reflection * self.back) / (1.0 - self.reflection)
        return np.asarray((through - self.emitted) * self.total)

    @property
    def referral(self) -> Array:
        """Brightness at the aperture per brightness at the receiver (receiver): ``TND = T_ND L / (1 - g)``."""
        return np.asarray(self.total / (1.0 - self.reflection))


def front(physical: dict[str, Array], chain: Table, frequency: Array) -> Front:
    """The front end from physical temperatures ``load`` (n, receiver) and ``elements`` (n, receiver, element), K.

    Raises
    ------
    CalibrationError
        for a loss that amplifies or a reflection of all there is.
    """
    if (chain["loss"].value < 0.0).any() or (chain["reflection"].value >= 1.0).any():
        raise CalibrationError("table mwr.chain: losses must be 0 dB or more, reflections below 1")
    load = brightness(physical["load"], frequency)
    return Front(
        loss=10.0 ** (chain["loss"].value / 10.0),
        reflection=chain["reflection"].value,
        elements=brightness(physical["elements"], frequency[:, None]),
        load=load,
        back=chain["back_ratio"].value * load,
    )


def diode(temperature: Array, noise_diode: Table) -> Array:
    """Brightness of the diodes at the receiver's input, K (n, receiver, diode), from their temperature (n, receiver).

    ``T_ND = scale T_0 (1 + linear dT + quadratic dT^2)``

    Raises
    ------
    CalibrationError
        for a diode that adds nothing.
    """
    if not (noise_diode["scale"].value[:, None] * noise_diode["brightness"].value > 0.0).all():
        raise CalibrationError("table mwr.noise_diode: the brightness of every diode must be positive")
    warm = (temperature - float(noise_diode["reference_temperature"].value))[:, :, None]
    change = 1.0 + noise_diode["linear"].value * warm + noise_diode["quadratic"].value * warm**2
    return np.asarray(noise_diode["scale"].value[:, None] * noise_diode["brightness"].value * change)


def linear(x: Array, compression: Array | float) -> Array:
    """Counts less offset made proportional to power: ``y = x (1 + a x)``."""
    return np.asarray(x * (1.0 + compression * x))


def linear_deflection(deflection: Array, base: Array, compression: Array | float) -> Array:
    """Deflection between counts x and x + d in the linear scale: ``d (1 + a (2 x + d))``."""
    return np.asarray(deflection * (1.0 + compression * (2.0 * base + deflection)))


def antenna_temperature(y_antenna: Array, y_reference: Array, gain: Array, offset: Array) -> Array:
    """``TA = TOFF + (y_antenna - y_reference) / G``, K; G in counts per K at the aperture."""
    return np.asarray(offset + (y_antenna - y_reference) / gain)


def systematic(ta: Array, at: Front, chain: Table, thermal: Table, diode_error: Array) -> Array:
    """One sigma of what the tables may be off, K (n, receiver), but for the nonlinearity.

    First derivatives of TA at fixed counts, with u_i the brightness before element i and P_i = prod_(j<i) L_j:
    losses ``P_i (u_i - T_i) dlnL_i``, elements ``P_i (L_i - 1) dT_i``, reflection ``L (u_N - T_back) dg / (1 - g)``,
    back ratio ``L g T_load d / (1 - g)``, load ``L (1 - g back) dT / (1 - g)``, diodes ``(TA - TOFF) d``. Errors of the
    diodes' temperature coefficients (1e-4 of their brightness) are left out.

    Parameters
    ----------
    ta : (n, receiver).
    diode_error : relative error of the gain (n, receiver).
    """
    sigma = PER_DECIBEL * chain["loss"].sigma
    variance = ((ta - at.offset) * diode_error) ** 2
    before, u = np.ones(len(sigma)), ta
    for i in range(at.loss.shape[1]):
        loss = at.loss[:, i]
        variance = variance + (before * (u - at.elements[:, :, i]) * sigma[:, i]) ** 2
        variance = variance + (before * (loss - 1.0) * thermal["element_offset"].sigma[:, i]) ** 2
        u = u / loss + (1.0 - 1.0 / loss) * at.elements[:, :, i]
        before = before * loss
    through = at.total / (1.0 - at.reflection)
    variance = variance + (through * (u - at.back) * chain["reflection"].sigma) ** 2
    variance = variance + (through * at.reflection * at.load * chain["back_ratio"].sigma) ** 2
    kept = 1.0 - at.reflection * chain["back_ratio"].value
    variance = variance + (through * kept * thermal["load_offset"].sigma) ** 2
    return np.asarray(np.sqrt(variance))
