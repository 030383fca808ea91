"""The model file, the exported file, and prediction. Nothing here imports torch."""
