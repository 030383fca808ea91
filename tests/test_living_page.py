"""The living page: from its file, offline, it computes while one draws, and what it computes is the library's."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="a run to look at is trained first")

import striate  # noqa: E402
from striate.architecture import zoo  # noqa: E402
from striate.architecture.layers import Conv, Dense, Flatten, MaxPool, ReLU  # noqa: E402
from striate.architecture.net import Net  # noqa: E402
from striate.browser.joining import FOLDERS, join_modules  # noqa: E402
from striate.cli import app  # noqa: E402
from striate.errors import DataError, NetError  # noqa: E402
from striate.fitting.watch import Watch  # noqa: E402
from striate.inside.trace_record import format_address  # noqa: E402
from striate.model.model import Model  # noqa: E402
from striate.studio.living_page import make_living_payload, render_living_page, write_living_page  # noqa: E402
from striate.studio.look import Lens, Look  # noqa: E402
from striate.studio.page_files import join_page_modules  # noqa: E402

from . import studio_browser  # noqa: E402
from .test_giveaway import change_a_letter, cut_off  # noqa: E402

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
WIDE, PHONE = (1280, 800), (390, 844)
PATHS = ["image", "conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten", "dense1", "relu3", "dense2",
         "relu4", "dense3", "probability"]  # fmt: skip
TWO = [(0.3, 0.25), (0.5, 0.18), (0.68, 0.3), (0.6, 0.48), (0.42, 0.65), (0.3, 0.8), (0.5, 0.8), (0.72, 0.8)]

GIVE = """([name, text]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const given = new DataTransfer();
    given.items.add(new File([bytes], `${name}ed.png`, { type: "image/png" }));
    const event = new (name === "drop" ? DragEvent : ClipboardEvent)(name, {
        bubbles: true, cancelable: true, dataTransfer: given, clipboardData: given });
    document.body.dispatchEvent(event);
}"""
"""Paste or drop a picture."""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("living") / "run"
    striate.train("digits", "lenet5", out=folder, epochs=4, watch=Watch())
    return folder


@pytest.fixture(scope="module")
def model(run) -> Model:
    return striate.load(run)


@pytest.fixture(scope="module")
def lens(model) -> Lens:
    return Lens(model)


@pytest.fixture(scope="module")
def page(run, model) -> Path:
    out = run.parent / "page.html"
    said = write_living_page(model, out)
    assert "10 images, a class each, of 180 that digits held back" in said
    return out


@pytest.fixture(scope="module")
def browser():
    with studio_browser.browser() as one:
        yield one


class Visit:
    """The page in a browser without a network; what it asked for and what went wrong."""

    def __init__(self, browser, page: Path, size=WIDE, locale="en-US", dark=False, hash="") -> None:
        window, scheme = {"width": size[0], "height": size[1]}, "dark" if dark else "light"
        self.context = browser.new_context(
            viewport=window, locale=locale, offline=True, color_scheme=scheme, reduced_motion="reduce"
        )
        self.page, self.wrong, self.asked = self.context.new_page(), [], []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda line: self.wrong.append(line.text) if line.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.open(page.as_uri() + hash)

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_selector("body[data-state=ready]", timeout=20_000)

    def close(self) -> None:
        """Nothing went wrong, and nobody was asked."""
        self.context.close()
        assert not self.wrong
        assert all(url.startswith(("file:", "blob:", "data:")) for url in self.asked)

    def settle(self) -> None:
        """Wait until the last picture is answered."""
        studio_browser.until(self.page, "document.querySelector('.image') && living.looks() > 0")
        before = -1
        while before != (now := self.page.evaluate("living.busy() ? -1 : living.looks()")) or now < 0:
            before = now
            self.page.wait_for_timeout(120)

    def picture(self) -> np.ndarray:
        """The pixels that the page gives the network, uint8 h×w×C."""
        found = self.page.evaluate("(({data, ...rest}) => ({...rest, data: [...data]}))(living.image())")
        return np.array(found["data"], np.uint8).reshape(found["height"], found["width"], found["channels"])

    def values(self, path: str) -> np.ndarray:
        return np.array(self.page.evaluate(f"[...living.values('{path}')]"))

    def bars(self) -> list[float]:
        """The percentages that stand beside the bars."""
        return [float(text.strip("<> %")) for text in self.page.locator(".bars .number").all_inner_texts()]

    def draw(self, places=TWO) -> None:
        box = self.page.locator(".image").bounding_box()
        at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
        self.page.mouse.move(*at[0])
        self.page.mouse.down()
        for x, y in at[1:]:
            self.page.mouse.move(x, y, steps=4)
        self.page.mouse.up()
        self.settle()


def check_maps(visit: Visit, lens: Lens) -> None:
    """All maps and bars are those that the library has for the page's own pixels."""
    given = lens.look(visit.picture())
    for path, y in given.scene.maps.items():
        assert np.abs(visit.values(path).reshape(y.shape) - y).max() <= 1e-5 * max(1, np.abs(y).max()), path
    check_bars(visit, given.probabilities)


def check_bars(visit: Visit, probabilities) -> None:
    shown = [100 * min(max(p, 0.001), 0.999) if not 0.0005 <= p <= 0.9995 else 100 * p for p in probabilities]
    assert visit.bars() == pytest.approx(shown, abs=0.051)


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (PHONE, True)])
def test_while_one_draws_the_maps_and_bars_change_and_are_the_librarys(browser, page, model, lens, size, dark):
    visit, held = Visit(browser, page, size, dark=dark), model.unseen("digits")
    assert np.array_equal(visit.picture(), held.x[held.y.tolist().index(0)])
    check_maps(visit, lens)
    before, row = visit.values("conv2"), visit.page.locator("canvas[data-path=conv1]")
    seen, looks = row.evaluate("(canvas) => canvas.toDataURL()"), visit.page.evaluate("living.looks()")
    visit.draw()
    assert visit.page.evaluate("living.looks()") - looks > 5  # not at the end of the stroke alone
    assert not np.array_equal(before, visit.values("conv2"))
    assert seen != row.evaluate("(canvas) => canvas.toDataURL()")
    check_maps(visit, lens)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    visit.close()


def test_the_rows_stay_the_same_elements_while_their_maps_change(browser, page):
    visit = Visit(browser, page)
    visit.page.evaluate("window.first = [...document.querySelectorAll('.row canvas, .bars button')]")
    visit.draw()
    assert visit.page.evaluate("first.length > 20 && first.every((one) => one.isConnected)")
    visit.close()


def test_a_picture_that_is_opened_is_prepared_as_the_library_prepares_it(browser, page, model, lens, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(levels).resize((97, 61), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    visit = Visit(browser, page)
    visit.page.set_input_files(".tools input:not([capture])", tmp_path / "photo.png")
    visit.settle()
    assert np.array_equal(visit.picture(), model.prepared(tmp_path / "photo.png"))
    assert "photo.png" in visit.page.inner_text(".caption")
    check_maps(visit, lens)
    for event in ("paste", "drop"):
        visit.page.click("[data-do=clear]")
        visit.settle()
        assert not visit.picture().any()
        visit.page.evaluate(GIVE, [event, base64.b64encode((tmp_path / "photo.png").read_bytes()).decode()])
        studio_browser.until(visit.page, f"document.querySelector('.caption').textContent.includes('{event}ed.png')")
        visit.settle()
        assert np.array_equal(visit.picture(), model.prepared(tmp_path / "photo.png"))
    (tmp_path / "no.png").write_text("no picture")
    visit.page.set_input_files(".tools input[capture]", tmp_path / "no.png")
    visit.page.wait_for_selector(".panel .error")
    assert "cannot be read" in visit.page.inner_text(".panel")
    visit.close()


def test_a_channel_put_to_zero_changes_all_behind_it_and_a_reload_keeps_it(browser, page, model):
    visit = Visit(browser, page, hash="#at=conv1[2,3,4]")
    whole = visit.bars()
    visit.page.click("[data-step=remove]")
    visit.page.wait_for_selector(".lesion")
    visit.settle()
    # A convolution without the weights and the bias of a filter gives zeros there.
    left = {name: t.copy() for name, t in model.tensors.items()}
    left["conv1.weight"][2], left["conv1.bias"][2] = 0, 0
    without = Lens(Model(model.header, left, model.path))
    check_maps(visit, without)
    assert "conv1, channel 2" in visit.page.inner_text(".removed")
    assert visit.page.evaluate("location.hash") == "#at=conv1[2,3,4]&zero=conv1:2"
    visit.page.reload()
    visit.page.wait_for_selector("body[data-state=ready]")
    check_maps(visit, without)
    visit.draw()
    check_maps(visit, without)
    visit.page.click(".examples button")
    visit.page.click(".lesion button")
    studio_browser.until(visit.page, "!document.querySelector('.lesion')")
    visit.settle()
    assert visit.bars() == whole and visit.page.evaluate("location.hash") == "#at=conv1[2,3,4]"
    visit.close()


def test_any_value_is_explained_on_the_spot_as_the_library_explains_it(browser, page, lens):
    """Ten values of random maps, gone to, and one clicked: the panel has the library's numbers for the page's maps."""
    visit = Visit(browser, page)
    visit.draw()
    given, chance = read_look(visit, lens), random.Random(0)
    for path in chance.sample(PATHS, 10):
        index = tuple(chance.randrange(n) for n in given.scene.maps[path].shape)
        visit.page.evaluate("(at) => { location.hash = 'at=' + at; }", format_address(path, index))
        studio_browser.check_panel(visit.page, given.trace(format_address(path, index)))
    visit.page.locator("canvas[data-path=conv2]").click(position={"x": 2, "y": 2})
    studio_browser.check_panel(visit.page, given.trace("conv2[0,0,0]"))
    visit.close()


def read_look(visit: Visit, lens: Lens) -> Look:
    """The library's look at the page's picture, with the maps that the page has, which `check_maps` compares."""
    given = lens.look(visit.picture())
    maps = {path: visit.values(path).astype(np.float32).reshape(y.shape) for path, y in given.scene.maps.items()}
    return replace(given, scene=given.scene._replace(maps=maps))


def test_the_ways_lead_down_to_a_pixel_and_up_to_a_class(browser, page, lens):
    visit = Visit(browser, page, hash="#at=relu2[3,4,5]")
    given = read_look(visit, lens)
    down = given.chain("relu2[3,4,5]")[-1].address
    visit.page.click("[data-step=pixels]")
    studio_browser.check_panel(visit.page, given.trace(down))
    assert down.startswith("image[")
    visit.page.click("[data-step=class]")
    studio_browser.until(visit.page, "document.querySelector('.panel h3').textContent.startsWith('probability[')")
    assert visit.page.evaluate("location.hash").startswith("#at=probability[")
    visit.close()


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_what_speaks_for_a_class_lies_over_the_image_as_the_library_finds_it(browser, page, model, method):
    visit = Visit(browser, page)
    visit.page.select_option("[data-choice=ofClass]", "3")
    visit.page.focus("[data-choice=overlay]")
    visit.page.select_option("[data-choice=overlay]", method)
    studio_browser.until(visit.page, "living.overlay()")
    heat = visit.page.evaluate("(({ height, width, data }) => ({ height, width, data: [...data] }))(living.overlay())")
    want = model.attribution(visit.picture(), model.classes[3], method).values
    got = np.array(heat["data"]).reshape(heat["height"], heat["width"])
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
    assert visit.page.evaluate("document.activeElement.dataset.choice") == "overlay"  # the keyboard stays where it was
    before = visit.page.locator(".image").evaluate("(canvas) => canvas.toDataURL()")
    visit.page.select_option("[data-choice=overlay]", "nothing")
    studio_browser.until(visit.page, f"document.querySelector('.image').toDataURL() !== {json.dumps(before)}")
    visit.close()


def test_an_address_that_is_nowhere_is_passed_over(browser, page, lens):
    visit = Visit(browser, page, hash="#at=conv9[0,0,0]&zero=conv9:1,conv1:77,image:0")
    check_maps(visit, lens)
    visit.close()


def test_korean_leaves_no_english_word_of_the_pages_own_and_the_switch_is_kept(browser, page, lens):
    visit = Visit(browser, page, locale="ko-KR", hash="#at=conv2[2,3,4]")
    trace = read_look(visit, lens).trace("conv2[2,3,4]")
    with striate.use_language("ko"):
        studio_browser.check_panel(visit.page, read_look(visit, lens).trace("conv2[2,3,4]"))
    parts = ".masthead, .left, .facts, .middle, .panel"
    said = visit.page.evaluate(
        """(parts) => [...document.querySelectorAll(parts)].flatMap((one) =>
            [one.innerText, ...[...one.querySelectorAll("[aria-label]")].map((inner) => inner.ariaLabel)]).join(" ")""",
        parts,
    )
    library = set(
        re.split(r"[\W_]+", json.dumps([PATHS, "Conv ReLU MaxPool Flatten Dense Softmax image lenet5 units to",
                                       trace.layer, "conv2.bias"]))
    )  # fmt: skip
    words = set(re.findall(r"[A-Za-z]{2,}[a-z0-9]*", said))
    assert words - library <= {"English", "Grad", "CAM", "Page", "Up", "Down", "Enter", "ms", "float32"}
    visit.page.click("#language")
    studio_browser.until(visit.page, f"document.querySelector('.panel .rule').textContent === {json.dumps(trace.rule)}")
    studio_browser.check_panel(visit.page, trace)
    assert "nothing leaves this device" in visit.page.inner_text(".masthead")
    visit.page.reload()
    visit.page.wait_for_selector("body[data-state=ready]")
    assert visit.page.get_attribute("html", "lang") == "en" and "lang=en" in visit.page.evaluate("location.hash")
    visit.close()


def test_the_keyboard_reaches_everything_and_draws(browser, page):
    visit = Visit(browser, page)
    visit.page.evaluate(
        """() => window.all = [...document.querySelectorAll("button, select, canvas[tabindex], summary")].filter(
            (one) => one.checkVisibility() && !one.disabled)"""
    )
    wanted = set(range(visit.page.evaluate("all.length")))
    reached = set()
    for _ in range(len(wanted) + 12):
        visit.page.keyboard.press("Tab")
        reached.add(visit.page.evaluate("all.indexOf(document.activeElement)"))
    assert wanted <= reached
    visit.settle()
    visit.page.locator(".image").focus()
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("Space")
    visit.settle()
    picture = visit.picture()[..., 0]
    assert picture[16, 16] == 255 and picture[0, 0] == 0
    visit.close()


def test_only_rows_in_view_are_painted(browser, tmp_path):
    net = Net((3, 32, 32), [*(Conv(8, 3, padding=1) for _ in range(12)), MaxPool(8), Flatten(), Dense(9)])
    model = make_untrained(net)
    write_living_page(model, tmp_path / "page.html", np.zeros((32, 32, 3), np.uint8))
    visit = Visit(browser, tmp_path / "page.html")
    assert visit.page.evaluate("document.querySelector('[data-path=conv1]').height") > 100
    assert visit.page.evaluate("document.querySelector('[data-path=conv12]').toDataURL()") == visit.page.evaluate(
        "(() => { const c = document.createElement('canvas'); return c.toDataURL(); })()"
    )
    visit.page.evaluate("document.querySelector('[data-path=conv12]').scrollIntoView()")
    studio_browser.until(visit.page, "document.querySelector('[data-path=conv12]').width > 300")
    y = Lens(model).look(visit.picture()).scene.maps["conv12"]
    assert np.abs(visit.values("conv12").reshape(y.shape) - y).max() <= 1e-5
    visit.close()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_filters_are_painted_from_the_pages_weights_as_the_library_paints_them(browser, tmp_path, channels):
    first = {1: [], 2: [Conv(4, 1)], 3: []}[channels]  # a filter of 2 channels is one of two groups
    seen = Conv(20, (3, 4), groups=len(first) + 1, name="seen")
    net = Net((1 if channels == 1 else 3, 12, 12), [*first, seen, Flatten(), Dense(2)])
    model = make_untrained(net)
    model.tensors["seen.weight"][0] = 0
    write_living_page(model, tmp_path / "page.html", np.zeros((12, 12, net.input[0]), np.uint8))
    visit = Visit(browser, tmp_path / "page.html")
    visit.page.locator(".row:has([data-path=seen]) summary").click()
    image = ".row:has([data-path=seen]) .filters img"
    studio_browser.until(visit.page, f"document.querySelector('{image}').naturalWidth")
    painted = read_data_uri(visit.page.get_attribute(image, "src"))
    wanted = read_data_uri(Lens(model).sheets["seen"]["src"])
    assert painted.shape == wanted.shape and np.ptp(wanted) > 100
    assert np.abs(painted.astype(int) - wanted).max() <= 2  # colours of 256 levels
    visit.close()


def read_data_uri(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2]))).convert("RGB"))


def make_untrained(net: Net) -> Model:
    size, channels = net.input[1:], net.input[0]
    classes = [f"kind {k}" for k in range(net.steps[-1].y[0])]
    prepared = striate.Preprocess(size, "pad", (0.5,) * channels, (0.25,) * channels)
    return Model(net, net.torch(), classes=classes, preprocess=prepared)


# What it begins with, and what it refuses --------------------------------------------------------------


def test_the_command_says_what_it_begins_with_and_its_size(run, tmp_path, capsys):
    app(["inside", str(run), "-o", str(tmp_path / "page.html")], standalone_mode=False)
    said = capsys.readouterr().out
    assert "held back from training" in said and (tmp_path / "page.html").stat().st_size < 600_000
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "black.png")
    app(["inside", str(run), str(tmp_path / "black.png"), "-o", str(tmp_path / "page.html")], standalone_mode=False)
    assert "it begins with black.png" in capsys.readouterr().out


def test_where_the_data_are_gone_it_begins_with_an_empty_sheet(browser, run, tmp_path):
    settings = json.loads((run / "recipe.json").read_text()) | {"data": str(tmp_path / "gone")}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(settings))
    (tmp_path / "run" / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    said = write_living_page(striate.load(tmp_path / "run"), tmp_path / "page.html")
    assert "empty sheet" in said and "gone" in said
    visit = Visit(browser, tmp_path / "page.html")
    assert not visit.picture().any()
    visit.close()


def test_what_is_no_image_and_what_no_browser_computes_is_refused_and_leaves_the_file(model, tmp_path):
    @striate.layer
    class Doubled(striate.Layer):
        KEPT = striate.architecture.layers.SavedMap(input=True)

        def torch(self, x):
            return type("Double", (torch.nn.Module,), {"forward": lambda self, x: 2 * x})()

    (tmp_path / "page.html").write_text("before")
    own = make_untrained(Net((1, 8, 8), [Doubled(), Flatten(), Dense(2)]))
    with pytest.raises(NetError, match="striate studio shows the inside of every network"):
        write_living_page(own, tmp_path / "page.html")
    with pytest.raises(DataError):
        write_living_page(model, tmp_path / "page.html", b"no image")
    assert (tmp_path / "page.html").read_text() == "before"


@pytest.mark.slow
def test_resnet18_with_drawn_weights_is_a_page_of_less_than_25_megabytes():
    """Drawn numbers pack worst: Glorot's, normal ones, whose exponents spread wider than uniform ones."""
    net, draw = zoo.build("resnet18"), np.random.default_rng(0)
    tensors = {name: np.zeros(tensor.shape, np.float32) for name, tensor in net.tensors.items()}
    for name, tensor in net.tensors.items():
        if len(tensor.shape) > 1:
            deviation = (2 / (tensor.fan_in + tensor.fan_out)) ** 0.5
            tensors[name] = draw.standard_normal(tensor.shape, np.float32) * np.float32(deviation)
        else:
            tensors[name] = draw.random(tensor.shape, np.float32)
    prepared = striate.Preprocess((224, 224), "pad", (0.5,) * 3, (0.25,) * 3)
    lens = Lens(Model(net, tensors, classes=[f"kind {k}" for k in range(1000)], preprocess=prepared))
    page = render_living_page(lens, make_living_payload(lens), [])
    assert len(page.encode()) < 24_800_000


@pytest.mark.parametrize("alter", [cut_off, change_a_letter])
def test_a_file_that_was_altered_on_its_way_says_so(browser, page, tmp_path, alter):
    (tmp_path / "page.html").write_text(alter(page.read_text("utf-8")), "utf-8")
    opened = browser.new_page()
    opened.goto((tmp_path / "page.html").as_uri())
    opened.wait_for_selector("body[data-state=broken]", timeout=20_000)
    assert "altered or cut off" in opened.inner_text("#view")
    opened.close()


# The script --------------------------------------------------------------------------------------------


def test_a_name_cannot_leave_its_place_in_the_page(browser, tmp_path):
    model = make_untrained(Net((1, 8, 8), [Conv(2, 3), ReLU(), MaxPool(2), Flatten(), Dense(3)]))
    name = "</script><script>document.title='gone'</script>"
    write_living_page(model, tmp_path / "page.html", np.zeros((8, 8, 1), np.uint8), name=name)
    visit = Visit(browser, tmp_path / "page.html")
    assert visit.page.title() != "gone" and name in visit.page.inner_text(".caption")
    visit.close()


def test_no_file_of_the_page_has_the_name_of_one_of_the_engines():
    rooms = Path(striate.__file__).parent
    folders = [rooms / "studio" / "page", *(rooms / "browser" / folder for folder in FOLDERS)]
    names = [file.name for folder in folders for file in folder.iterdir()]
    assert len(names) == len(set(names))


def test_modules_are_joined_without_imports_and_comments_and_anything_unknown_is_refused():
    script = join_page_modules("living.js")
    assert "\nimport " not in script and "\nexport " not in script and script.count("const module_element =") == 1
    assert "/**" not in script and not re.search(r"^\s*// ", script, re.MULTILINE)
    texts = {
        "a.js": 'import { b } from "./b.js";\nexport const a = b;\n',
        "b.js": 'import { a } from "./a.js";\nexport const b = a;\n',
    }
    with pytest.raises(ValueError, match="imports itself"):
        join_modules("a.js", texts.__getitem__)
    texts["b.js"] = "export { c as b };\n"
    with pytest.raises(ValueError, match="cannot be joined"):
        join_modules("a.js", texts.__getitem__)


@pytest.mark.slow
def test_lenet5_answers_thirty_pictures_a_second_while_one_draws(browser, page):
    visit = Visit(browser, page)
    began, before = time.perf_counter(), visit.page.evaluate("living.looks()")
    visit.page.evaluate(
        """async () => {
            const image = document.querySelector(".image"), box = image.getBoundingClientRect();
            image.setPointerCapture = () => {};
            const fire = (name, turn) => image.dispatchEvent(new PointerEvent(name, { pointerId: 1,
                clientX: box.left + box.width * (0.5 + 0.3 * Math.cos(turn)),
                clientY: box.top + box.height * (0.5 + 0.3 * Math.sin(turn)) }));
            fire("pointerdown", 0);
            for (let k = 0; k < 120; k++) {
                await new Promise(requestAnimationFrame);
                fire("pointermove", k / 20);
            }
            fire("pointerup", 6);
        }"""
    )
    looks, seconds = visit.page.evaluate("living.looks()") - before, time.perf_counter() - began
    print(f"{looks / seconds:.0f} pictures a second, {visit.page.evaluate('living.milliseconds()'):.1f} ms a pass")
    assert looks / seconds > 30
    visit.close()


@pytest.mark.skipif(not os.environ.get("STRIATE_SCREENSHOTS"), reason="STRIATE_SCREENSHOTS=1 draws docs/pictures anew")
def test_screenshot(browser, tmp_path):
    striate.train("digits", "lenet5", out=tmp_path / "run", epochs=20, augment="affine", watch=Watch())
    write_living_page(striate.load(tmp_path / "run"), tmp_path / "page.html")
    visit = Visit(browser, tmp_path / "page.html", hash="#at=conv2[9,4,5]")
    visit.draw()
    visit.page.mouse.move(0, 0)
    visit.page.wait_for_timeout(600)
    visit.page.screenshot(path=PICTURES / "living-page.png")
    visit.close()
