"""MAG: the fluxgate magnetometer."""
