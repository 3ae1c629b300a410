"""Layouts of TALLY's products."""

from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

PILE_UP = Flag(16, "pile_up", "more than a tenth of the time was dead")
FLAGS = (PILE_UP,)
QUALITY = Variable("quality", ("et",), "uint32", "1", "quality bits")
BOTH = (Uncertainty("random", ("et", "detector")), Uncertainty("systematic", ("et", "detector"), relative=True))


def _rate(name: str, units: str, words: str, dtype: str = "float32") -> Variable:
    return Variable(name, ("et", "detector"), dtype, units, words, source="tally_instrument.calibrate",
                    uncertainties=BOTH, quality="quality")  # fmt: skip


RATE = Schema(
    version=1,
    index="et",
    variables=(_rate("rate", "1/s", "rate of particles"), QUALITY),
    sizes={"detector": 4},
    chunk=256,
)
DOSE = Schema(
    version=1,
    index="et",
    variables=(_rate("dose_rate", "rad/s", "dose rate"), QUALITY),
    sizes={"detector": 4},
    chunk=512,
)
WHOLE_QUALITY = Variable("quality", ("detector",), "uint32", "1", "quality bits")


def _whole(name: str, dims: tuple[str, ...], words: str) -> Schema:
    value = Variable(name, dims, "float64", "1/s" if name == "background" else "1", words,
                     source="tally_instrument.calibrate", quality="quality",
                     uncertainties=(Uncertainty("random", dims),))  # fmt: skip
    sizes = {"detector": 4} | ({"bin": 16} if "bin" in dims else {})
    return Schema(version=1, index=None, variables=(value, WHOLE_QUALITY), sizes=sizes, context=False)


BACKGROUND = _whole("background", ("detector",), "rate behind the closed door")
HISTOGRAM = _whole("histogram", ("detector", "bin"), "how often so many particles were counted, by powers of two")
TOTAL = _whole("total", ("detector",), "all particles of the group")
