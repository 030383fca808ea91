"""The strengths at which a transfer's head was cross-validated, as the run keeps them: strength, accuracy, loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..language import say

Tried = Mapping[str, float]


def find_chosen(strengths: Sequence[Tried]) -> Tried:
    """The one of least cost (`transfer.head.TriedStrength`); of equal ones the stronger, which was tried first."""
    return min(strengths, key=lambda item: item["cost"])


def format_strengths(strengths: Sequence[Tried], history: Sequence[int] = (), best: int = 0) -> list[str]:
    """The lines for the terminal: a line a strength, and what fine-tuning came to.

    history  the epochs of the run, of which 0 is the head alone; best  the one that was kept
    """
    if not strengths:
        return []
    chosen = find_chosen(strengths)
    lines = [say("head    cross-validated at {count} L2 strengths:", count=len(strengths))]
    for item in strengths:
        line = say("        {strength:<7g} loss {loss:.4f}, accuracy {accuracy:.2%}", **item)
        lines.append(say("{line}, chosen", line=line) if item is chosen else line)
    epochs = sum(epoch > 0 for epoch in history)
    if epochs and best:
        lines.append(say("tuned   {epochs} epochs of fine-tuning, the best is {best}", epochs=epochs, best=best))
    elif epochs:
        lines.append(say("tuned   {epochs} epochs of fine-tuning, none better than the head alone", epochs=epochs))
    return lines
