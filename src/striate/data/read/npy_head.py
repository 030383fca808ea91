"""NumPy's own file form: what the head of a .npy file, or of a member of an .npz archive, says of its array."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

import numpy as np

from ...language import say

HEAD_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class NpyHead(NamedTuple):
    """An array's shape, whether its first axis changes fastest (Fortran's order), and the type of its numbers."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        count = self.dtype.itemsize
        for n in self.shape:
            count *= n
        return count


def read_npy_head(opened: BinaryIO) -> NpyHead:
    """The head of the file that is open at its beginning, which is then read up to its first number.

    Raises ValueError for what is no such file, and for objects, which would be a pickle.
    """
    version = np.lib.format.read_magic(opened)
    if version not in HEAD_READERS:
        raise ValueError(
            say("version {major}.{minor} of the .npy form cannot be read", major=version[0], minor=version[1])
        )
    head = NpyHead(*HEAD_READERS[version](opened))
    if head.dtype.hasobject:
        raise ValueError(say("the array holds Python objects, a pickle, which is never opened"))
    return head


def write_npy_head(opened: BinaryIO, shape: tuple[int, ...]) -> None:
    """The head of a uint8 array of this shape, whose numbers are to follow."""
    np.lib.format.write_array_header_1_0(opened, {"descr": "|u1", "fortran_order": False, "shape": shape})
