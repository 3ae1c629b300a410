"""The compliance suite on every built-in instrument."""

from pipeline.testing.compliance import *  # noqa: F403
