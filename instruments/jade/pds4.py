"""What the PDS4 labels of JADE say beyond the schemas."""

from __future__ import annotations

from instruments.jade.level3_write import write_level_3
from pipeline.archive.declaration import Facet, Particles, Pds4

PDS4 = Pds4(
    facets=(
        Facet("Particles", "Electrons", "Plasma", domains=("Magnetosphere",), of="electron"),
        Facet("Particles", "Ions", "Plasma", domains=("Magnetosphere",), of="ion_"),
    ),
    legacy=write_level_3,
    levels={"jade.electron_moments": "Derived", "jade.ion_moments": "Derived", "jade.ion_masses": "Derived"},
    particles={
        "jade.electron_rate": Particles("Electrons", ("Count Rate", "Counts")),
        "jade.electron_flux": Particles(
            "Electrons", ("Energy Flux", "Flux", "Distribution Function", "Pitch Angle Distribution")
        ),
        "jade.electron_moments": Particles("Electrons", ("Density", "Temperature", "Thermal Pressure")),
        "jade.ion_rate": Particles("Ions", ("Count Rate", "Counts")),
        "jade.ion_flux": Particles(
            "Ions", ("Energy Flux", "Flux", "Distribution Function", "Pitch Angle Distribution"), ("Heavy", "Proton")
        ),
        "jade.ion_logicals": Particles("Ions", ("Count Rate",)),
        "jade.ion_masses": Particles("Ions", ("Time of Flight", "Mass Spectra"), ("Heavy", "Proton")),
        "jade.ion_moments": Particles(
            "Ions", ("Density", "Temperature", "Velocity", "Thermal Pressure"), ("Heavy", "Proton")
        ),
    },
)
