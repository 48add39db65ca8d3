"""Fuzz targets: what foreign input must never do. `make fuzz` runs each of them for a while."""
