"""What the PDS4 labels of Waves say beyond the schemas."""

from __future__ import annotations

from pipeline.archive.declaration import Facet, Pds4, SpectralAxis, View

PDS4 = Pds4(
    facets=(
        Facet("Fields", "Electric", "Waves", domains=("Magnetosphere",), wavelengths=("Radio",)),
        Facet("Fields", "Magnetic", "Waves", domains=("Magnetosphere",), wavelengths=("Radio",)),
    ),
    levels={"waves.differences": "Derived", "waves.flux": "Derived"},
    spectral={
        "channel_e": SpectralAxis("frequency", "frequency_e", "Hz", "Noise bandwidth of the channel.", "bandwidth_e"),
        "channel_b": SpectralAxis("frequency", "frequency_b", "Hz", "Noise bandwidth of the channel.", "bandwidth_b"),
        "frequency": SpectralAxis("frequency", "frequency", "Hz", "Bins of a Fourier transform with a window."),
    },
    view=View("A dipole antenna and a search coil: they see all directions."),
)
