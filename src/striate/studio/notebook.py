"""The inside of a network for one image as a widget of a notebook: the page's own view, its answers from here.

    from striate.studio.notebook import inside
    inside("runs/digits-1", "three.png")

Needs the extra `striate[notebook]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..browser.joining import name_variable
from ..errors import DataError, StriateError
from ..language import say, to_say, use_language
from ..model.model import Model, load_model
from .look import Lens
from .page_files import join_page_modules, read_page_file
from .recent import Looks

try:
    import anywidget
    import traitlets
except ImportError:
    hint = 'pip install "striate[notebook]"'
    raise StriateError("notebook", to_say("the package anywidget is not installed"), hint=hint) from None


class Inside(anywidget.AnyWidget):
    """An image inside a network, to be shown in a cell. Made by `inside`.

    at        the address of the value that is explained, such as "conv1[3,10,12]": read it, or set it
    language  "en" or "ko"; scene  what is drawn, as `look.as_dict` gives it; css  the style of the view
    """

    _esm = f"{join_page_modules('notebook.js')}export default {name_variable('notebook.js')}.default;\n"

    at = traitlets.Unicode("").tag(sync=True)
    language = traitlets.Enum(["en", "ko"], "en").tag(sync=True)
    scene = traitlets.Dict().tag(sync=True)
    css = traitlets.Unicode(read_page_file("base.css") + read_page_file("inside.css")).tag(sync=True)

    def __init__(self, model: Model, image: Any, *, name: str = "", **traits: Any) -> None:
        self.lens, self.looks = Lens(model), Looks()
        super().__init__(scene=self.looks.add(self.lens.look(image, name)), **traits)
        self.on_msg(self.asked)

    def asked(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        """Answer a question of the page by a message with the same number."""
        try:
            with use_language(self.language):
                found = self.answer(content["question"], content["values"], buffers)
            self.send({"id": content["id"], "answer": found})
        except StriateError as e:
            with use_language(self.language):
                self.send({"id": content["id"], "refused": str(e)})

    def answer(self, question: str, values: dict[str, Any], buffers: list[Any]) -> Any:
        """The library's answer, as the studio's server gives it. Raises StriateError."""
        match question:
            case "trace":
                return self.looks.trace(values["look"], values["at"])
            case "ladder":
                return self.looks.ladder(values["look"], values["at"], values["key"])
            case "lesion":
                return self.looks.lesion(values["look"], values["path"], values["channel"])
            case "attribution":
                return self.looks.attribution(values["look"], values["target"], values["method"])
            case "look":
                return self.looks.add(self.lens.look(bytes(buffers[0]), values["name"]))
        raise DataError(question, say("a notebook does not answer this request"))

    def trace(self) -> dict[str, Any]:
        """The record of the value at `at`, or of the one that the page begins with. Raises TraceError."""
        return self.looks.trace(self.scene["id"], self.at or self.scene["start"])


def inside(model: Model | str | Path, image: Any, *, name: str = "", at: str = "", language: str = "en") -> Inside:
    """One image inside a trained network, in a notebook's cell: all maps, and where each value comes from.

    model     a Model, a run folder, or a model file
    image     as for `Model.predict`: a path, a file's bytes, a Pillow image or a uint8 array
    at        the value to begin with, such as "conv1[3,10,12]"
    Raises DataError for what is no image, ModelError, TraceError for an address that is nowhere.
    """
    made = Inside(model if isinstance(model, Model) else load_model(model), image, name=name, language=language)
    if at:
        made.looks.trace(made.scene["id"], at)
        made.at = at
    return made
