"""The equations, each against another derivation or an analytic case."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from loops import finished
from scipy import signal
from waves_scene import call, tables

from instruments.waves import bursts, simulate
from instruments.waves.calibrate import WINDOW, WINDOW_POWER
from instruments.waves.layout import (
    BANDWIDTH_E,
    BURSTS,
    CHANNELS,
    FREQUENCY_E,
    HFR_HI,
    LFR_B,
    LFR_LO,
    POINTS,
    RECEIVERS,
    SAMPLE_RATES,
    bin_edges,
    bin_width,
    channels_of,
)
from instruments.waves.packets import EVENTS
from instruments.waves.schemas import ATTENUATOR_CHANGE, CROSSTALK, RECORD_CLIPPED, SCALAR
from instruments.waves.transfer import Instrument, correct, noise_gain
from pipeline.clock import Span
from pipeline.dataset.quality import Quality

EVERYTHING = Span(-1e12, 1e12)
CHAIN = ("receivers", "attenuators", "antenna", "transfer")


def chain(receiver: int, hypothesis: str = "half") -> Instrument:
    known = tables()
    return Instrument.of_tables(receiver, hypothesis, *(known[n] for n in CHAIN))


# Channels


def test_channels_are_those_of_the_archive() -> None:
    """First, last and some centres of the published list (four digits)."""
    for channel, hertz in {
        0: 48.83,
        12: 634.8,
        13: 708.0,
        42: 19_970,
        43: 19_960,
        60: 141_500,
        61: 140_100,
        87: 2.823e6,
    }.items():
        assert FREQUENCY_E[channel] == pytest.approx(hertz, rel=6e-4)
    assert FREQUENCY_E[88] == 3.5e6
    assert FREQUENCY_E[125] == 40.5e6
    assert [int(bin_edges(r)[-1]) - 1 for r in (0, 1, 2)] == [432, 408, 436]


# Transfer functions


@pytest.mark.parametrize("receiver", [0, 1, 2, LFR_B])
def test_response_equals_the_sum_over_its_poles(receiver: int) -> None:
    known = simulate.truth_tables(0.0)
    own, other = chain(receiver), simulate.circuit(receiver, known)
    f = np.geomspace(10.0, 0.5 * SAMPLE_RATES[receiver], 50)
    np.testing.assert_allclose(own.response(f), other.response(f), rtol=1e-9)


def test_butterworth_is_scipys() -> None:
    own = chain(LFR_LO)
    b, a = signal.butter(4, 2 * np.pi * own.low_pass, analog=True)
    f = np.geomspace(1e3, 2.4e4, 20)
    _, h = signal.freqs(b, a, 2 * np.pi * f)
    high = 1j * f / (1j * f + own.high_pass)
    np.testing.assert_allclose(own.response(f), own.gain * own.length * h * high, rtol=1e-12)


def test_search_coil_turns_by_ninety_degrees_below_resonance_and_none_at_it() -> None:
    own = chain(LFR_B)
    quiet = Instrument(**{**own.__dict__, "high_pass": 1e-9, "low_pass": 1e12})
    low, at = np.angle(quiet.response(np.array([1.0, own.resonance])), deg=True)
    assert low == pytest.approx(90.0, abs=0.1)
    assert at == pytest.approx(0.0, abs=0.1)
    assert abs(quiet.response(np.array([1.0]))[0]) == pytest.approx(own.sensitivity, rel=1e-4)


@pytest.mark.parametrize("burst", BURSTS, ids=lambda b: b.name)
def test_a_tone_is_recovered_in_amplitude_and_phase(burst: object) -> None:
    assert isinstance(burst, type(BURSTS[0]))
    own = chain(burst.receiver)
    t = np.arange(burst.samples) / burst.rate
    inner = slice(own.reach(burst.rate), burst.samples - own.reach(burst.rate))
    for f in (1.3 * own.passband[0], np.sqrt(own.passband[0] * own.passband[1]), 0.97 * own.passband[1]):
        field = 2e-3 * np.cos(2 * np.pi * f * t + 0.7)
        response = own.response(np.array([f]))[0]
        volts = 2e-3 * np.abs(response) * np.cos(2 * np.pi * f * t + 0.7 + np.angle(response))
        found = correct(volts[None], burst.rate, own)[0]
        assert np.abs(found - field)[inner].max() < 0.02 * 2e-3


def test_noise_gain_is_that_of_noise() -> None:
    own = chain(LFR_B)
    rng = np.random.default_rng(8)
    field = correct(rng.normal(size=(60, 6144)), 50e3, own)
    reach = own.reach(50e3)
    assert field[:, reach:-reach].std() == pytest.approx(noise_gain(50e3, 6144, own), rel=0.02)


# Spectra


def test_parseval_is_exact_without_a_window() -> None:
    rng = np.random.default_rng(9)
    for size in (1024, 1023):
        x = rng.normal(size=(5, size))
        power = bursts.periodogram(x, np.ones(size), 7e6).sum(axis=1) * 7e6 / size
        np.testing.assert_allclose(power, (x**2).mean(axis=1), rtol=1e-12)


def test_welch_keeps_the_power_to_a_percent() -> None:
    x = np.random.default_rng(10).normal(size=(1, 1024 * 400))
    density, number = bursts.welch(x, 50e3)
    assert number == 799
    assert density.sum() * 50e3 / 1024 == pytest.approx(x.var(), rel=0.01)
    frequency, other = signal.welch(x[0], 50e3, "hann", 1024, detrend=False)
    assert frequency[1] == pytest.approx(50e3 / 1024)
    np.testing.assert_allclose(density[0], other, rtol=1e-9)


def test_error_of_a_density_is_that_of_noise_on_a_line_and_on_nothing() -> None:
    rng = np.random.default_rng(11)
    t = np.arange(5000) / 50e3
    line = 3.0 * np.cos(2 * np.pi * 7031.25 * t)
    true = bursts.welch(line[None], 50e3)[0] + 2.0 / 50e3
    many, number = bursts.welch(line + rng.normal(size=(300, t.size)), 50e3)
    noise = np.full(many.shape, 2.0 / 50e3)
    sigma = bursts.density_error(many, noise, np.full((300, 1), number))
    pulls = (many - true) / sigma
    assert abs(pulls[:, 20:500].mean()) < 0.03
    assert pulls[:, 20:500].std() == pytest.approx(1.0, abs=0.05)
    peak = int(np.argmax(true))
    assert pulls[:, peak].std() == pytest.approx(1.0, abs=0.15)


# Survey


def raw_survey(records: int, **changes: object) -> xr.Dataset:
    """Raw survey of equal codes in the middle of the scale."""
    by = ("et", "receiver")
    shape = (records, len(RECEIVERS))
    codes = {
        f"codes_{r}": (("et", f"channel_{r}"), np.full((records, n), 60, np.uint8)) for r, n in enumerate(CHANNELS)
    }
    data = xr.Dataset(
        {
            **codes,
            "present": (by, np.ones(shape, bool)),
            "bad": (by, np.zeros(shape, bool)),
            "attenuator": (by, np.zeros(shape, np.uint8)),
            "offset": (by, np.zeros(shape)),
            "coarse": ("et", np.zeros(records, bool)),
            "events": (("record", "event"), np.zeros((records, len(EVENTS)), np.int32)),
        },
        coords={
            "et": 1e8 + np.arange(records),
            "et_event": ("record", 1e8 + np.arange(records)),
            "event": list(EVENTS),
        },
    )
    return data.assign(changes)


def survey(data: xr.Dataset, **parameters: str) -> xr.Dataset:
    given = {"waves.lrs": data, "span": EVERYTHING}
    return finished(call("survey_from_telemetry", given, **parameters), "waves.survey")


@pytest.mark.parametrize("receiver", [0, 1, 2, LFR_B])
def test_a_tone_in_a_bin_has_its_power(receiver: int) -> None:
    """Codes of a tone of a known field, made with a transform of its own, give its mean square over the bandwidth."""
    own, known = chain(receiver), tables()
    channel = 8
    k = int(bin_edges(receiver)[channel + 1] + bin_edges(receiver)[channel]) // 2
    width = int(np.diff(bin_edges(receiver))[channel])
    f = k * bin_width(receiver)
    amplitude = 300.0 * own.volts / abs(own.response(np.array([f]))[0])
    counts = 300.0 * np.cos(2 * np.pi * k * np.arange(POINTS) / POINTS)
    first = bin_edges(receiver)[channel]
    power = (np.abs(np.fft.rfft(counts * WINDOW)) ** 2)[first : first + width].sum()
    assert pytest.approx(0.375 * POINTS) == WINDOW_POWER
    reading = power / float(known["receivers"]["counts2_per_reading"].value[receiver])
    code, _ = simulate.pseudo_float(np.array([reading]))
    data = raw_survey(1)
    data[f"codes_{receiver}"].values[:] = code
    found = survey(data)
    letter, at = ("b", channel) if receiver == LFR_B else ("e", channels_of(receiver).start + channel)
    got = float(found[f"psd_{letter}"].values[0, at]) * bin_width(receiver) * width
    # Of a tone this window puts 2/3 of the power into its own bin and 1/6 into each neighbour.
    inside = [share for bin, share in ((k - 1, 1 / 6), (k, 2 / 3), (k + 1, 1 / 6)) if first <= bin < first + width]
    assert got == pytest.approx(amplitude**2 / 2.0 * sum(inside), rel=0.07)


def test_codes_at_the_ends_are_flagged() -> None:
    data = raw_survey(3)
    data["codes_0"].values[0, 4], data["codes_0"].values[1, 5] = 255, 0
    bits = survey(data)["quality_e"].values
    assert np.argwhere((bits & Quality.SATURATED) != 0).tolist() == [[0, 4]]
    assert np.argwhere((bits & Quality.CLIPPED_LOW) != 0).tolist() == [[1, 5]]


def test_an_attenuator_is_undone_and_its_change_flagged() -> None:
    data = raw_survey(4)
    data["attenuator"].values[2:, LFR_LO] = 1
    found = survey(data)
    psd = found["psd_e"].values[:, :43]
    np.testing.assert_allclose(psd[2] / psd[1], 10.0**2.53, rtol=1e-5)
    changed = (found["quality_e"].values & np.uint32(ATTENUATOR_CHANGE.mask)) != 0
    assert np.unique(np.argwhere(changed)[:, 0]).tolist() == [2]
    assert changed[2, :43].all()
    assert not changed[2, 43:].any()
    more = found["psd_e_systematic"].values[:, 0] / psd[:, 0]
    assert more[2] > more[1]


def test_the_hypotheses_differ_by_the_square_of_the_length() -> None:
    half, short = (survey(raw_survey(1), effective_length=h) for h in ("half", "short"))
    ratio = short["psd_e"].values / half["psd_e"].values
    np.testing.assert_allclose(ratio[:, : channels_of(HFR_HI).start], (2.41 / 0.5) ** 2, rtol=1e-5)
    np.testing.assert_allclose(ratio[:, channels_of(HFR_HI)], 1.0)
    assert float(half["other_hypothesis"]) == pytest.approx(23.2, abs=0.1)
    assert float(short["other_hypothesis"]) == pytest.approx(1 / 23.2, abs=0.001)
    np.testing.assert_array_equal(short["psd_b"].values, half["psd_b"].values)


def test_crosstalk_is_suspected_where_another_receiver_is_loud_enough() -> None:
    data = raw_survey(2)
    data["codes_0"].values[1] = 250  # very loud
    data["codes_1"].values[1] = 8
    bits = survey(data)["quality_e"].values
    suspected = (bits & np.uint32(CROSSTALK.mask)) != 0
    assert not suspected[0].any()
    assert suspected[1, channels_of(1)].all()
    assert not suspected[1, channels_of(0)].any()


def test_a_missing_receiver_is_missing_and_the_others_are_not() -> None:
    data = raw_survey(3)
    data["present"].values[1, 2] = False
    found = survey(data)
    gone = np.isnan(found["psd_e"].values)
    assert np.argwhere(gone)[:, 0].tolist() == [1] * 27
    assert gone[1, channels_of(2)].all()
    assert np.all(((found["quality_e"].values & Quality.MISSING) != 0) == gone)


def test_bandwidths_cover_the_bands_without_gap() -> None:
    for receiver in (0, 1, 2):
        own = channels_of(receiver)
        upper = FREQUENCY_E[own] + BANDWIDTH_E[own] / 2
        lower = FREQUENCY_E[own] - BANDWIDTH_E[own] / 2
        np.testing.assert_allclose(upper[:-1], lower[1:], rtol=1e-12)


# Bursts


def raw_bursts(counts: np.ndarray, kind: int = 0) -> xr.Dataset:
    records = len(counts)
    padded = np.zeros((records, 6208), np.int16)
    padded[:, : counts.shape[1]] = counts
    return xr.Dataset(
        {
            "counts": (("et", "sample"), padded),
            "samples": ("et", np.full(records, counts.shape[1])),
            "kind": ("et", np.full(records, kind)),
            "attenuator": ("et", np.zeros(records, np.uint8)),
            "bad": ("et", np.zeros(records, bool)),
            "coarse": ("et", np.zeros(records, bool)),
            "events": (("record", "event"), np.zeros((1, len(EVENTS)), np.int32)),
        },
        coords={"et": 1e8 + np.arange(records), "et_event": ("record", [1e8]), "event": list(EVENTS)},
    )


def test_clipping_is_flagged_sample_by_sample_and_for_the_capture() -> None:
    counts = np.zeros((2, 6144), np.int16)
    counts[1, 100:103] = 2047
    made = finished(call("waveform_low_e", {"waves.hrs": raw_bursts(counts), "span": EVERYTHING}), "waves.burst_low_e")
    bits = made["quality"].values
    assert np.argwhere((bits & Quality.SATURATED) != 0).tolist() == [[1, 100], [1, 101], [1, 102]]
    assert np.flatnonzero((bits & np.uint32(RECORD_CLIPPED.mask)).any(axis=1)).tolist() == [1]
    assert made["clipped_fraction"].values[1] == pytest.approx(3 / 6144)


def test_a_short_capture_is_missing_beyond_its_end() -> None:
    counts = np.random.default_rng(0).integers(-90, 90, (1, 3000)).astype(np.int16)
    made = finished(call("waveform_low_e", {"waves.hrs": raw_bursts(counts), "span": EVERYTHING}), "waves.burst_low_e")
    assert np.isfinite(made["waveform"].values[0, :3000]).all()
    assert np.isnan(made["waveform"].values[0, 3000:]).all()
    assert ((made["quality"].values[0, 3000:] & Quality.MISSING) != 0).all()


def test_scalar_calibration_says_that_its_phase_is_wrong() -> None:
    counts = np.random.default_rng(0).integers(-90, 90, (1, 6144)).astype(np.int16)
    given = {"waves.hrs": raw_bursts(counts), "span": EVERYTHING}
    made = finished(call("waveform_low_e", given, correction="scalar"), "waves.burst_low_e")
    assert made["phase_valid"].values.tolist() == [0]
    assert np.all(made["quality"].values & np.uint32(SCALAR.mask))
    own = chain(LFR_LO)
    middle = abs(own.response(np.array([np.sqrt(400.0 * 2e4)]))[0])
    np.testing.assert_allclose(made["waveform"].values[0, :6144], counts[0] * own.volts / middle, rtol=1e-5)
