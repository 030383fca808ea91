"""The log of a run for TensorBoard: event files in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..run_files import RunFiles

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# What TensorBoard calls the tag of a text.
TEXT = "/text_summary"


class TensorboardTracker:
    """The event files in the folder "tensorboard" of a run, which is made with the first."""

    def __init__(self, folder: Path, recipe: Any) -> None:
        self.folder = RunFiles(folder).tensorboard
        self.place = str(self.folder)
        self.logged = {(tag.removesuffix(TEXT), step) for tag, step in read_logged(self.folder)}
        self.writer: SummaryWriter | None = None

    def open_writer(self) -> SummaryWriter:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder))
        return self.writer

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        for tag, value in values.items():
            self.open_writer().add_scalar(tag, value, step)
        self.open_writer().flush()

    def add_picture(self, tag: str, picture: NDArray, step: int) -> None:
        self.open_writer().add_image(tag, picture, step, dataformats="HWC")
        self.open_writer().flush()

    def add_text(self, tag: str, text: str, step: int) -> None:
        self.open_writer().add_text(tag, text, step)
        self.open_writer().flush()

    def add_page(self, page: Path) -> None:
        """TensorBoard keeps no files."""

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def read_logged(folder: Path) -> set[tuple[str, int]]:
    """The tags and steps in the event files of `folder`; one that a kill has torn is read as far as it is whole."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = sorted(folder.glob("*tfevents*")) if folder.is_dir() else []
    events = (event for file in files for event in EventFileLoader(str(file)).Load())
    return {(value.tag, event.step) for event in events for value in event.summary.value}
