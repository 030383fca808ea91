"""Architectures as data. Nothing here imports torch or NumPy."""
