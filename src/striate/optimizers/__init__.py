"""Optimizers as data: a file an optimizer, and in it all that striate knows of it.

A file here holds a record, a frozen dataclass of `record.Optimizer`'s shape, and is found by lying here. The recipe,
the command line, the page, the account of memory, the torch engine, checkpoints and traces read the records; none of
them names an optimizer. Neither torch nor NumPy is loaded before an optimizer takes a step.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .record import Optimizer, StepLine, TensorUpdate

__all__ = ["OPTIMIZERS", "StepLine", "Optimizer", "TensorUpdate", "list_optimizers_with"]

for _module in iter_modules(__path__):
    if not _module.ispkg:
        import_module(f"{__name__}.{_module.name}")

# The records by the names that a recipe has for them, the oldest first.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.NAME: kind for kind in sorted(Optimizer.__subclasses__(), key=lambda kind: kind.YEAR)
}


def list_optimizers_with(setting: str) -> list[str]:
    """The names of the optimizers that have a setting, such as momentum."""
    return [name for name, kind in OPTIMIZERS.items() if setting in kind.settings()]
