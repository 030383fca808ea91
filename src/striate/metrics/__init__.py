"""What a model is worth: metrics with intervals, calibration, invariance. NumPy alone."""
