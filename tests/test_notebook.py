"""The widget for notebooks: its state and answers in Python, and its module in a real browser."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("anywidget", reason="the extra striate[notebook] is not installed")
pytest.importorskip("torch", reason="a run to look at is trained first")

import striate  # noqa: E402
from striate.errors import DataError  # noqa: E402
from striate.fitting.watch import Watch  # noqa: E402
from striate.inside.trace_record import TraceError  # noqa: E402
from striate.studio.notebook import inside  # noqa: E402
from tests.studio_browser import browser, check_panel, until, watched  # noqa: E402

ROOT = "document.getElementById('cell').shadowRoot"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits-1"
    striate.train("digits", "lenet5", out=folder, epochs=1, watch=Watch())
    return folder


@pytest.fixture(scope="module")
def model(run):
    return striate.load(run)


@pytest.fixture(scope="module")
def picture(model) -> np.ndarray:
    return model.images("digits").x[7]


@pytest.fixture
def widget(model, picture):
    """The widget, whose messages go to the list `sent` in place of a kernel's channel."""
    made = inside(model, picture, name="seven")
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append(content)
    return made


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


def told(widget, question: str, buffers: tuple[bytes, ...] = (), **values):
    """What Python sends back when a message of the page comes in, as the notebook's channel hands it on."""
    widget._handle_custom_msg({"id": 1, "question": question, "values": values}, list(map(memoryview, buffers)))
    return widget.sent.pop()


# In Python -------------------------------------------------------------------------------------------


def test_the_state_that_goes_to_the_notebook_is_the_scene_and_one_module(widget, model, picture):
    state = widget.get_state()
    assert state["scene"]["name"] == "seven" and state["at"] == ""
    assert state["scene"]["probabilities"] == pytest.approx(model.probabilities(picture[None])[0].tolist(), abs=1e-6)
    assert json.loads(json.dumps(state["scene"])) == state["scene"]
    assert "\nimport " not in state["_esm"] and state["_esm"].endswith("export default module_notebook.default;\n")


def test_the_answers_are_the_librarys(widget, model, picture):
    look = widget.scene["id"]
    trace = model.trace(picture, "conv2", 3, 4, 5)
    answer = told(widget, "trace", look=look, at="conv2[3,4,5]")
    assert answer["id"] == 1 and (answer["answer"]["shown"], answer["answer"]["lead"]) == (trace.shown, trace.lead)
    answer = told(widget, "attribution", look=look, target=2, method="grad-cam")["answer"]
    assert answer["src"].startswith("data:image/png") and answer["target"] == 2
    without = told(widget, "lesion", look=look, path="conv1", channel=0)["answer"]["probabilities"]
    assert sum(without) == pytest.approx(1) and without != widget.scene["probabilities"]
    packed = io.BytesIO()
    Image.fromarray(picture[..., 0]).save(packed, "PNG")
    seen = told(widget, "look", (packed.getvalue(),), name="file.png")["answer"]
    assert seen["probabilities"] == widget.scene["probabilities"] and seen["id"] != look


def test_what_the_library_refuses_comes_back_in_its_words(widget, model, picture):
    with pytest.raises(TraceError) as refused:
        model.trace(picture, "conv9", 0, 0, 0)
    assert told(widget, "trace", look=widget.scene["id"], at="conv9[0,0,0]")["refused"].startswith(refused.value.where)
    with pytest.raises(DataError) as unread:
        model.prepared(b"no image")
    assert told(widget, "look", (b"no image",), name="x")["refused"] == str(unread.value)
    assert "does not answer" in told(widget, "shell")["refused"]
    with pytest.raises(TraceError):
        inside(model, picture, at="conv1[99,0,0]")


def test_a_run_folder_and_a_first_value_will_do(run, picture, model):
    made = inside(run, picture, at="pool1[2,3,4]", language="ko")
    assert (made.at, made.language) == ("pool1[2,3,4]", "ko")
    assert made.trace()["shown"] == model.trace(picture, "pool1", 2, 3, 4).shown


def test_without_the_extra_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['anywidget'] = None\n"
        "from striate.errors import StriateError\n"
        "try:\n    import striate.studio.notebook\nexcept StriateError as e:\n    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        'notebook: the package anywidget is not installed\n  hint  pip install "striate[notebook]"\n'
    )


# In the browser --------------------------------------------------------------------------------------

HOST = """async ([esm, values]) => {
    const listeners = {};
    const fire = (event, ...given) => [...(listeners[event] ?? [])].forEach((listener) => listener(...given));
    window.saved = {};
    window.model = {
        get: (name) => values[name],
        set(name, value) {
            if (values[name] === value) return;
            values[name] = value;
            fire(`change:${name}`);
        },
        on: (event, listener) => (listeners[event] ??= []).push(listener),
        off: (event, listener) => (listeners[event] = listeners[event].filter((item) => item !== listener)),
        save_changes: () => (window.saved = { at: values.at }),
        async send(content, callbacks, buffers) {
            const bytes = buffers.map((buffer) => [...new Uint8Array(buffer)]);
            fire("msg:custom", await window.python(content, bytes), []);
        },
    };
    const { default: widget } = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
    window.leave = await widget.render({ model: window.model, el: document.getElementById("cell") });
    window.left = () => Object.values(listeners).flat().length;
}"""
"""What a notebook does with a widget: a model with anywidget's methods, whose messages Python answers."""


@pytest.fixture
def cell(chromium, widget):
    """A page with the widget in a cell among other things."""
    with watched(chromium) as page:

        def answered(content, buffers):
            widget._handle_custom_msg(content, [memoryview(bytes(part)) for part in buffers])
            return widget.sent.pop()

        page.expose_function("python", answered)
        page.set_content('<body data-jp-theme-light="false"><h2>A notebook</h2><table></table><div id="cell"></div>')
        page.plain = page.evaluate("getComputedStyle(document.querySelector('h2')).font")
        state = widget.get_state()
        page.evaluate(HOST, [widget._esm, {name: state[name] for name in ("at", "language", "scene", "css")}])
        page.locator(".panel .value").wait_for()
        yield page


def test_a_click_in_the_cell_shows_the_librarys_numbers_and_is_told_to_python(cell, model, picture):
    cell.locator("canvas[data-path=conv2]").click(position={"x": 2, "y": 2})
    check_panel(cell, model.trace(picture, "conv2", 0, 0, 0), ROOT)
    assert cell.evaluate("window.saved.at") == "conv2[0,0,0]"
    cell.locator("[data-step=lead]").click()
    path, index = model.trace(picture, "conv2", 0, 0, 0).lead[:-1].split("[")
    check_panel(cell, model.trace(picture, path, *map(int, index.split(","))), ROOT)


def test_a_value_set_in_python_is_explained_in_the_cell(cell, model, picture):
    cell.evaluate("window.model.set('at', 'conv1[1,2,3]')")
    check_panel(cell, model.trace(picture, "conv1", 1, 2, 3), ROOT)
    cell.evaluate("window.model.set('at', 'conv9[1,2,3]')")
    until(cell, f"{ROOT}.querySelector('.panel .error')?.innerText.includes('conv9')")


def test_a_file_opened_in_the_cell_goes_to_python_and_comes_back_classified(cell, model, tmp_path):
    other = model.images("digits").x[20]
    Image.fromarray(other[..., 0]).save(tmp_path / "other.png")
    cell.locator("input[type=file]").set_input_files(tmp_path / "other.png")
    cell.locator("[data-ready='other.png']").wait_for()
    assert cell.locator(".class.best .label").inner_text() == model.predict(other).label
    assert cell.get_by_role("button", name="Another test image").count() == 0


def test_the_notebook_keeps_its_style_and_lends_its_theme(cell):
    assert cell.evaluate("getComputedStyle(document.querySelector('h2')).font") == cell.plain
    assert cell.evaluate("getComputedStyle(document.getElementById('cell')).colorScheme") == "dark"
    ground = f"getComputedStyle({ROOT}.querySelector('.cell-box')).backgroundColor"
    assert cell.evaluate(ground) == "rgb(18, 20, 26)"


def test_a_cell_that_is_gone_listens_no_more(cell):
    cell.evaluate("window.leave()")
    assert cell.evaluate("window.left()") == 0
