"""The discipline dictionaries that fit a product: display, imaging, spectra, particles, geometry, processing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from pipeline.archive import xml
from pipeline.archive.declaration import Particles, Pds4, SpectralAxis
from pipeline.archive.label import array_class, axis_names, names
from pipeline.archive.layout import Array, Object
from pipeline.archive.xml import Element, make, short
from pipeline.dataset.parts import Part

KERNELS = {
    ".bsp": "SPK", ".bc": "CK", ".tf": "FK", ".ti": "IK", ".tls": "LSK", ".tpc": "PCK", ".bpc": "PCK", ".tsc": "SCLK",
    ".tm": "MK", ".bds": "DSK",
}  # fmt: skip


def discipline(
    objects: Sequence[Object],
    parts: Sequence[Part],
    attrs: Mapping[str, Any],
    pds4: Pds4,
    kernels: Sequence[str],
    inputs: Sequence[str],
) -> list[Element]:
    """Everything of a product's ``Discipline_Area``.

    Parameters
    ----------
    attrs : attributes of the dataset; its ``recipe`` says how it was made.
    kernels : names of the SPICE kernels its geometry was made from.
    inputs : identifiers of the products it was made from.
    """
    arrays = [o for o in objects if isinstance(o, Array)]
    by_name = {p.name: p for p in parts}
    found = [*_displays(arrays, pds4), *_imaging(arrays, by_name, pds4)]
    if kernels:
        found.append(_geometry(kernels))
    found += _spectra(arrays, by_name, pds4)
    particles = pds4.particles.get(str(attrs.get("product_type")))
    if particles:
        found.append(_particles(particles, by_name))
    if "recipe" in attrs:
        found.append(_processing(objects, json.loads(str(attrs["recipe"])), inputs))
    return found


def _local(identifiers: Sequence[str], kind: str) -> Element:
    return make(
        "Local_Internal_Reference",
        *(make("local_identifier_reference", i) for i in identifiers),
        make("local_reference_type", kind),
    )


def _pictures(arrays: Sequence[Array], pds4: Pds4) -> list[Array]:
    return [a for a in arrays if pds4.image and a.stored.part.dims[-2:] == pds4.image]


def _displays(arrays: Sequence[Array], pds4: Pds4) -> Iterator[Element]:
    for picture in _pictures(arrays, pds4):
        yield make(
            "disp:Display_Settings",
            _local([picture.name], "display_settings_to_array"),
            make(
                "disp:Display_Direction",
                make("disp:horizontal_display_axis", "Sample"),
                make("disp:horizontal_display_direction", "Left to Right"),
                make("disp:vertical_display_axis", "Line"),
                make("disp:vertical_display_direction", "Bottom to Top" if pds4.upward else "Top to Bottom"),
            ),
        )


def _imaging(arrays: Sequence[Array], parts: Mapping[str, Part], pds4: Pds4) -> Iterator[Element]:
    """Exposure, where all records share one, and filters."""
    pictures = [a for a in _pictures(arrays, pds4) if array_class(a, pds4).endswith("_Image")]
    exposure, filters = parts.get(pds4.exposure or ""), parts.get(pds4.filter or "")
    times = np.unique(exposure.whole()) if exposure is not None else np.empty(0)
    shown = list(dict.fromkeys(str(f) for f in filters.whole().ravel())) if filters is not None else []
    if not pictures or not (len(times) == 1 or shown):
        return
    duration = make("img:exposure_duration", xml.number(times[0]), unit="s") if len(times) == 1 else None
    yield make(
        "img:Imaging",
        *(_local([p.name], "imaging_parameters_to_image_object") for p in pictures),
        make("img:Exposure", duration) if duration is not None else None,
        *(make("img:Optical_Filter", make("img:filter_name", short(f))) for f in shown),
    )


def _geometry(kernels: Sequence[str]) -> Element:
    entries = []
    for name in kernels:
        kind = next((k for suffix, k in KERNELS.items() if name.lower().endswith(suffix)), None)
        entries.append(
            make(
                "geom:SPICE_Kernel_Identification",
                make("geom:kernel_type", kind) if kind else None,
                make("geom:spice_kernel_file_name", name),
            )
        )
    return make("geom:Geometry", make("geom:SPICE_Kernel_Files", *entries))


def _spectra(arrays: Sequence[Array], parts: Mapping[str, Part], pds4: Pds4) -> Iterator[Element]:
    for one in arrays:
        dim = next((d for d in one.stored.part.dims if d in pds4.spectral), None)
        uncertainty = "err_corr" in one.stored.part.attrs
        if dim is None or pds4.view is None or uncertainty or not array_class(one, pds4).endswith("_Spectrum"):
            continue
        axis = pds4.spectral[dim]
        if axis.centres not in parts:
            continue
        view = pds4.view
        if view.width is None or view.length is None:
            shape = make("sp:Complex_FOV")
        else:
            edges = (("width", view.width), ("length", view.length))
            shape = make("sp:Rectangular_FOV", *(make(f"sp:{n}_angle", xml.number(v), unit="deg") for n, v in edges))
        yield make(
            "sp:Spectral_Characteristics",
            _local([one.name], "spectral_characteristics_to_array_object"),
            make("sp:description", f"Axis {axis_names(one, pds4)[one.stored.part.dims.index(dim)]} of {one.name}."),
            make("sp:spectrum_format", f"{len(one.stored.part.dims)}D"),
            make("sp:spectral_bin_type", axis.kind),
            make("sp:Field_of_View", make("sp:description", view.description), shape),
            make("sp:Bin_Description", make("sp:bin_profile_description", axis.profile), _lookup(axis, parts)),
        )


def _lookup(axis: SpectralAxis, parts: Mapping[str, Part]) -> Element:
    """Where centres and widths of the bins are; adjoining bins are as wide as the step of the centres."""
    centres = make("sp:Bin_Center_Lookup", _local([axis.centres], "spectral_characteristics_to_bin_center_values"))
    if axis.widths:
        local = _local([axis.widths], "spectral_characteristics_to_bin_width_values")
        return make("sp:Spectral_Lookup", centres, make("sp:Bin_Width_Lookup", local))
    step = float(np.median(np.abs(np.diff(parts[axis.centres].whole()))))
    width = make(f"sp:bin_width_{axis.kind}", xml.number(float(f"{step:.6g}")), unit=axis.unit)
    return make("sp:Spectral_Lookup", centres, make("sp:Bin_Width_Constant", width))


def _particles(particles: Particles, parts: Mapping[str, Part]) -> Element:
    ends: list[Element] = []
    if particles.energies and particles.energies[0] in parts:
        values = parts[particles.energies[0]].whole()
        if np.isfinite(values).any():
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
            ends = [
                make(f"particle:energy_range_{name}", xml.number(value), unit=particles.energies[1])
                for name, value in (("minimum", low), ("maximum", high))
            ]
    return make(
        "particle:Particle_Observation",
        *ends,
        *(
            make(
                "particle:Particle_Parameter",
                make("particle:particle_type", particles.kind),
                make("particle:particle_measurement_type", measurement),
                *(make("particle:ion_type", ion) for ion in particles.ions),
            )
            for measurement in particles.measurements
        ),
    )


def _processing(objects: Sequence[Object], recipe: Mapping[str, Any], inputs: Sequence[str]) -> Element:
    """The step, its parameters, and what it was given."""
    code = recipe["code"]
    settings = {**recipe.get("parameters", {}), "window": recipe.get("window", "all")}
    parameters = [
        make(
            "proc:Parameter",
            make("proc:name", name),
            make("proc:parameter_type", "Input"),
            make("proc:value", short(value if isinstance(value, str) else json.dumps(value))),
        )
        for name, value in sorted(settings.items())
    ]
    given = [
        make("Internal_Reference", make("lid_reference", lid), make("reference_type", "data_to_input_product"))
        for lid in dict.fromkeys(inputs)
    ]
    return make(
        "proc:Processing_Information",
        _local(names(objects), "processing_information_to_data_object"),
        make("proc:Input_Product_List", *given) if given else None,
        make(
            "proc:Process",
            make("proc:name", str(code["step"])),
            make("proc:description", "The step that made this product; see the algorithm in the document collection."),
            make(
                "proc:Software",
                make("proc:name", "perijove"),
                make("proc:software_version_id", version("perijove")),
                make("proc:software_availability", "Open source"),
                make(
                    "proc:Software_Program",
                    make("proc:name", str(code["step"])),
                    make("proc:program_version", str(code["version"])),
                    make("proc:Software_Program_Parameters", *parameters),
                ),
            ),
        ),
    )
