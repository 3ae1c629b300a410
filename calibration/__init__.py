"""Calibration tables: files with values, units, uncertainty and pedigree, and the contexts that choose among them."""
