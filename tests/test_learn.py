"""The course: all steps by keyboard in two languages, and every number that a step computes is the library's."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bench.learn_model import read_digits
from PIL import Image

import striate
from striate.browser.learn_page import LEARN, write_learn
from striate.inside.examples import locate_field
from striate.optimizers.adam import Adam
from striate.optimizers.descent import GradientDescent, Momentum
from striate.optimizers.rmsprop import RMSProp
from striate.studio.look import look_inside

from . import studio_browser

SIZES = [(1280, 800), (768, 1024), (390, 844), (320, 640)]
PARAMETERS = 61_706
STEPS = 11


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("learn") / "learn.html"
    assert "eleven steps" in write_learn(file)
    assert file.stat().st_size < 1_000_000
    return file


def read_numbers(text: str) -> str:
    """The page's way of writing numbers as Python's: "−2.5·10⁻⁷" is -2.5e-7."""
    powers = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    text = re.sub("·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda found: "e" + found[1].translate(powers), text)
    return text.replace("−", "-")


def read_number(text: str) -> float:
    """A number as the page writes it, with what it lacks of 1 where it is nearly 1: "1 − 4.4·10⁻¹⁰"."""
    first, *lacking = read_numbers(text).replace(",", "").split(" - ")
    return float(first) - sum(map(float, lacking))


def read_sum(text: str) -> list[float]:
    """The numbers of "1 + 2 − 3 = 0", the last one the result."""
    return [float(one) for one in re.findall(r"-?[\d.]+(?:e-?\d+)?", read_numbers(text).replace("- ", "-"))]


def write_share(share: float) -> str:
    """A probability as every page writes it: only 1 is 100 %, and only 0 is 0 %."""
    text = f"{100 * share:.1f} %"
    return {"100.0 %": "> 99.9 %", "0.0 %": "< 0.1 %"}.get(text, text) if 0 < share < 1 else text


class Course:
    """The page opened from its file, offline; whatever it asks for is noted."""

    def __init__(
        self, browser, page: Path, size=(1280, 800), language="en", address="", still=True, dark=False
    ) -> None:
        self.context = browser.new_context(
            viewport=dict(zip(("width", "height"), size, strict=True)), offline=True,
            reduced_motion="reduce" if still else "no-preference", color_scheme="dark" if dark else "light",
        )  # fmt: skip
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"{page.as_uri()}#{address or 'step-1'}{'&' if '?' in address else '?'}lang={language}")
        self.page.wait_for_selector("body[data-state=ready]", timeout=20_000)

    def set(self, step: int, **values: object) -> None:
        """Go to a step with these values, by the address as a link does."""
        query = "&".join(f"{key}={value}" for key, value in ({"lang": "en"} | values).items())
        self.page.evaluate(f"location.hash = {json.dumps(f'#step-{step}?{query}')}")
        self.page.wait_for_function(f"striateLearn.state.step === {step - 1}")

    def usual(self, step: int) -> dict[str, object]:
        """The values with which a step begins."""
        return self.page.evaluate(f"striateLearn.steps[{step - 1}].defaults")

    def grids(self) -> list[np.ndarray]:
        """The grids on the stage as numbers; empty cells are NaN."""
        read = """[...document.querySelectorAll('#figure .cells')].map((table) => [...table.rows].map((row) =>
            [...row.cells].map((cell) => cell.textContent.replaceAll(',', ''))))"""
        grids = self.page.evaluate(read)
        return [np.array([[float(read_numbers(c) or "nan") for c in row] for row in grid]) for grid in grids]

    def text(self) -> str:
        return read_numbers(self.page.inner_text("#figure"))

    def told(self) -> str:
        """The step's paragraphs, with the live numbers in them."""
        return read_numbers(" ".join(self.page.locator("section.now p").all_inner_texts()))

    def sum(self, at: int = 0) -> list[float]:
        """The numbers of a sum under the figure."""
        return read_sum(self.page.locator("#figure p.sum").nth(at).inner_text())


@pytest.fixture(scope="module")
def browser():
    with studio_browser.browser() as one:
        yield one


@pytest.fixture(scope="module")
def course(browser, page):
    one = Course(browser, page)
    yield one
    assert not one.wrong


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("size", SIZES)
def test_all_steps_are_walked_by_keyboard_and_nothing_is_wider_than_the_window(browser, page, size, language):
    course = Course(browser, page, size, language, dark=size == SIZES[1])
    for step in range(1, STEPS + 1):
        assert course.page.evaluate("striateLearn.state.step") == step - 1
        assert course.page.inner_text("#steps section.now h2").startswith(f"{step}. ")
        assert course.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert course.page.evaluate("document.documentElement.scrollHeight") <= size[1]
        assert "{" not in course.page.inner_text("#steps") and course.page.locator("#figure > *").count() > 0
        assert f"#step-{step}?" in course.page.url
        assert course.page.evaluate(FIND_UNREADABLE) == []
        if language == "ko":
            need_korean(course.page.evaluate(READ_WORDS))
        course.page.keyboard.press("ArrowRight")
    course.page.keyboard.press("ArrowLeft")
    assert course.page.evaluate("striateLearn.state.step") == STEPS - 2
    assert not course.wrong and all(url.startswith(("file:", "blob:", "data:")) for url in course.asked)
    course.context.close()


def test_a_step_is_used_by_keyboard_alone(browser, page):
    """A slider by arrows, a cell of the result by Tab and arrows, playing by Enter, a task by typing."""
    course = Course(browser, page, address="step-3")
    keys, read = course.page.keyboard, course.page.evaluate
    course.page.focus("#language")
    keys.press("Tab")
    keys.press("ArrowRight")
    assert read("striateLearn.state.values[2].n") == 8 and read("striateLearn.state.step") == 2
    course.set(2, at=5)
    reach(course.page, "#figure td.here")
    keys.press("ArrowDown")
    assert read("striateLearn.state.values[1].at") == 9 and read("document.activeElement.className") == "here"
    reach(course.page, "button.main", backward=True)
    keys.press("Enter")
    studio_browser.until(course.page, "striateLearn.state.values[1].at >= 10")
    assert read("document.activeElement.textContent") == "Pause"
    keys.press("Enter")
    stopped = read("striateLearn.state.values[1].at")
    course.page.wait_for_timeout(900)
    assert read("striateLearn.state.values[1].at") == stopped and read("document.activeElement.textContent") == "Play"
    reach(course.page, "#text-2 form input")
    keys.type("3")
    keys.press("Enter")
    assert course.page.get_attribute("#text-2 form output", "data-right") == "true"
    course.context.close()


def reach(page, selector: str, backward: bool = False) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(60):
        if page.evaluate(f"document.activeElement === document.querySelector({json.dumps(selector)})"):
            return
        page.keyboard.press("Shift+Tab" if backward else "Tab")
    raise AssertionError(f"{selector} is not reached by Tab")


@pytest.mark.parametrize("still", [True, False])
def test_a_value_flies_to_its_cell_but_not_for_who_wants_stillness(browser, page, still):
    course = Course(browser, page, address="step-2", still=still)
    course.page.get_by_role("button", name="One step").click()
    assert course.page.locator(".flying").count() == (0 if still else 1)
    studio_browser.until(course.page, "document.querySelectorAll('.flying').length === 0")
    assert course.grids()[4][1, 2] == 1  # the picture's column 3 from row 1 to 3: 0, 0, 1
    course.context.close()


def test_one_number_is_followed_from_pixel_to_answer_as_the_library_follows_it(course):
    """Each link is the value that the library's own way up gives, with its number."""
    course.set(1, row=8, column=12)
    levels = np.uint8(course.page.evaluate("[...striateLearn.state.sight.levels]")).reshape(32, 32)
    seen = look_inside(striate.load(LEARN / "lenet5.safetensors"), levels)
    links = course.page.locator(".chain li").all_inner_texts()
    at = "image[0,8,12]"
    mean, std = seen.model.preprocess.mean[0], seen.model.preprocess.std[0]
    assert read_numbers(links[0]).startswith(f"{at} ({levels[8, 12]}/255 - {mean:.4g})/{std:.4g} = ")
    for link in links:
        value = seen.trace(at).value
        assert link.startswith(at) and read_number(link.removeprefix(at).split("= ")[-1]) == pytest.approx(
            value, rel=2e-3
        ), at
        at = seen.reader(at)
    assert at is None and links[-1].startswith("probability[4]")
    maps = course.page.evaluate("[...striateLearn.state.sight.found.maps].map(([path, map]) => [path, [...map.data]])")
    assert len(maps) == 12
    for path, values in maps:
        assert np.allclose(values, seen.scene.maps[path].ravel(), atol=1e-4), path


def read_topics(name: str) -> list[tuple[str, str]]:
    """Of each row of a table of topics in docs/: the address of its step, and what is to be read there."""
    lines = (Path(__file__).parent.parent / "docs" / name).read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [(step.strip("`"), said) for _, step, said in cells[1:]]


def test_every_topic_of_the_tables_in_docs_is_on_its_step_in_both_languages(course):
    topics = {"en": read_topics("learn-topics.md"), "ko": read_topics("learn-topics.ko.md")}
    assert [step for step, _ in topics["en"]] == [step for step, _ in topics["ko"]] and len(topics["en"]) >= 98
    addresses = [
        f"#{step}{'&' if '?' in step else '?'}lang={language}" for language in topics for step, _ in topics["en"]
    ]
    told = course.page.evaluate(READ_STEPS, list(dict.fromkeys(addresses)))
    for language, rows in topics.items():
        for step, said in rows:
            assert said in told[f"#{step}{'&' if '?' in step else '?'}lang={language}"], (language, step, said)


# Goes to each address, its step otherwise as it begins, and reads its text, its controls and its figure.
READ_STEPS = """async (addresses) => {
    const { state, steps } = striateLearn;
    const found = {};
    for (const address of addresses) {
        steps.forEach((step, i) => Object.assign(state.values[i], step.defaults));
        history.replaceState(null, "", "#"); // an address that does not change tells nobody
        const gone = new Promise((resolve) => addEventListener("hashchange", resolve, { once: true }));
        location.hash = address;
        await gone;
        const parts = ["text-" + (state.step + 1), "controls", "figure"].map((id) => document.getElementById(id));
        found[address] = parts.map((part) => part.textContent).join(" ").replace(/\\s+/g, " ");
    }
    return found;
}"""


# All that is written but code.
READ_WORDS = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const named = [...document.querySelectorAll("[aria-label], [title]")];
    const found = named.flatMap((item) => [item.ariaLabel, item.title]);
    while (walker.nextNode())
        if (!walker.currentNode.parentElement.closest("script, code")) found.push(walker.currentNode.data);
    return found.join("\\n");
}"""

# Texts of this step smaller than 12 px, or of a contrast to their ground below 4.5 (WCAG 2.2, 1.4.3).
FIND_UNREADABLE = """() => {
    const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const paint = (colours) => {
        pen.fillStyle = "#fff";
        pen.fillRect(0, 0, 1, 1);
        for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
        return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const shine = (rgb) => rgb.map((level) => level / 255)
        .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
        .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
    const found = [];
    const seen = "header *, #dots *, #controls *, #figure *, #penbox *, section.now *";
    for (const item of document.querySelectorAll(seen)) {
        if (![...item.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
        if (item.closest("svg, [hidden], option") || !item.getClientRects().length) continue;
        const style = getComputedStyle(item);
        const grounds = [];
        for (let at = item; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
        const [ink, ground] = [paint([...grounds, style.color]), paint(grounds)].map(shine);
        const contrast = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
        if (parseFloat(style.fontSize) < 12 || contrast < 4.5)
            found.push(`${item.textContent.slice(0, 30)}: ${style.fontSize}, ${contrast.toFixed(2)}`);
    }
    return found;
}"""


# Names, code and what formulas are written with.
LATIN = set(
    """striate English ReLU LeNet AlexNet VGG GoogLeNet ResNet Inception Glorot MAC Keras PyTorch RMSProp Adam GPU valid
    same train photos summary lenet5 alexnet googlenet resnet18 conv1 conv2 conv3 pool1 pool2 dense1 dense2 dense3
    flatten Conv2D Conv Conv2d nn strides stride padding uniform glorot kaiming max a e f g m n p s v w x J N H W C
    ln""".split()
)


def need_korean(text: str) -> None:
    """No English word but names, code and formulas."""
    words = set(re.findall(r"[A-Za-z][A-Za-z0-9]*", text))
    assert words <= LATIN, words - LATIN


def test_a_language_has_every_word_that_the_other_has_with_the_same_numbers():
    texts = {}
    for name in ("english", "korean"):
        source = (LEARN / f"words_{name}.js").read_text(encoding="utf-8")
        pairs = re.findall(r'(?:^|[ ,{])"?([\w.]+)"?: "((?:[^"\\]|\\.)*)"', source)
        texts[name] = dict(pairs)
    assert set(texts["english"]) == set(texts["korean"]) and len(texts["english"]) > 140
    for key, text in texts["english"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", texts["korean"][key])), key
    sources = [file for file in LEARN.glob("*.js*") if not file.name.startswith("words")]
    used = "".join(file.read_text(encoding="utf-8") for file in sources)
    for key in texts["english"]:
        last = key.rpartition(".")[2]
        assert re.search(rf"\b{last}\b", used), key


def test_a_pixel_is_shown_as_the_network_gets_it(course):
    course.set(1, row=10, column=12)
    [zoom] = course.grids()
    levels = course.page.evaluate("[...striateLearn.state.sight.levels]")
    assert np.array_equal(zoom, np.reshape(levels, (32, 32))[10:18, 12:20])
    shares = course.page.evaluate("[...striateLearn.state.sight.found.probabilities]")
    want = striate.load(LEARN / "lenet5.safetensors").probabilities(np.uint8(levels).reshape(1, 32, 32, 1))[0]
    assert np.allclose(shares, want, atol=1e-5) and int(np.argmax(shares)) == 4
    assert course.page.locator("#figure .share").all_inner_texts() == [write_share(share) for share in want]
    assert f"The pixel at row 10, column 12 has the value {levels[10 * 32 + 12]}." in course.told()
    course.page.locator("#figure .cells td").nth(8 * 5 + 3).hover()
    assert course.page.inner_text("#figure .hover") == f"row 15, column 15: {levels[15 * 32 + 15]}"


GRID = [[1, 2, 3, 0], [4, -5, 6, 1], [7, 8, 9, 2]]


def test_the_sliding_filter_and_its_gradients_are_torchs(course):
    kernel = [[1, -1], [2, 0]]
    course.set(2, grid=json.dumps(GRID), kernel="own", own=json.dumps(kernel), at=5, back=0)
    x, w = (torch.tensor(value, dtype=torch.float64)[None, None].requires_grad_() for value in (GRID, kernel))
    y = F.conv2d(x, w)
    y.sum().backward()
    picture, own, products, running, result = course.grids()
    assert np.array_equal(picture, GRID) and np.array_equal(own, kernel)
    assert np.array_equal(result, y[0, 0].detach().numpy())
    patch, weights = x[0, 0, 1:3, 2:4].flatten(), w.flatten()
    likeness = F.cosine_similarity(patch, weights, 0).item()
    assert float(re.search(r"alike are filter and patch\? (\S+)", course.text())[1]) == pytest.approx(
        likeness, rel=1e-3
    )
    assert np.array_equal(products.ravel(), (patch * weights).detach())
    assert np.array_equal(running.ravel(), products.cumsum())
    assert course.sum() == [*products.ravel(), result[1, 2]] and "position 6 of 6" in course.told()
    course.set(2, grid=json.dumps(GRID), kernel="own", own=json.dumps(kernel), back=1)
    slope, dx, dw = course.grids()
    assert np.array_equal(slope, torch.ones_like(y)[0, 0])
    assert np.array_equal(dx, x.grad[0, 0]) and np.array_equal(dw, w.grad[0, 0])
    assert course.sum() == [*np.ravel([line[:3] for line in GRID[:2]]), dw[0, 0]]  # what the first weight met


@pytest.mark.parametrize("kernel", ["vertical", "horizontal", "sobel", "blur", "sharpen"])
def test_each_filter_that_is_offered_gives_torchs_result_as_far_as_it_has_slid(course, kernel):
    course.set(2, **course.usual(2) | {"kernel": kernel, "at": 9})
    picture, weights, *_, result = course.grids()
    want = F.conv2d(*(torch.tensor(value)[None, None] for value in (picture, weights)))[0, 0].numpy()
    made = np.arange(want.size).reshape(want.shape) <= 9
    assert np.allclose(result[made], want[made], rtol=1e-3) and np.isnan(result[~made]).all()


@pytest.mark.parametrize(
    ("n", "f", "s", "p"), [(7, 3, 1, 0), (7, 3, 2, 0), (7, 3, 3, 0), (7, 3, 4, 0), (7, 3, 1, 1), (5, 3, 1, 0)]
)
def test_sizes_and_reads_are_the_librarys(course, n, f, s, p):
    course.set(3, n=n, f=f, s=s, p=p)
    want = striate.Conv(1, f, s, p).out((1, n, n))[1]
    reads, result, *beside = course.grids()
    assert result.shape == (want, want)
    taps = np.zeros(n + 2 * p)
    for i in range(want):
        taps[i * s : i * s + f] += 1
    assert np.array_equal(reads, np.outer(taps, taps))
    macs = striate.summary(striate.parse(f"Net((1, {n}, {n}), [Conv(1, {f}, {s}, {p}, bias=False)])")).macs
    unread = int((np.outer(taps, taps)[p : p + n, p : p + n] == 0).sum())
    assert f"{macs} multiplications; {unread} cells of the picture are never read" in course.text()
    assert course.page.locator("#figure td.unread").count() == unread
    assert f"⌊({n} + 2·{p} - {f})/{s}⌋ + 1 = {want} times" in course.told()
    corners = [(int(grid[0, 0]), int(grid.max())) for grid in beside]
    told = re.findall(r"The corner is read (\d+)×, the middle (\d+)×", course.text())
    assert [(int(corner), int(most)) for corner, most in told] == corners
    for grid, padding in zip(beside, (0, (f - 1) // 2), strict=True):  # valid beside same, stride 1
        x = torch.ones(1, 1, n, n, dtype=torch.float64, requires_grad=True)
        F.conv2d(x, torch.ones(1, 1, f, f, dtype=torch.float64), padding=padding).sum().backward()
        assert np.array_equal(grid, x.grad[0, 0])


def test_a_picture_shrinks_until_the_window_no_longer_fits_and_what_striding_costs_was_measured(course):
    course.set(3, n=7, f=3, s=1, p=0)
    assert "7 → 5 → 3 → 1, then no further" in course.text()
    measured = json.loads((LEARN / "strides.json").read_text())
    for one in measured.values():
        total = striate.summary(striate.parse(f"Net((1, 32, 32), [{one['net']}])"))
        assert (one["parameters"], one["macs"]) == (total.params, total.macs)
        for shown in (f"{one['macs']:,}", f"{one['loss']:g}", f"{100 * one['accuracy']:.2f} %"):
            assert shown in course.text()
    pooling, striding = measured["pooling"], measured["striding"]
    assert pooling["parameters"] == striding["parameters"] == PARAMETERS
    assert pooling["macs"] > 2 * striding["macs"] and pooling["loss"] < striding["loss"]


def test_a_window_that_does_not_fit_is_told(course):
    course.set(3, n=3, f=7, s=1, p=0)
    assert "does not fit" in course.text()


def test_filters_over_three_colours_are_torchs_and_the_defaults_are_as_the_dictionary_says(course):
    course.set(4, filters=4)
    grids = course.grids()
    image, first = np.stack(grids[::2]), np.stack(grids[1::2])
    made = course.page.evaluate("striateLearn.steps[3].makeFilters(4)")
    weight = np.reshape(made["weight"], (4, 3, 5, 5))
    assert np.array_equal(weight[0], first)
    x, w, b = (torch.tensor(value, dtype=torch.float64) for value in (image, weight, made["bias"]))
    want = F.conv2d(x[None], w, b).flatten().tolist()
    shown = course.page.locator(".depth .cell").all_inner_texts()
    assert [float(read_numbers(one)) for one in shown] == want
    planes = (image * first).sum((1, 2))
    said = [read_sum(text)[-1] for text in course.page.locator(".plane p").all_inner_texts()]
    assert said == planes.tolist() and course.sum() == [*planes, made["bias"][0], want[0]]
    assert "304 parameters" in course.text() and "depth 4, and they have 304 parameters" in course.told()
    ordered = (
        course.page.locator(".order.last .cell").all_inner_texts()
        == [f"{v:g}" for v in image.transpose(1, 2, 0).flat][:9]
    )
    assert ordered and course.page.locator(".order.first .cell").all_inner_texts() == [f"{v:g}" for v in image.flat][:9]
    fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(w)
    assert f"±{(6 / (fan_in + fan_out)) ** 0.5:.4g}" in course.page.inner_text("#text-4")
    ours, theirs = striate.Conv(6, 5), torch.nn.Conv2d(3, 6, 5)
    assert (ours.stride, ours.padding, ours.init) == (1, "valid", "glorot_uniform")
    assert (theirs.stride, theirs.padding) == ((1, 1), (0, 0))


def test_the_counts_of_parameters_are_the_summarys(course):
    for values, lines, weights in (({"local": 0}, 35, 35), ({"local": 1, "shared": 0}, 15, 15), ({"shared": 1}, 15, 3)):
        course.set(5, **({"local": 1} | values))
        assert f"{lines} of 35 connections, {weights} different weights" in course.text()
    text = course.text()
    for layers in ("Flatten(), Dense(4704)", "Conv(6, 5)"):
        total = striate.summary(striate.parse(f"Net((3, 32, 32), [{layers}])")).params
        assert f"{total:,}" in text, layers
    others = {156: "(1, 32, 32), [Conv(6, 5)]", 650: "(64, 14, 14), [GlobalAvgPool(), Dense(10)]"}
    for count, net in (others | {125_450: "(64, 14, 14), [Flatten(), Dense(10)]"}).items():
        net = f"Net({net})"
        assert striate.summary(striate.parse(net)).params == count and f"{count:,}" in text
    assert f"{(75 + 1) * 28 * 28 * 6:,}" in text  # its own window at every place
    counts = [14_455_392, (75 + 1) * 28 * 28 * 6, 456]
    assert [read_number(one) for one in course.page.locator("#figure .share").all_inner_texts()] == counts
    wide = course.page.eval_on_selector_all(
        "#figure .track i", "(all) => all.map((one) => parseFloat(one.style.width))"
    )
    assert np.allclose(np.divide(wide, wide[-1]), np.log(counts) / np.log(456))
    assert all(f"{count:,}" in course.told() for count in counts)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling_is_torchs_and_a_shift_is_counted(course, kind):
    grid = np.random.default_rng(0).integers(-9, 10, (6, 6))
    course.set(6, grid=json.dumps(grid.tolist()), kind=kind, f=3, s=2, shift=1)
    x = torch.tensor(grid, dtype=torch.float64).clamp(min=0)[None, None]
    moved = F.pad(x, (1, 0))[..., :6]
    pool = {"max": F.max_pool2d, "avg": F.avg_pool2d}[kind]
    before, after = pool(x, 3, 2)[0, 0].numpy(), pool(moved, 3, 2)[0, 0].numpy()
    given, shown, result = course.grids()
    assert np.array_equal(given, grid)
    assert np.array_equal(shown, moved[0, 0]) and np.allclose(result, after, rtol=1e-3)
    changed = int((~np.isclose(before, after)).sum())
    assert f"{changed} of 4 pooled values changed" in course.text()
    assert course.page.locator("#figure td.changed").count() == changed
    course.set(6, grid=json.dumps(grid.tolist()), kind=kind, f=3, s=2, shift=0)
    _, shown, result = course.grids()
    assert np.array_equal(shown, x[0, 0]) and np.allclose(result, before, rtol=1e-3)
    assert "4 numbers are kept of 36" in course.text() and f"The first is {before[0, 0]:.4g};" in course.told()
    assert "of each 3×3 window, moved by 2" in course.told() and "the result is 2×2" in course.told()


def test_of_the_courses_own_map_most_pooled_values_outlive_a_shift_by_one(course):
    course.set(6, **course.usual(6) | {"shift": 1})
    assert "2 of 9 pooled values changed" in course.text()


def test_a_mixture_of_channels_and_the_saving_of_a_bottleneck_are_the_librarys(course):
    course.set(7, a=2, b=-1.5, c=0.5, narrow=16)
    a, b, c, mixed, positive = course.grids()
    assert np.allclose(mixed, 2 * a - 1.5 * b + 0.5 * c) and np.allclose(positive, np.maximum(mixed, 0))
    direct = striate.summary(striate.parse("Net((192, 28, 28), [Conv(32, 5, padding='same')])")).macs
    through = striate.summary(striate.parse("Net((192, 28, 28), [Conv(16, 1), Conv(32, 5, padding='same')])")).macs
    assert f"{direct:,}" in course.text() and f"{through:,}" in course.text()
    assert f"{direct:,}" in course.told() and f"{through:,}, {direct / through:.4g} times fewer" in course.told()
    assert f"{a[1, 1]:g}·2 + {b[1, 1]:g}·(-1.5) + {c[1, 1]:g}·0.5 = {mixed[1, 1]:g}" in course.text()
    steps = striate.nets.googlenet_paper().steps
    convs = [one.layer for one in steps if one.path.startswith("inception3a.") and isinstance(one.layer, striate.Conv)]
    boxes = course.page.locator("#figure .box").all_inner_texts()
    sides = [np.ravel(conv.kernel)[0] for conv in convs]
    named = [f"{side}×{side}, {conv.filters}" for side, conv in zip(sides, convs, strict=True)]
    assert [box for box in boxes if ", " in box] == named and boxes[-1] == "64 + 128 + 32 + 32 = 256"


# [top, bottom, left, right] of each frame over the picture, in pixels.
READ_FRAMES = """(selector) => [...document.querySelectorAll(selector)].map(({ style }) => {
    const { top: y, height, left: x, width } = style;
    const [top, tall, left, wide] = [y, height, x, width].map((share) => parseFloat(share) * 0.32);
    return [top, top + tall, left, left + wide];
})"""


def test_the_receptive_fields_are_the_summarys(course):
    net = striate.nets.lenet5()
    rows = {row.path: row for row in striate.summary(net).rows}
    levels = np.uint8(course.page.evaluate("[...striateLearn.state.sight.levels]")).reshape(32, 32)
    seen = look_inside(striate.load(LEARN / "lenet5.safetensors"), levels)
    for layer in ("conv1", "pool1", "conv2", "pool2", "dense1", "dense3"):
        course.set(8, layer=layer)
        side = rows[layer].field[0].size
        assert f"sees {side}×{side} pixels" in course.text(), layer
        [at] = re.findall(rf"strongest value, {layer}\[([\d,]+)\]", course.text())
        index = tuple(int(i) for i in at.split(","))
        found = seen.scene.maps[layer]
        assert found[index] == pytest.approx(found.max(), rel=1e-5), layer
        assert f"A value of {layer} sees {side}×{side} pixels" in course.told(), layer
        box = course.page.evaluate(READ_FRAMES, ".frame.now")
        assert box == [pytest.approx(locate_field(net.at(layer), index[1:], (32, 32)))], layer
        middle = [(box[0][0] + box[0][1]) / 2, (box[0][2] + box[0][3]) / 2]
        nested = ["conv1", "pool1", "conv2", "pool2"]  # of each the field whose middle is nearest
        for other, frame in zip(nested, course.page.evaluate(READ_FRAMES, ".frame.faint"), strict=True):
            sides = range(net.at(other).y[1])
            fields = [locate_field(net.at(other), (k, k), (32, 32)) for k in sides]
            near = [min(fields, key=lambda one: abs((one[0] + one[1]) / 2 - at)) for at in middle]
            want = [*near[0][:2], *near[1][:2]]
            assert frame == pytest.approx(want), (layer, other)


def test_the_patches_that_excite_a_channel_make_the_value_that_stands_with_them(course):
    """Sent through the network in torch, each patch gives its channel that value; the largest comes first."""
    model = striate.load(LEARN / "lenet5.safetensors")
    network = model.torch()
    exciting = json.loads((LEARN / "exciting.json").read_text())
    assert {path: len(channels) for path, channels in exciting.items()} == {
        "conv1": 6, "conv2": 16, "dense1": 8, "dense3": 10
    }  # fmt: skip
    mean, std = model.preprocess.mean[0], model.preprocess.std[0]
    for path, channels in exciting.items():
        layers = [(name, layer) for name, layer in network.named_children()]
        layers = [layer for _, layer in layers[: [name for name, _ in layers].index(path) + 1]]
        for channel, examples in enumerate(channels):
            assert [one["value"] for one in examples] == sorted((one["value"] for one in examples), reverse=True)
            for one in examples:
                levels = np.frombuffer(base64.b64decode(one["patch"]), np.uint8)
                side = int(len(levels) ** 0.5)
                x = (torch.tensor(levels.reshape(1, 1, side, side)) / 255 - mean) / std
                value = torch.nn.Sequential(*layers)(x)[0, channel].item()
                assert value == pytest.approx(one["value"], rel=2e-4), (path, channel)
    course.set(8, layer="conv2")
    titles = course.page.eval_on_selector_all(".patch", "(all) => all.map((one) => one.title)")
    want = [f"from a {one['label']}; value {one['value']:.4g}" for one in sum(exciting["conv2"], [])]
    assert titles == want


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("STRIATE_DATA"), reason="STRIATE_DATA names no folder with mnist/")
def test_no_digit_excites_a_class_more_than_those_that_are_shown():
    """Of the images that striate trains on, torch finds the same largest values."""
    digits = read_digits().train
    model = striate.load(LEARN / "lenet5.safetensors")
    exciting = json.loads((LEARN / "exciting.json").read_text())
    with torch.no_grad():
        parts = [model.torch()(torch.tensor(model.standardised(x))) for x in np.array_split(digits.x, 60)]
    best = torch.cat(parts).topk(3, dim=0).values.T.numpy()
    shown = [[one["value"] for one in examples] for examples in exciting["dense3"]]
    assert np.allclose(best, shown, rtol=2e-4)


def test_softmax_loss_and_parameters_are_the_librarys(course):
    course.set(9, label=9)
    logits = np.array(course.page.evaluate("[...striateLearn.state.sight.found.logits]"))
    want = F.cross_entropy(torch.tensor(logits)[None], torch.tensor([9])).item()
    shown = re.search(r"ln\(.*?\) = ([\d.e-]+)", course.text())
    assert float(shown[1]) == pytest.approx(want, rel=1e-3)
    cells = course.page.eval_on_selector_all(
        "#figure table.numbers tbody tr", "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    table = np.array([[read_number(cell) for cell in row] for row in cells])
    shares = torch.tensor(logits, dtype=torch.float64).softmax(0).numpy()
    assert np.allclose(table.T, [range(10), logits, np.exp(logits), shares, np.eye(10)[9]], rtol=1e-3, atol=0)
    assert [cell for *_, cell, _ in cells].count("1") == 0  # none is certain
    lacking = shares.sum() - shares[4]
    assert float(read_numbers(cells[4][3]).removeprefix("1 - ")) == pytest.approx(lacking, rel=1e-3)
    assert course.sum()[0] == pytest.approx(np.exp(logits).sum(), rel=1e-3)
    chance, loss = re.search(r"gives p = (\S+), and the loss is (\S+)\. Over", course.told()).groups()
    assert (float(chance), float(loss)) == (pytest.approx(shares[9], rel=1e-3), pytest.approx(want, rel=1e-3))
    batch = course.page.evaluate(
        "striateLearn.state.sight.batch.map(({ name, logits }) => [Number(name), [...logits]])"
    )
    losses = [F.cross_entropy(torch.tensor([row], dtype=torch.float64), torch.tensor([y])).item() for y, row in batch]
    each, mean = re.search(r"J, the mean over four drawn digits \((.*)\): (\S+)", course.text()).groups()
    assert [float(one.split(": ")[1]) for one in each.split(", ")] == pytest.approx(losses, rel=1e-3)
    assert float(mean) == pytest.approx(np.mean(losses), rel=1e-3)
    for row in striate.summary(striate.nets.lenet5()).rows:
        assert not row.params or re.search(rf"{row.path}\s+{row.params:,}\b", course.text()), row.path
    assert f"{PARAMETERS:,} in all" in course.text() and striate.summary(striate.nets.lenet5()).params == PARAMETERS


RECORDS = {
    "sgd": GradientDescent(rate=0.05),
    "momentum": Momentum(rate=0.05),
    "rmsprop": RMSProp(rate=0.01),
    "adam": Adam(rate=0.01),
}


def test_every_optimizers_steps_are_its_records(course):
    """The same gradients through the record's own NumPy arithmetic; the first gradient is the plain engine's."""
    course.set(10, steps=5, label=9)
    model = striate.load(LEARN / "lenet5.safetensors")
    for name, record in RECORDS.items():
        rows = course.page.evaluate(f"striateLearn.descend(striateLearn.state.sight, '{name}', 5, 9)")
        w, state = np.array([rows[0]["w"]]), {}
        for row in rows:
            update = record.update(w, np.array([row["g"]]), state)
            w, state = update.weights, update.state
            assert row["next"] == pytest.approx(float(w[0]), rel=1e-9), name
    levels = np.uint8(course.page.evaluate("[...striateLearn.state.sight.levels]")).reshape(1, 32, 32, 1)
    network, x = model.torch(), torch.tensor(model.standardised(levels))
    F.cross_entropy(network(x), torch.tensor([9])).backward()
    assert rows[0]["g"] == pytest.approx(
        float(dict(network.named_parameters())["conv1.weight"].grad[0, 0, 2, 2]), rel=1e-4
    )


@pytest.mark.parametrize("name", RECORDS)
def test_the_printed_arithmetic_of_a_step_adds_up_and_is_the_records(course, name):
    """At twice the usual rate: every equation that stands there, the new weight, and the losses before and after."""
    course.set(10, steps=3, label=9, rate=2)
    way = course.page.locator("#figure section.way").nth(list(RECORDS).index(name))
    record = replace(RECORDS[name], rate=2 * RECORDS[name].rate)
    assert read_numbers(way.locator("h3").inner_text()).endswith(f", rate {record.rate:g}")
    rows = course.page.evaluate(f"striateLearn.descend(striateLearn.state.sight, '{name}', 3, 9, 2)")
    model = striate.load(LEARN / "lenet5.safetensors")
    levels = np.uint8(course.page.evaluate("[...striateLearn.state.sight.levels]")).reshape(1, 32, 32, 1)
    network, x = model.torch(), torch.tensor(model.standardised(levels))
    weight, state, losses = dict(network.named_parameters())["conv1.weight"], {}, []
    lines = way.locator("li").all_inner_texts()
    for row, line in zip(rows, lines, strict=True):
        update = record.update(np.array([row["w"]]), np.array([row["g"]]), state)
        state = update.state
        gradient, *parts = re.split(": |; ", read_numbers(line))
        assert float(gradient.removeprefix("g = ")) == pytest.approx(row["g"], rel=1e-3)
        assert float(parts[-1].split(" = ")[-1]) == pytest.approx(float(update.weights[0]), rel=1e-3)
        for part in parts:
            made, value = part.split(" = ")[-2:]
            if any(sign in made for sign in "·√"):
                assert work_out(made) == pytest.approx(float(value), abs=2e-3), line
        weight.data[0, 0, 2, 2] = row["w"]
        loss = F.cross_entropy(network(x), torch.tensor([9]))
        assert row["g"] == pytest.approx(torch.autograd.grad(loss, weight)[0][0, 0, 2, 2].item(), rel=1e-3)
        losses.append(loss.item())
    said = re.fullmatch(r"loss (\S+) to (\S+)", read_numbers(way.locator("p").inner_text())).groups()
    assert [float(one) for one in said] == pytest.approx([losses[0], losses[-1]], rel=1e-3)


def work_out(text: str) -> float:
    """What a line of arithmetic comes to: "0.9·0 + 2.939", "1 - 0.1·2/√4"."""
    text = re.sub(r"√([\d.e-]+)", r"sqrt(\1)", text.replace("·", "*").replace("²", "**2"))
    return eval(text, {"sqrt": math.sqrt})


NETS = {"LeNet-5": "lenet5", "AlexNet": "alexnet", "VGG-16": "vgg16", "GoogLeNet": "googlenet", "ResNet-18": "resnet18"}


def test_the_published_nets_have_the_summarys_parameters_and_shortcuts_keep_a_gradient(course):
    course.set(11, blocks=20)
    for name, spec in NETS.items():
        count = striate.summary(getattr(striate.nets, spec)()).params
        assert re.search(rf"{name}\b.*\b{count:,}\b.*striate summary {spec}", course.text()), name
    plain, short = re.search(r"weight 0.1: ([\d.e-]+) without shortcuts, ([\d.e-]+) with", course.text()).groups()
    x = torch.ones(1, requires_grad=True)
    for shown, weight in ((plain, 0.1), (short, 1.1)):
        y = x
        for _ in range(20):
            y = weight * y
        [slope] = torch.autograd.grad(y, x)
        assert float(shown) == pytest.approx(slope.item(), rel=1e-3)


def test_a_zeroed_channel_changes_every_later_map(course):
    course.set(11, layer="conv1", channel=2)
    see = "(zero) => [...striateLearn.state.sight.see({ zero }).found.logits]"
    zeroed, whole = (np.array(course.page.evaluate(see, zero)) for zero in ({"conv1": [2]}, {}))
    model = striate.load(LEARN / "lenet5.safetensors")
    tensors = {name: value.copy() for name, value in model.tensors.items()}
    tensors["conv1.weight"][2] = tensors["conv1.bias"][2] = 0
    levels = np.uint8(course.page.evaluate("[...striateLearn.state.sight.levels]")).reshape(1, 32, 32, 1)
    left = striate.Model(model.header, tensors)
    own = left.torch()(torch.tensor(model.standardised(levels)))[0].detach().numpy()
    assert np.allclose(zeroed, own, atol=1e-4) and not np.allclose(zeroed, whole, atol=1e-2)
    maps = course.page.evaluate(READ_MAPS, {"zero": {"conv1": [2]}})["maps"]
    for path, y in look_inside(left, levels[0]).scene.maps.items():
        assert path not in maps or np.allclose(maps[path], y.ravel(), atol=1e-3), path
    shares = np.exp(own - own.max()) / np.exp(own - own.max()).sum()
    assert course.page.locator("#figure .share").all_inner_texts() == [write_share(float(share)) for share in shares]


# What the network makes of the drawing changed so: { levels, maps }.
READ_MAPS = """(changed) => {
    const { levels, found } = striateLearn.state.sight.see(changed);
    const maps = Object.fromEntries([...found.maps].map(([path, { data }]) => [path, [...data]]));
    return { levels: [...levels], maps };
}"""


def test_of_a_picture_that_is_shifted_turned_and_scaled_all_maps_and_the_answer_are_the_librarys(course):
    course.set(11, **course.usual(11) | {"right": 3, "down": -2, "turn": 25, "scale": 80})
    seen = course.page.evaluate(READ_MAPS, {"right": 3, "down": -2, "turn": 25, "scale": 0.8})
    whole = course.page.evaluate("[...striateLearn.state.sight.levels]")
    assert seen["levels"] != whole and sum(seen["levels"]) < sum(whole)
    found = look_inside(striate.load(LEARN / "lenet5.safetensors"), np.uint8(seen["levels"]).reshape(32, 32))
    assert len(seen["maps"]) == 12
    for path, values in seen["maps"].items():
        assert np.allclose(values, found.scene.maps[path].ravel(), atol=1e-4), path
    shown = [write_share(share) for share in found.probabilities]
    assert course.page.locator("#figure .share").all_inner_texts() == shown
    best = int(np.argmax(found.probabilities))
    assert f"Now it says {best} with {shown[best]}." in course.told()


def test_tasks_know_right_from_wrong(course):
    for step in range(1, STEPS + 1):
        course.set(step)
        forms = course.page.locator(f"#text-{step} form")
        answers = course.page.evaluate(f"striateLearn.steps[{step - 1}].tasks.map(([, answer]) => answer())")
        assert forms.count() == len(answers) >= 2
        for k, want in enumerate(answers):
            for value, right in ((want + 1, "false"), (want, "true")):
                forms.nth(k).locator("input").fill(str(value))
                forms.nth(k).locator("input").press("Enter")
                assert forms.nth(k).locator("output").get_attribute("data-right") == right, (step, k)


def test_what_was_set_outlives_a_reload_and_another_language(browser, page):
    course = Course(browser, page, address="step-3?n=9&f=5")
    course.page.click("#language")
    assert course.page.get_attribute("html", "lang") == "ko" and "n=9" in course.page.url
    course.page.reload()
    course.page.wait_for_selector("body[data-state=ready]")
    assert course.page.evaluate("striateLearn.state.values[2].n") == 9
    assert course.page.get_attribute("html", "lang") == "ko"
    course.context.close()


def test_a_korean_particle_fits_the_number_before_it(course):
    for label, said in ((9, "9라고"), (8, "8이라고"), (0, "0이라고"), (2, "2라고")):
        course.set(10, label=label, lang="ko")
        assert f"정답이 {said} 해 봅시다" in course.page.inner_text("#text-10")
    course.set(1)


def test_a_drawing_changes_pixels_maps_and_bars(course):
    course.set(1)
    before = course.page.evaluate("[...striateLearn.state.sight.levels]")
    course.page.click("#wipe")
    box = course.page.locator("#pad").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"]
    course.page.mouse.move(x, y + 25)
    course.page.mouse.down()
    course.page.mouse.move(x, y + box["height"] - 25, steps=8)
    course.page.mouse.up()
    after = course.page.evaluate("[...striateLearn.state.sight.levels]")
    assert (
        after != before
        and course.page.evaluate(
            "striateLearn.state.sight.found.probabilities.indexOf(Math.max(...striateLearn.state.sight.found.probabilities))"
        )
        == 1
    )
    course.page.click("#four")
    assert course.page.evaluate("[...striateLearn.state.sight.levels]") == before


def test_the_training_that_is_shown_is_one_that_learnt(course):
    rows = json.loads((LEARN / "training.json").read_text())
    assert [row["epoch"] for row in rows] == list(range(21)) and all(len(row["filters"]) == 150 for row in rows)
    assert rows[0]["accuracy"] < 0.3 and rows[-1]["accuracy"] > 0.98 and rows[-1]["loss"] < rows[1]["loss"]
    course.set(10, epoch=7)
    assert f"Epoch 7: validation loss {rows[7]['loss']:g}, mean" in course.text()
    assert f"of the right digit {100 * rows[7]['right']:.1f} %" in course.text()
    model = striate.load(LEARN / "lenet5.safetensors")
    assert model.classes == tuple("0123456789") and "61,706" in f"{sum(t.size for t in model.tensors.values()):,}"


# The pictures in docs ----------------------------------------------------------------------------------

# How each step's controls stand in its picture.
SHOWN = {1: {"row": 12, "column": 14}, 2: {"at": 6}, 3: {"s": 2, "p": 1}, 4: {"filters": 4}, 6: {"shift": 1},
         8: {"layer": "conv2"}, 9: {"label": 9}, 11: {"channel": 2, "turn": 20}}  # fmt: skip


def keep_colours(picture: Image.Image, count: int) -> Image.Image:
    """In so many colours: half of them the most frequent ones as they are, half spread over all that occur."""
    common = [rgb for _, rgb in sorted(picture.getcolors(1 << 24), reverse=True)[: count // 2]]
    spread = picture.quantize(count - len(common), method=Image.Quantize.MAXCOVERAGE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for rgb in common for level in rgb] + spread)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


@pytest.mark.skipif(not os.environ.get("STRIATE_SCREENSHOTS"), reason="STRIATE_SCREENSHOTS=1 draws docs/pictures anew")
@pytest.mark.parametrize("language", ["en", "ko"])
def test_screenshots(browser, page, language):
    """Each step as it is seen at 1280×800, and the first on a phone, in 96 colours."""
    folder = Path(__file__).parent.parent / "docs" / "pictures"
    for size, steps, more in ((SIZES[0], range(1, STEPS + 1), ""), (SIZES[2], [1], "-narrow")):
        course = Course(browser, page, size, language)
        for step in steps:
            course.set(step, **SHOWN.get(step, {}), lang=language)
            course.page.wait_for_timeout(300)
            picture = Image.open(io.BytesIO(course.page.screenshot())).convert("RGB")
            keep_colours(picture, 96).save(folder / f"learn-{step}-{language}{more}.png", optimize=True)
        course.context.close()
