"""The Earth as a tracking station sees it: time scales of its clocks, its orientation, its tides, its atmosphere.

Nothing here calls SPICE or knows of an instrument. Coordinates are kilometres, times seconds; what must keep more
digits than a double is carried in extended precision as an offset from an epoch (`times.Extended`).
"""
