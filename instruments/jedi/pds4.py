"""What the PDS4 labels of JEDI say beyond the schemas."""

from __future__ import annotations

from pipeline.archive.declaration import Facet, Particles, Pds4

_ENERGIES = ("energy", "keV")
_ELECTRONS = Particles("Electrons", ("Flux", "Count Rate", "Energy Spectra"), energies=_ENERGIES)
_IONS = Particles("Ions", ("Flux", "Count Rate", "Energy Spectra"), ("Heavy", "Proton"), energies=_ENERGIES)

PDS4 = Pds4(
    facets=(
        Facet("Particles", "Electrons", "Energetic", domains=("Magnetosphere",), of="electron"),
        Facet("Particles", "Ions", "Energetic", domains=("Magnetosphere",), of="ion"),
    ),
    levels={"jedi.electron_spectrogram": "Derived", "jedi.ion_spectrogram": "Derived"},
    particles={
        "jedi.electrons": _ELECTRONS,
        "jedi.electron_spectrogram": _ELECTRONS,
        "jedi.ion_singles": _IONS,
        "jedi.ions": _IONS,
        "jedi.low_ions": _IONS,
        "jedi.ion_spectrogram": _IONS,
    },
)
