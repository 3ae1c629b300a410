"""The planet: shape, rotation (System III), gravity, magnetic field."""

from pipeline.jupiter.con2020 import con2020
from pipeline.jupiter.jrm33 import jrm33
from pipeline.jupiter.m_shell import m_shell

__all__ = ["con2020", "jrm33", "m_shell"]
