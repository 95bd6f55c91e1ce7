"""Fitting the calibrated matcher: worlds, training, rows of evidence, and how good it is."""
