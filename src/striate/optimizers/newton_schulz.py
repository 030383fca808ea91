"""Orthogonalising a matrix by Newton–Schulz rounds, in NumPy, and the polynomial that torch's version uses too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .record import Array


# Of X ← aX + b(XXᵀ)X + c(XXᵀ)²X, tuned by Jordan (2024) to lift small singular values fast; they end in 0.7 to 1.2.
QUINTIC = (3.4445, -4.7750, 2.0315)


ROUNDS = 5


def orthogonalise_matrix(matrix: Array) -> Array:
    """The matrix with its singular values near 1, by Newton–Schulz rounds as Jordan writes them."""
    import numpy as np

    a, b, c = QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x
