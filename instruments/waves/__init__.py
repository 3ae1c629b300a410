"""Waves: the radio and plasma wave instrument."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.waves import calibrate
from instruments.waves.raw import BURST, SURVEY
from instruments.waves.schemas import DIFFERENCES, FLAGS, SURVEY_ARCHIVE
from instruments.waves.schemas import SURVEY as SURVEY_SCHEMA
from instruments.waves.survey_files import CODES, CSV, STREAM
from pipeline.instrument import Instrument, ProductType

INSTRUMENT = Instrument(
    name="waves",
    title="Waves, the radio and plasma wave instrument",
    formats=(SURVEY, BURST, CODES, STREAM, CSV),
    products=(
        ProductType("waves.survey", "Power spectral density, all receivers", "pass", SURVEY_SCHEMA, segment=600.0),
        ProductType("waves.survey_archive", "The archive's own survey", "pass", SURVEY_ARCHIVE, segment=600.0),
        ProductType("waves.differences", "Survey less the archive's", "pass", DIFFERENCES),
    ),
    steps=(
        calibrate.survey_from_telemetry,
        calibrate.survey_from_codes,
        calibrate.survey_from_csv,
        calibrate.survey_from_stream,
        calibrate.differences,
    ),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "waves",
    flags=FLAGS,
)
