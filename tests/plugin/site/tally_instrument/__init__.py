"""TALLY: a counter of penetrating particles that never flew; four detectors behind shields of different thickness.

It is as small as an instrument can be that uses everything the core offers: two raw formats for one product, products
of a granule, a group and a pass, segments with a halo, a required and an optional input, a parameter, tables with a
change of validity, a product on request, a simulator.
"""

from pathlib import Path

from pipeline.instrument import Instrument, ProductType, Quicklook, RawFormat
from tally_instrument import calibrate, quicklook, raw, schemas, simulate

INSTRUMENT = Instrument(
    name="tally",
    title="Penetrating Particle Tally",
    formats=(
        RawFormat("tally.packed", "packed counts", r"TLY_\d+_V\d\d\.TLY", raw.open_packed, raw.read_packed),
        RawFormat("tally.text", "counts as text", r"TLY_\w+\.CSV", raw.open_text, raw.read_text),
        RawFormat("tally.dark", "counts behind the closed door", r"DRK_\w+\.CSV", raw.open_dark, raw.read_text),
    ),
    products=(
        ProductType("tally.background", "Background of the pass", "pass", schemas.BACKGROUND),
        ProductType("tally.rate", "Particle rates", "pass", schemas.RATE, segment=600.0),
        ProductType("tally.dose", "Dose", "pass", schemas.DOSE, segment=900.0),
        ProductType("tally.histogram", "Histogram of a granule", "granule", schemas.HISTOGRAM),
        ProductType("tally.total", "Totals of a group", "group", schemas.TOTAL, on_request=True),
    ),
    steps=(
        calibrate.background,
        calibrate.rate,
        calibrate.rate_of_text,
        calibrate.dose,
        calibrate.histogram,
        calibrate.total,
    ),
    tables=Path(__file__).parent / "tables",
    flags=schemas.FLAGS,
    quicklooks=(Quicklook("tally-rate", "Particle rates", ("tally.rate", "tally.dose"), quicklook.rates),),
    simulate=simulate.simulate,
)
