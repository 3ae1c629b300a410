"""Tracking data of NASA's Deep Space Network: one module per interface document.

`tnf` TRK-2-34, `odf` TRK-2-18, `rsr` 0159-Science, `media` TRK-2-23, `eop` TRK-2-21. The archive of a mission wraps
these files in names of its own; what the names of all DSN deliveries share is `FILE_NAME`.
"""

from __future__ import annotations

import re

FILE_NAME = re.compile(
    r"(?P<mission>[A-Z]{3})_(?P<phase>[A-Z]{4})_(?P<year>\d{4})(?P<doy>\d{3})_(?P<hhmm>\d{4})"
    r"(?P<up_band>[NSXKM])(?P<up_station>\d{2}|NN|MM)(?P<down_band>[SXKM])(?P<down_station>\d{2}|MM)?"
    r"(?P<rate>C\d{3}|\d{3}K)V(?P<version>\d{2})\.(?P<kind>TNF|ODF|RSR)",
    re.IGNORECASE,
)
"""Radio-science file names in the PDS archive, e.g. ``GRV_JUGR_2016240_0635X55MC001V01.TNF``.

Bands and stations of uplink and downlink, M and MM for several (``M`` alone for a downlink of several bands); ``Cnnn``
is the Doppler count time in s, ``nnnK`` the sample rate in kHz. Of one start, bands and
stations the highest version stands.
"""

ANCILLARY_NAME = re.compile(
    r"(?P<mission>[A-Z]{3})_(?P<phase>[A-Z]{4})_(?P<first>\d{7})_(?P<last>\d{7})_V(?P<version>\d{2})"
    r"\.(?P<kind>AMC|EOP|ION|SFF|TRO|WEA)",
    re.IGNORECASE,
)
"""Names of their companions by first and last day (year and day of the year): ION and TRO are `media`, EOP is `eop`."""
