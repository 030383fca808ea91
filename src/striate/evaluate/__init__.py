"""What a model is worth: metrics with intervals, calibration, and the report of a run. NumPy and Pillow, no torch."""
