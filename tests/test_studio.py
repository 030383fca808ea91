"""The studio in a real browser: its views, its numbers beside the library's, its errors."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra striate[studio] is not installed")
pytest.importorskip("uvicorn", reason="the extra striate[studio] is not installed")
pytest.importorskip("torch", reason="a run to look at is trained first")

import striate  # noqa: E402
from striate.architecture import zoo  # noqa: E402
from striate.architecture.editing import change_field  # noqa: E402
from striate.architecture.net import Net  # noqa: E402
from striate.architecture.text import parse  # noqa: E402
from striate.engines import plain  # noqa: E402
from striate.engines.model_file import ModelHeader, Preprocess  # noqa: E402
from striate.errors import DataError, ModelError, ShapeError  # noqa: E402
from striate.fitting.watch import Watch  # noqa: E402
from striate.inside.features import make_features  # noqa: E402
from striate.inside.trace_format import format_short  # noqa: E402
from striate.inside.trace_record import format_address
from striate.model.model import Model  # noqa: E402
from striate.report.pictures import paint_filters  # noqa: E402
from striate.studio import answers, recent  # noqa: E402
from striate.studio.describe import describe_look  # noqa: E402
from striate.studio.jobs import list_choices  # noqa: E402
from striate.studio.look import look_inside
from striate.studio.packing import convert_to_bytes
from striate.studio.server import serve_studio  # noqa: E402
from striate.summaries.whatif import suggest_changes  # noqa: E402
from striate.transfer.head import TriedStrength  # noqa: E402
from tests.studio_browser import ask, browser, check_panel, served, until, watched  # noqa: E402

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A LeNet-5 that reads digits, trained for a second."""
    folder = tmp_path_factory.mktemp("runs") / "digits-1"
    striate.train("digits", "lenet5", out=folder, epochs=8, watch=Watch())
    return folder


@pytest.fixture(scope="module")
def model(run) -> Model:
    return striate.load(run)


@pytest.fixture(scope="module")
def digits(model):
    return model.images("digits")


@pytest.fixture(scope="module")
def home(run):
    """The address of a studio of that run."""
    with served([run]) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium):
    """A page, and that nothing went wrong on its console."""
    with watched(chromium) as opened:
        yield opened


def shown(page, home, view, rest="") -> None:
    page.goto(f"{home}#{view}/digits-1{rest}")
    page.wait_for_selector(f"main[data-shown={view}]")


# The views -------------------------------------------------------------------------------------------

SEEN = {
    "architecture": ("textarea", ".summary-box"),
    "training": ("svg.lines", "table.runs", "form.starting"),
    "data": (".counts", ".samples img"),
    "results": (".matrix", ".chart", ".per-class"),
    "inside": ("canvas.maps", ".panel .value"),
}


@pytest.mark.parametrize("view", SEEN)
def test_every_view_renders_from_a_real_run_without_console_errors(page, home, view):
    shown(page, home, view)
    for selector in SEEN[view]:
        assert page.locator(selector).first.is_visible(), selector
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not page.wrong


# Of every text that is seen: its size, and its contrast with what lies behind it (WCAG 2.2, relative luminance). The
# drawings are pictures, and the view inside a network has small cells of its own.
LOOKS = """() => {
    const parse = (text) => {
        const made = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        made.clearRect(0, 0, 1, 1);
        made.fillStyle = text;
        made.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = made.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], under) => [r, g, b].map((value, k) => a * value + (1 - a) * under[k]);
    const ground = (item) => {
        if (!item) return [255, 255, 255];
        const own = parse(getComputedStyle(item).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, ground(item.parentElement));
    };
    const light = (colour) => {
        const [r, g, b] = colour.map((value) => value / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = { sizes: {}, small: [], pale: [] };
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const item = walk.currentNode.parentElement;
        const text = walk.currentNode.textContent.trim();
        const unseen = item.closest(".unseen, .skip, datalist, option, script, :disabled, svg");
        if (!text || unseen || !item.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
        const style = getComputedStyle(item);
        const size = parseFloat(style.fontSize);
        found.sizes[size] = text;
        if (size < 12) found.small.push([text, size]);
        const under = ground(item);
        const [one, other] = [light(over(parse(style.color), under)), light(under)].sort((a, b) => b - a);
        const contrast = (one + 0.05) / (other + 0.05);
        if (contrast < 4.5) found.pale.push([text, style.color, contrast.toFixed(2)]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_every_view_is_legible_in_both_languages_and_fits_a_narrow_screen(page, home, scheme):
    page.emulate_media(color_scheme=scheme)
    shown(page, home, "training")
    for language in ("en", "ko"):
        page.evaluate(f"localStorage.setItem('language', '{language}')")
        sizes = set()
        for view in ("training", "data", "results", "architecture", "fixing"):
            page.goto("about:blank")
            shown(page, home, view)
            page.wait_for_selector(f"html[lang={language}]")
            looks = page.evaluate(LOOKS)
            assert not looks["small"] and not looks["pale"], (view, looks)
            sizes |= set(looks["sizes"])
            assert page.locator("h1").count() == 1
            page.set_viewport_size({"width": 320, "height": 700})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
            page.set_viewport_size({"width": 1280, "height": 800})
        assert len(sizes) <= 6, sizes
    shown(page, home, "inside")
    assert page.locator("h1").count() == 1
    looks = page.evaluate(LOOKS)
    assert not looks["small"] and not looks["pale"] and len(looks["sizes"]) <= 7, looks  # the seventh is the value


def test_learn_is_the_first_tab_and_opens_the_course_in_the_studios_language(page, home):
    page.goto(f"{home}#architecture")
    page.click("nav.tabs a:first-child")
    page.wait_for_selector("body[data-state=ready] #figure .cells")
    assert "learn#step-1" in page.url and page.inner_text("#lead").startswith("A network reads this 4")


# Of LeNet-5, whose maps of conv2 are 10×10: the layers at which the course's eleven steps open Inside.
PLACES = "image conv1 conv1 conv2 conv1 pool1 conv2 conv2 probability conv1 probability".split()


def test_each_step_of_the_course_opens_inside_at_its_layer(page, home):
    page.goto(f"{home}learn#step-1?lang=en")
    page.wait_for_selector("body[data-state=ready]")
    links = page.eval_on_selector_all(".place a", "(all) => all.map((one) => one.href)")
    assert len(links) == len(PLACES)
    for link, path in {link: path for link, path in zip(links, PLACES, strict=True)}.items():
        page.goto(link)
        until(page, f"document.querySelector('.panel h3')?.firstChild.textContent.startsWith('{path}[')")
    page.goto(f"{home}#inside///conv2[3,1,2]")
    until(page, "document.querySelector('.panel h3')?.firstChild.textContent === 'conv2[3,1,2]'")
    page.goto(f"{home}#inside///conv9[3,1,2]")  # of another net: the page begins where it would without
    until(page, "document.querySelector('.panel h3')?.firstChild.textContent.startsWith('conv1[')")


def test_the_page_speaks_korean_and_remembers_it(page, home):
    shown(page, home, "results")
    page.get_by_role("button", name="한국어").click()
    until(page, "document.documentElement.lang === 'ko'")
    page.get_by_role("heading", name="혼동 행렬").wait_for()
    page.reload()
    page.wait_for_selector("html[lang=ko] .matrix")


def test_the_korean_page_shows_the_librarys_rules_tables_and_traces_in_korean(page, home):
    shown(page, home, "architecture")
    page.get_by_role("button", name="한국어").click()
    until(page, "document.documentElement.lang === 'ko'")
    page.locator("textarea").fill("Net(input=(1, 8, 8), layers=[Conv(4, 9)])")
    page.locator("pre.error", has_text="8×8 특징 맵에 9×9 창이 들어가지 않습니다").wait_for()
    page.locator("textarea").fill("Net(input=(1, 8, 8), layers=[Conv(4, 3), Flatten(), Dense(2)])")
    page.locator(".summary-box th", has_text="매개변수").first.wait_for()
    shown(page, home, "inside")
    page.locator(".panel", has_text="모든 채널에 걸친 Σ 창의 값·필터 + 편향").first.wait_for()


# Every text that is seen or read out, but code, and what is inside a drawing.
READ_ALL = """() => {
    const names = ["aria-label", "aria-roledescription", "title", "placeholder", "alt"];
    const found = [];
    for (const item of document.querySelectorAll("*")) {
        found.push(...names.map((name) => item.getAttribute(name)).filter(Boolean));
        if (item.shadowRoot) for (const text of item.shadowRoot.querySelectorAll("text")) found.push(text.textContent);
    }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode())
        if (!walker.currentNode.parentElement.closest("script, style, code, .mark, .layer-text, datalist"))
            found.push(walker.currentNode.data);
    return found.join("\\n");
}"""

# Names that Korean writes so too: of layers and of what computes, units, keys, and what is data: runs, files, classes.
LATIN = set(
    """English LeNet MAC MACs FLOPs KiB MiB ONNX Runtime CAM Grad Zhang px nat s digits lenet image L F torch
    compile auto Page Up Down Enter x u none e he_uniform float32 float Conv Dense Flatten MaxPool ReLU
    Softmax BatchNorm max conv pool relu dense flatten probability weight bias filters kernel stride padding
    dilation groups valid same adam""".split()
)


def leave_names(text: str) -> set[str]:
    """The words in Latin letters that are no name, no number's unit, no option and no setting's value."""
    values = {value for setting in list_choices()["settings"] for value in setting["choices"]}
    written = {
        word for name in [*zoo.NAMES, *values, "runs/NAME/corrections.csv .jpg stage"] for word in split_words(name)
    }
    return set(split_words(re.sub(r"--[a-z-]+", "", text))) - LATIN - written


def split_words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]+", text)


@pytest.mark.parametrize("view", [*SEEN, "fixing"])
def test_no_word_of_a_view_is_left_in_english_where_the_page_is_korean(page, home, view):
    page.goto(home)
    page.evaluate("localStorage.setItem('language', 'ko')")
    page.goto("about:blank")
    shown(page, home, view)
    page.wait_for_selector("html[lang=ko]")
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    if view == "results":
        page.get_by_role("button", name="측정").click()
        page.locator(".steadiness").wait_for()
    if view == "architecture":
        page.locator("td[title=conv2]").click()
        page.wait_for_selector(".what-if-list button")
        page.wait_for_selector(".layer-fields:not([hidden])")
    if view == "inside":
        wait_for_engine(page)
        page.locator("[data-step=class]").click()
        page.wait_for_selector(".ladder")
    assert leave_names(page.evaluate(READ_ALL)) == set()


def test_a_request_is_answered_in_its_own_language(home):
    wrong = b"Net(input=(1, 8, 8), layers=[Conv(4, 9)])"
    told = {
        language: json.loads(ask(home, "api/net", {"Accept-Language": language}, wrong)[1])["what"]
        for language in ("ko-KR,ko;q=0.9", "en")
    }
    assert list(told.values()) == ["8×8 특징 맵에 9×9 창이 들어가지 않습니다", "a 9×9 window does not fit a 8×8 map"]


def test_english_and_korean_have_the_same_words(page, home):
    page.goto(home)
    names = page.evaluate(
        """async () => {
            const text = await (await fetch("page/words.js")).text();
            const parts = text.split(/\\n  (?:en|ko): \\{/).slice(1);
            const names = (part) => [...part.matchAll(/(?:^|[ ,{\\n])"?([\\w-]+)"?:\\s+"/g)].map((m) => m[1]).sort();
            return parts.map(names);
        }"""
    )
    assert names[0] == names[1] and len(names[0]) > 80


def test_a_cell_of_the_confusion_matrix_shows_its_pictures_and_each_opens_inside(page, home, model, digits):
    p = model.probabilities(digits.x).argmax(1)
    assert striate.load(model.path.parent).evaluate("digits").accuracy == (p == digits.y).mean()
    shown(page, home, "results")
    page.locator("[data-cell='3,3']").click()
    count = int(((digits.y == 3) & (p == 3)).sum())
    until(page, f"document.querySelectorAll('.two .wall figure').length === {count}")
    page.locator(".two .wall button").first.click()
    page.wait_for_selector("main[data-shown=inside] .panel .value")
    assert ": 3" in page.locator(".caption").inner_text()


def test_pictures_that_come_late_do_not_stand_over_those_of_the_cell_chosen_since(page, home, model, digits):
    held = []
    page.route("**/api/cell?*", lambda route: route.continue_() if held else held.append(route))
    shown(page, home, "results")
    until(page, "document.querySelectorAll('.matrix button').length === 100")
    page.locator("[data-cell='3,3']").click()
    count = int(((digits.y == 3) & (model.probabilities(digits.x).argmax(1) == 3)).sum())
    figures = "document.querySelectorAll('.two .wall figure').length"
    until(page, f"{figures} === {count}")
    with page.expect_response("**/api/cell?*"):
        held[0].continue_()
    page.wait_for_timeout(300)
    assert page.evaluate(figures) == count


# Inside ----------------------------------------------------------------------------------------------


def test_no_value_stands_beside_an_address_whose_answer_did_not_come(page, home):
    page.route("**/api/weights?*", lambda route: route.abort())  # else the page traces it itself
    shown(page, home, "inside", "/7")
    page.locator("canvas[data-path=conv2]").click(position={"x": 2, "y": 2})
    until(page, "document.querySelector('.status').innerText.includes('conv2[0,0,0] = ')")
    page.route("**/api/trace?*", lambda route: route.abort())  # the server is gone
    page.locator("canvas[data-path=conv1]").click(position={"x": 2, "y": 2})
    until(page, "document.querySelector('.status').innerText.includes('conv1[0,0,0]')")
    page.mouse.move(0, 0)
    page.wait_for_timeout(200)
    assert " = " not in page.locator(".status").inner_text()
    page.wrong.clear()  # the browser's own word on the request that was broken off


def test_a_click_on_a_unit_shows_the_librarys_numbers(page, home, model, digits):
    shown(page, home, "inside", "/7")
    page.locator("canvas[data-path=conv2]").click(position={"x": 2, "y": 2})
    check_panel(page, model.trace(digits.x[7], "conv2", 0, 0, 0))
    page.locator("[data-step=lead]").click()
    lead = model.trace(digits.x[7], "conv2", 0, 0, 0).lead
    path, index = lead[:-1].split("[")
    check_panel(page, model.trace(digits.x[7], path, *map(int, index.split(","))))
    page.locator(".class").nth(3).click()
    check_panel(page, model.trace(digits.x[7], "probability", 3))


def test_keys_move_over_the_maps_and_explain(page, home, model, digits):
    shown(page, home, "inside", "/2")
    page.locator("canvas[data-path=pool1]").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "PageDown"):
        page.keyboard.press(key)
    assert "pool1[1,6,8]" in page.get_by_role("status").inner_text()
    page.keyboard.press("Enter")
    check_panel(page, model.trace(digits.x[2], "pool1", 1, 6, 8))


def test_the_way_down_ends_at_a_pixel_and_the_way_up_at_a_probability(page, home):
    shown(page, home, "inside")
    page.locator("[data-step=pixels]").click()
    until(page, "document.querySelector('.panel h3').textContent.startsWith('image[')")
    page.get_by_role("button", name="Up to a class").click()
    until(page, "document.querySelector('.panel h3').textContent.startsWith('probability[')")


def draw_nought(page, canvas) -> None:
    """A circle, with the pen down until it is whole."""
    box = page.locator(canvas).bounding_box()
    points = [(0.5 + 0.26 * np.cos(a), 0.5 + 0.36 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 24)]
    page.mouse.move(box["x"] + points[0][0] * box["width"], box["y"] + points[0][1] * box["height"])
    page.mouse.down()
    for x, y in points[1:]:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def read_best(page) -> str:
    return page.locator(".class.best .label").inner_text()


def wait_for_engine(page) -> None:
    until(page, "globalThis.inside?.ready()")


def test_a_network_that_the_page_does_not_compute_is_drawn_for_on_the_servers_pad(page, home, model, monkeypatch):
    monkeypatch.setattr(answers, "MOST_WEIGHT_BYTES", 1000)
    with served([model.path.parent]) as own:
        shown(page, own, "inside")
        assert "a page takes 0 MiB at most" in page.inner_text(".computed")
        page.get_by_role("button", name="Draw", exact=True).click()
        draw_nought(page, "canvas.pad")
        page.mouse.up()
        page.wait_for_selector("[data-ready=drawing]")
        drawn = base64.b64decode(page.evaluate("document.querySelector('.pad').toDataURL()").split(",")[1])
        assert read_best(page) == model.predict(drawn).label == "0"


def test_while_one_draws_the_page_computes_and_asks_nobody_and_then_the_servers_values_follow(page, home, model):
    shown(page, home, "inside", "/7")
    wait_for_engine(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.click("[data-mode=drawMode]")
    before = page.evaluate("[...inside.values('conv2')]")
    draw_nought(page, ".image")
    until(page, "document.querySelector('.class.best .label').innerText === '0'")  # while the pen is down
    assert asked == [] and page.evaluate("[...inside.values('conv2')]") != before
    page.mouse.up()
    until(page, "location.hash.includes('/kept-')")
    assert {urlsplit(url).path.rsplit("/")[-1] for url in asked} <= {"look", "trace"}
    look = page.evaluate("location.hash").split("kept-")[1].split("/")[0]
    seen = json.loads(ask(home, f"api/look?run=digits-1&kept={look}")[1])
    assert read_best(page) == str(int(np.argmax(seen["probabilities"]))) == "0"
    apart = float(page.inner_text(".computed").split("differ by ")[1].split()[0])
    assert apart < 1e-5


def test_values_that_the_page_traces_are_traced_as_by_the_server(page, home, model, digits):
    shown(page, home, "inside", "/7")
    wait_for_engine(page)
    look = json.loads(ask(home, "api/look?run=digits-1&index=7")[1])
    rng = random.Random(5)
    for layer in rng.sample(look["layers"], 10):
        at = format_address(layer["path"], [rng.randrange(n) for n in layer["shape"]])
        status, body = ask(home, f"api/trace?look={look['id']}&at={at}", {"Accept-Language": "en"})
        exact, own = json.loads(body), page.evaluate("(at) => inside.trace(at)", at)
        assert own["value"] == pytest.approx(exact["value"], abs=1e-5), at
        assert [own[name] for name in ("address", "rule", "op", "lead", "up")] == [
            exact[name] for name in ("address", "rule", "op", "lead", "up")
        ]
        terms = [[term["value"] for group in trace["groups"] for term in group["terms"]] for trace in (own, exact)]
        assert terms[0] == pytest.approx(terms[1], abs=1e-5), at
        told = json.loads(ask(home, f"api/trace?look={look['id']}&at={at}", {"Accept-Language": "ko"})[1])
        assert list_texts(page.evaluate("(at) => inside.trace(at, 'ko')", at)) == list_texts(told)


def list_texts(trace) -> list[str]:
    """Of a record all that is said in words; the last digit of a number may differ."""
    notes = [term.get("note", "") for group in trace["groups"] for term in group["terms"]]
    names = [part["name"] for key in ("groups", "steps") for part in trace[key]]
    return [re.sub(r"[\d.]+", "#", text) for text in (trace["rule"], *names, *notes)]


def test_a_channel_put_to_zero_in_the_page_changes_every_later_map_as_its_absence_does(page, home, model, digits):
    shown(page, home, "inside", "/7/conv1[2,4,4]?zero=conv1:2")
    until(page, "globalThis.inside?.ready() && document.querySelector('.removed button') !== null")
    left = {name: t.copy() for name, t in model.tensors.items()}
    left["conv1.weight"][2], left["conv1.bias"][2] = 0, 0
    expected = look_inside(Model(model.header, left, model.path), digits.x[7])
    for path, y in expected.scene.maps.items():
        got = np.array(page.evaluate(f"[...inside.values('{path}')]")).reshape(y.shape)
        assert np.abs(got - y).max() <= 1e-5 * max(1, np.abs(y).max()), path
    page.click(".removed button")
    whole = look_inside(model, digits.x[7]).scene.maps["conv2"]
    until(page, "!location.hash.includes('zero')")
    until(page, f"Math.abs(inside.values('conv2')[0] - {whole[0, 0, 0]}) < 1e-4")


def test_what_is_no_image_is_refused_with_the_librarys_words(home, model):
    status, body = ask(home, "api/look?run=digits-1&name=x", body=b"no image")
    with pytest.raises(DataError) as refused:
        model.prepared(b"no image")
    assert (status, json.loads(body)["text"]) == (422, str(refused.value))


def test_a_trace_of_lenet5_takes_less_than_100_ms(home):
    seen = json.loads(ask(home, "api/look?run=digits-1&index=0")[1])
    took = []
    for k in range(5):
        began = time.perf_counter()
        status, _ = ask(home, f"api/trace?look={seen['id']}&at=conv2[{k},4,5]")
        took.append(time.perf_counter() - began)
        assert status == 200
    assert min(took) < 0.1


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_what_speaks_for_a_class_is_a_picture(page, home, method):
    shown(page, home, "inside")
    page.get_by_label("Method").select_option(method)
    page.wait_for_selector("img.over")
    assert page.evaluate("document.querySelector('img.over').naturalWidth") > 100


def test_an_attribution_that_comes_late_does_not_lie_over_the_next_picture(page, home):
    held = []
    page.route("**/api/attribution?*", lambda route: held.append(route))
    shown(page, home, "inside")
    page.get_by_label("Method").select_option("occlusion")
    before = page.locator(".caption").inner_text()
    page.get_by_role("button", name="Another test image").click()
    until(page, f"document.querySelector('.caption').innerText !== {json.dumps(before)}")
    with page.expect_response("**/api/attribution?*"):
        held[0].continue_()
    page.wait_for_timeout(300)
    assert page.locator("img.over").count() == 0


def test_a_channel_put_to_zero_changes_the_probabilities_as_its_absence_does(page, home, model, digits):
    shown(page, home, "inside", "/7")
    page.locator("canvas[data-path=conv2]").click(position={"x": 2, "y": 2})
    until(page, "document.querySelector('.panel h3').firstChild.textContent === 'conv2[0,0,0]'")
    page.locator("[data-step=remove]").click()
    page.wait_for_selector(".removed button")
    # A convolution without the weights and the bias of a filter gives zeros there.
    left = {name: t.copy() for name, t in model.tensors.items()}
    left["conv2.weight"][0], left["conv2.bias"][0] = 0, 0
    expected = Model(model.header, left, model.path).probabilities(digits.x[7:8])[0]
    status, body = ask(home, "api/look?run=digits-1&index=7")
    found = json.loads(ask(home, f"api/lesion?look={json.loads(body)['id']}&path=conv2&channel=0")[1])
    assert found["probabilities"] == pytest.approx(expected.tolist(), abs=1e-6)
    wanted = [
        f"{100 * min(max(p, 0.001), 0.999):.1f}" if not 0.0005 <= p <= 0.9995 else f"{100 * p:.1f}" for p in expected
    ]
    percents: list[str] = []
    for _ in range(200):  # the answer comes a moment after the button
        percents = [text.strip("<> %") for text in page.locator(".class .number").all_inner_texts()]
        if percents == wanted:
            break
        page.wait_for_timeout(50)
    assert percents == wanted
    page.locator(".removed button").click()
    until(page, "!document.querySelector('.removed button')")


def test_language_tab_and_reload_lose_neither_image_nor_value_nor_zeroed_channel(page, home, digits):
    address = "#inside/digits-1/7/conv2[3,4,5]?zero=conv1:2"

    def check() -> None:
        page.wait_for_selector("main[data-shown=inside] .removed button")
        until(page, f"location.hash === {json.dumps(address)}")
        until(page, "document.querySelector('.panel h3').firstChild.textContent === 'conv2[3,4,5]'")
        assert page.inner_text(".caption").startswith(f"{digits.files[7]}:")

    page.goto(home + address)
    check()
    page.get_by_role("button", name="한국어").click()
    until(page, "document.documentElement.lang === 'ko'")
    check()
    page.get_by_role("link", name="데이터").click()
    page.wait_for_selector("main[data-shown=data]")
    page.get_by_role("link", name="내부").click()
    check()
    page.reload()
    check()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("[data-do=link]")
    until(page, "document.querySelector('[data-do=link]').textContent === '복사했습니다'")
    assert page.evaluate("navigator.clipboard.readText()") == home + address


def test_what_is_chosen_inside_is_in_the_address_and_outlives_a_reload(page, home):
    shown(page, home, "inside", "/7/conv2[3,4,5]?zero=conv1:2")
    page.wait_for_selector(".removed button")
    page.locator(".line select").select_option("byStrength")
    page.get_by_label("Attribution: evidence for a class").select_option("3")
    until(page, "location.hash === '#inside/digits-1/7/conv2[3,4,5]?zero=conv1:2&order=byStrength&speaks=3:grad-cam'")
    page.reload()
    page.wait_for_selector(".over")
    assert page.locator(".line select").input_value() == "byStrength"
    assert page.locator(".over").get_attribute("alt") == "Attribution: evidence for a class: 3, Grad-CAM"
    page.get_by_role("button", name="Another test image").click()
    until(page, "/^#inside.digits-1.8.[a-z]/.test(location.hash) && !location.hash.includes('speaks')")


def test_the_colour_and_the_folds_and_all_maps_that_are_chosen_outlive_language_tab_and_reload(page, deep, monkeypatch):
    monkeypatch.setattr(answers, "MOST_WEIGHT_BYTES", 0)
    address = "#inside/deep/0/image[2,4,4]?colour=blue&folds=layer2,layer3&all=layer2.relu3"

    def check(few: str) -> None:
        until(page, f"location.hash === {json.dumps(address)}")
        until(page, "document.querySelector('.colours [aria-pressed=true]')?.dataset.colour === 'blue'")
        for path, is_open in (("layer1", False), ("layer2", True), ("layer3", True)):
            until(page, f"document.querySelector('[data-fold={path}]')?.ariaExpanded === '{str(is_open).lower()}'")
        shown = "document.querySelector('[data-path=\"layer2.relu3\"]')?.closest('.row').querySelector('.quiet-button')"
        until(page, f"({shown})?.textContent === {json.dumps(few)}")

    with served([deep]) as home:
        page.goto(f"{home}#inside/deep/0/image[0,4,4]")
        page.wait_for_selector(".colours button")
        page.locator("[data-colour=blue]").click()
        page.locator(".image").click(position={"x": 31, "y": 31})
        for path in ("layer2", "layer3", "layer1", "layer1"):
            page.locator(f"[data-fold={path}]").click()
        page.locator(".row", has=page.locator("[data-path='layer2.relu3']")).locator(".quiet-button").click()
        until(page, "location.hash.includes('all=layer2.relu3')")
        place = page.evaluate("location.hash").split("?")[0]
        assert place.startswith("#inside/deep/0/image[2,")
        address = f"{place}?{address.split('?')[1]}"
        check("Strongest only")
        page.get_by_role("button", name="한국어").click()
        check("강한 것만")
        page.get_by_role("link", name="구조").click()
        page.wait_for_selector("main[data-shown=architecture]")
        page.get_by_role("link", name="내부").click()
        check("강한 것만")
        page.reload()
        check("강한 것만")
        page.locator("[data-colour=red]").click()
        page.locator("[data-fold=layer3]").click()
        until(page, f"location.hash === {json.dumps(place + '?folds=layer2&all=layer2.relu3')}")


# Of a convolution of LeNet-5 the pixels of the filter that stands under a map, 5×5, each 4 pixels wide.
READ_FILTER = """async ([path, shape, k]) => {
    const { corner, plan } = await import(new URL("page/paint.js", location.href));
    const canvas = document.querySelector(`canvas[data-path=${path}]`);
    const order = Array.from({ length: shape[0] }, (_, channel) => channel);
    const placed = plan({ shape, order, filters: { shape: [shape[0], 1, 5, 5] } }, canvas.clientWidth, false);
    const [x, y] = corner(placed, k);
    const copy = new OffscreenCanvas(20, 20).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, -x, -(y + placed.tileH + 3));
    const { data } = copy.getImageData(0, 0, 20, 20);
    return Array.from({ length: 25 }, (_, i) => {
        const at = 4 * (20 * (4 * Math.floor(i / 5) + 2) + 4 * (i % 5) + 2);
        return [...data.slice(at, at + 3)];
    });
}"""


def wait_for_filter(page, at: list, painted: np.ndarray) -> None:
    """They are pictures, which the page opens beside the maps: it may have drawn these before."""
    ends = time.monotonic() + 15
    while not np.allclose(page.evaluate(READ_FILTER, at), painted.reshape(25, 3), atol=1):
        assert time.monotonic() < ends, at
        page.wait_for_timeout(50)


def test_a_filter_of_the_first_convolution_stands_at_its_map(page, home, model):
    shown(page, home, "inside")
    page.wait_for_selector("canvas[data-path=conv1]")
    for k, painted in enumerate(paint_filters(model.tensors["conv1.weight"])):
        wait_for_filter(page, ["conv1", [6, 28, 28], k], painted)
    assert not page.locator(".part").first.inner_text()


def test_of_a_filter_over_many_maps_the_part_for_the_chosen_map_stands_at_its_own(page, home, model):
    sheets = paint_filters(model.tensors["conv2.weight"])  # its parts one under another, with a line between
    for at, reads in (("pool1[3,2,2]", 3), ("conv1[5,4,4]", 5)):
        shown(page, home, "inside", f"/7/{at}")
        until(page, f"document.querySelector('.part:not(:empty)')?.textContent.endsWith(' for map {reads} of pool1')")
        for k in (0, 7, 15):
            wait_for_filter(page, ["conv2", [16, 10, 10], k], sheets[k, 6 * reads : 6 * reads + 5])
    page.locator("canvas[data-path=pool1]").click(position={"x": 4, "y": 4})
    until(page, "document.querySelector('.part:not(:empty)').textContent.endsWith(' for map 0 of pool1')")
    wait_for_filter(page, ["conv2", [16, 10, 10], 4], sheets[4, :5])


def test_the_results_of_a_transfer_show_the_strengths_of_its_head(page, run, tmp_path):
    folder = tmp_path / "head"
    shutil.copytree(run, folder)
    first = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    (folder / "metrics.jsonl").write_text(json.dumps(first | {"epoch": 0}) + "\n")
    tried = [TriedStrength(0.1, 0.91, 0.3, 0.31), TriedStrength(0.01, 0.97, 0.125, 0.13)]
    (folder / "strengths.jsonl").write_text("".join(json.dumps(item._asdict()) + "\n" for item in tried))
    with served([folder]) as own:
        page.goto(f"{own}#results/head")
        page.wait_for_selector("main[data-shown=results]")
        assert "0.01" in page.inner_text(".heads") and "0.1250" in page.inner_text(".heads")
        assert page.locator(".heads svg polyline").count() == 2
    with served([run]) as own:
        shown(page, own, "results")
        assert not page.locator(".heads").is_visible()


def test_the_data_are_described_in_korean(page, home):
    shown(page, home, "data")
    page.get_by_role("button", name="한국어").click()
    until(page, "document.documentElement.lang === 'ko' && document.querySelector('.finding')")
    said = page.inner_text(".stack")
    assert "한 변이 32픽셀" in said and "전체" in page.inner_text(".split-keys") and "under" not in said


def test_a_value_is_told_in_a_sentence_and_what_belongs_to_an_operand_lights_up_together(page, home):
    shown(page, home, "inside", "/7/conv2[3,4,5]")
    check = "document.querySelector('.sentence')?.textContent"
    until(
        page,
        f"{check} === 'Map 3 of conv2, row 4, column 5: a 5×5 window of each of 6 maps times its filter, plus bias.'",
    )
    page.locator(".grids .cells").nth(2).locator(".cell").nth(7).hover()
    at = page.locator(".grids .cells").nth(0).locator(".cell").nth(7).get_attribute("data-at")
    assert page.eval_on_selector_all(".cell.kin", "all => all.map((one) => one.dataset.at)") == [at] * 3
    assert page.locator("summary.kin").count() == 1 and at in page.inner_text(".status")
    page.get_by_role("button", name="한국어").click()
    wanted = "conv2의 맵 3, 4행 5열: 맵 6개에서 본 5×5 창과 필터의 곱의 합에 편향을 더한 값."
    until(page, f"{check} === {json.dumps(wanted)}")


def test_the_probabilities_stay_in_view_while_one_draws(page, home, model, monkeypatch):
    inside = """(one) => { const box = one.getBoundingClientRect();
        return box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth; }"""
    monkeypatch.setattr(answers, "MOST_WEIGHT_BYTES", 0)
    with served([model.path.parent]) as own:  # which has the larger pad
        shown(page, own, "inside")
        page.get_by_role("button", name="Draw", exact=True).click()
        assert page.locator(".pad").evaluate(inside) and page.locator(".bars").evaluate(inside)
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.locator(".pad").evaluate(inside) and page.locator(".bars").evaluate(inside)
        page.mouse.wheel(0, 1500)
        until(page, f"({inside})(document.querySelector('.strip'))")
        assert page.locator(".strip .best").is_visible()


@pytest.fixture(scope="module")
def deep(run, tmp_path_factory) -> Path:
    """A run of a net with blocks within blocks; untrained, for nobody asks how good it is."""
    folder = tmp_path_factory.mktemp("deep") / "deep"
    folder.mkdir()
    made = untrained(zoo.build("resnet20", classes=10, input=(3, 32, 32)))
    made.save(folder / "model.safetensors")
    (folder / "recipe.json").write_bytes((run / "recipe.json").read_bytes())
    return folder


def test_a_deep_net_folds_into_its_blocks_and_only_maps_in_view_are_sent(page, deep, monkeypatch):
    monkeypatch.setattr(answers, "MOST_WEIGHT_BYTES", 0)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/maps" in request.url else None)
    with served([deep]) as home:
        page.goto(f"{home}#inside/deep")
        page.wait_for_selector("main[data-shown=inside] .panel .value")
        until(page, "document.querySelector('[data-path=conv1]').width > 300")
        sent = {path for url in asked for path in parse_qs(urlsplit(url).query)["paths"][0].split(",")}
        blocks = page.eval_on_selector_all(".overview button", "all => all.map((one) => one.dataset.to)")
        assert blocks == ["conv1", "bn1", "relu1", "layer1", "layer2", "layer3", "gap1", "dense1", "probability"]
        shut = {"layer1.relu3", "layer2.relu3", "layer3.relu3"}
        assert sent <= {"image", *blocks} | shut and not page.locator("[data-path='layer3.block1']").is_visible()
        page.locator(".overview [data-to=layer3]").focus()
        page.keyboard.press("Enter")
        until(page, "document.querySelector('.overview [aria-current]').dataset.to === 'layer3'")
        page.locator("[data-fold=layer3]").click()
        page.locator("[data-fold='layer3.block1']").click()
        until(page, "document.querySelector('[data-path=\"layer3.block1.main.bn2\"]').width !== 300")
        assert "layer3.block1.main.bn2" in asked[-1]


def test_the_maps_that_are_sent_are_the_librarys_and_so_are_the_values_on_a_way(home, model, digits):
    look = json.loads(ask(home, "api/look?run=digits-1&index=7")[1])
    maps = look_inside(model, digits.x[7]).scene.maps
    values = np.frombuffer(ask(home, f"api/maps?look={look['id']}&paths=conv2,relu1&values=true")[1], "<f4")
    assert np.array_equal(values, np.concatenate([maps["conv2"].ravel(), maps["relu1"].ravel()]))
    levels = np.frombuffer(ask(home, f"api/maps?look={look['id']}&paths=conv2")[1], np.uint8)
    assert np.array_equal(levels, convert_to_bytes(maps["conv2"]).ravel())
    assert ask(home, f"api/maps?look={look['id']}&paths=conv9")[0] == 422
    down = json.loads(ask(home, f"api/ladder?look={look['id']}&at=dense3[1]&key=lead")[1])
    traced = model.trace(digits.x[7], "dense3", 1, depth=20)
    assert down == [{"address": one.address, "shown": one.shown} for one in traced.chain]
    up = json.loads(ask(home, f"api/ladder?look={look['id']}&at=conv1[2,4,4]&key=up")[1])
    assert len(up) == len(maps) - 1 and up[-1]["address"].startswith("probability[")


# The way up ------------------------------------------------------------------------------------------


def untrained(net: Net) -> Model:
    classes = tuple(f"class {k}" for k in range(net.classes))
    channels = net.input[0]
    preprocess = Preprocess(net.input[1:], "pad", (0.5,) * channels, (0.25,) * channels)
    header = ModelHeader(net=net, classes=classes, preprocess=preprocess)
    return Model(header, {name: t.astype("float32") for name, t in plain.draw_tensors(net, 0).items()}, Path("model"))


def noise(net: Net) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*net.input[1:], net.input[0])).astype(np.uint8)


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "squeezenet1_1", "mobilenet_v3_small"])
def test_who_reads_a_value_has_it_among_its_operands(name):
    net = zoo.build(name, classes=5, input=(1 if name == "lenet5" else 3, 32, 32))
    given = look_inside(untrained(net), noise(net))
    rng = random.Random(0)
    for path, y in given.scene.maps.items():
        at = format_address(path, tuple(rng.randrange(n) for n in y.shape))
        up = given.reader(at)
        if up is None:
            assert path == given.top or not given.lens.readers[path] or "pool" in given.lens.readers[path][0]
        else:
            assert any(term.at == at for term in given.trace(up).terms) or "softmax" in up


# Numbers and maps --------------------------------------------------------------------------------------


def test_numbers_are_written_as_in_python(page, home):
    rng = random.Random(2)
    values = [rng.uniform(-1, 1) * 10 ** rng.randint(-9, 9) for _ in range(500)] + [
        0.0,
        1.0,
        12.3125,
        12.3135,
        -0.5,
        1e-5,
    ]
    page.goto(home)
    write = """async (values) => {
        const { formatShort } = await import("./page/decimals.js");
        return values.map((value) => formatShort(value));
    }"""
    got = page.evaluate(write, values)
    assert got == [format_short(value) for value in values]


def test_a_share_is_certain_only_where_it_is_and_every_page_writes_it_by_this_rule(page, home):
    shares = [0, 1e-9, 0.0004, 0.0006, 0.1234, 0.9994, 0.9996, 1 - 1e-12, 1]
    page.goto(home)
    got = page.evaluate(
        """async (shares) => {
            const { formatShare } = await import("./page/decimals.js");
            return [1, 2].map((places) => shares.map((share) => formatShare(share, places)));
        }""",
        shares,
    )
    assert got == [
        ["0.0 %", "< 0.1 %", "< 0.1 %", "0.1 %", "12.3 %", "99.9 %", "> 99.9 %", "> 99.9 %", "100.0 %"],
        ["0.00 %", "< 0.01 %", "0.04 %", "0.06 %", "12.34 %", "99.94 %", "99.96 %", "> 99.99 %", "100.00 %"],
    ]
    scripts = Path(striate.__file__).parent.rglob("*.js")
    writing = [file.name for file in scripts if re.search(r"toFixed\([^`]*\)\} %", file.read_text(encoding="utf-8"))]
    assert writing == ["decimals.js"]


def test_a_page_that_computes_scales_its_maps_and_orders_its_channels_as_the_library_does(page, home):
    noise = np.random.default_rng(3).normal(size=(6, 4, 5)).astype(np.float32)
    broken = noise.copy()
    broken[0, 0] = [np.nan, np.inf, -np.inf, 0, 1]
    given = [noise, abs(noise), 0 * noise, -abs(noise), broken, noise[:, 0, 0]]
    page.goto(home)
    for y in given:
        got = page.evaluate(
            """async ({ values, shape }) => {
                const { fillLevels, orderChannels } = await import("./page/levels.js");
                const numbers = Float32Array.from(values, (text) => Number(text));
                const layer = { values: numbers, shape };
                fillLevels(layer);
                const { levels, signed, limit } = layer;
                return { levels: [...levels], signed, limit, order: orderChannels(layer) };
            }""",
            {"values": [str(v).replace("inf", "Infinity") for v in y.ravel().tolist()], "shape": list(y.shape)},
        )
        assert got["levels"] == convert_to_bytes(y).ravel().tolist()
        if y is not broken:
            assert got["order"] == make_features("", y).order.tolist()
            assert (got["signed"], got["limit"]) == (bool((y < 0).any()), float(abs(y).max()))


def test_the_maps_of_the_page_are_the_librarys(model, digits):
    given = look_inside(model, digits.x[0])
    data = describe_look(given)
    assert data["probabilities"] == pytest.approx(model.probabilities(digits.x[:1])[0].tolist(), abs=1e-6)
    assert [layer["path"] for layer in data["layers"]][:3] == ["image", "conv1", "relu1"]


# Architecture ----------------------------------------------------------------------------------------


def test_editing_an_architecture_shows_its_error_and_then_its_account(page, home, model):
    shown(page, home, "architecture")
    editor = page.locator("textarea")
    wrong = repr(model.net).replace("Conv(16, 5", "Conv(16, 15")
    with pytest.raises(ShapeError) as refused:
        parse(wrong)
    editor.fill(wrong)
    page.wait_for_selector("pre.error")
    assert page.locator("pre.error").inner_text() == str(refused.value)
    editor.fill(repr(model.net).replace("Conv(16, 5", "Conv(24, 5"))
    until(page, "!document.querySelector('pre.error')")
    until(page, "document.querySelector('.summary-box').innerText.includes('(5·5·6 + 1)·24 = 3,624')")
    page.get_by_label("Start from").first.select_option("googlenet")
    until(page, "document.querySelector('.summary-box').innerText.includes('googlenet')")


# Of each word of the drawing that is seen: its size on the screen, and its box there.
LETTERS = """() => {
    const drawing = document.querySelector(".drawing-box").shadowRoot.querySelector("svg");
    const scale = drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width;
    const words = [...drawing.querySelectorAll("text")];
    const seen = words.filter((word) => getComputedStyle(word).visibility !== "hidden");
    return [words.length, seen.map((word) => {
        const { x, y, width, height } = word.getBBox();
        return [parseFloat(getComputedStyle(word).fontSize) * scale, x, y + 0.3 * height, x + width, y + height];
    })];
}"""


@pytest.mark.parametrize("width", [1280, 390])
def test_a_drawing_that_is_shrunk_to_fit_has_words_that_can_be_read_and_more_of_them_when_one_zooms_in(
    page, home, width
):
    page.set_viewport_size({"width": width, "height": 800})
    shown(page, home, "architecture")
    for name, some in (("lenet5", 24 if width == 1280 else 8), ("googlenet", 5), ("resnet50", 5)):
        page.get_by_label("Start from").first.select_option(name)
        until(page, f"document.querySelector('.summary-box').innerText.includes('{name}')")
        every, seen = page.evaluate(LETTERS)
        assert min(size for size, *_ in seen) > 11.99 and some <= len(seen) <= every, name
        for k, (_, x, y, right, bottom) in enumerate(seen):
            assert not [1 for _, a, b, c, d in seen[:k] if a < right and x < c and b < bottom and y < d], name
    for _ in range(6):
        page.get_by_role("button", name="Zoom in").click()
    assert len(page.evaluate(LETTERS)[1]) > len(seen)


def test_the_fields_of_a_chosen_layer_change_it_and_the_size_rule_and_what_if_follow(page, home, model):
    shown(page, home, "architecture")
    page.locator("tr:has(td[title=conv2])").focus()
    page.keyboard.press("Enter")
    page.locator("[data-field=stride]").fill("2")
    until(page, "document.querySelector('.size-rule').innerText.includes('⌊(14 + 2·0 − 5)/2⌋ + 1 = 5')")
    editor = page.locator("textarea")
    made = parse(editor.input_value())
    assert made == parse(repr(model.net).replace("Conv(16, 5,", "Conv(16, 5, 2,"))
    assert page.evaluate("document.activeElement.dataset.field") == "stride"
    page.locator("[data-field=kernel]").fill("15")
    with pytest.raises(ShapeError) as refused:
        change_field(editor.input_value(), "conv2", "kernel", 15)
    until(page, "document.querySelector('.wrong pre')")
    assert page.inner_text(".wrong") == str(refused.value) and parse(editor.input_value()) == made
    best = suggest_changes(made)[0]
    until(page, f"document.querySelector('.what-if-list li p')?.innerText === {json.dumps(best.text)}")
    page.locator(".what-if-list button").first.click()
    until(page, f"document.querySelector('.totals').innerText.includes('{striate.summary(best.net).params:,}')")
    page.reload()
    page.wait_for_selector(".layer-fields:not([hidden])")
    assert parse(editor.input_value()) == best.net and page.inner_text(".layer-fields legend").startswith("conv2")


def test_what_is_filled_in_for_invariance_outlives_a_reload(page, home):
    shown(page, home, "results")
    page.fill("input[name=images_]", "20")
    page.fill("input[name=shifts]", "2")
    until(page, "location.hash.includes('images_=20&shifts=2')")
    page.reload()
    page.wait_for_selector("input[name=shifts]")
    assert page.input_value("input[name=images_]") == "20" and page.input_value("input[name=shifts]") == "2"


def test_what_was_changed_is_taken_back_step_by_step(page, home, model):
    shown(page, home, "architecture")
    page.locator("td[title=conv1]").click()
    page.wait_for_selector(".what-if-list li")
    for value in ("7", "8"):
        page.locator("[data-field=filters]").fill(value)
        until(page, f"document.querySelector('.summary-box').innerText.includes('(5·5·1 + 1)·{value} =')")
    for value in ("7", "6"):
        page.get_by_role("button", name="Undo").click()
        until(page, f"document.querySelector('.summary-box').innerText.includes('(5·5·1 + 1)·{value} =')")
    assert page.get_by_role("button", name="Undo").is_disabled()
    assert parse(page.locator("textarea").input_value()) == model.net


TWINS = """Net(
    input=(1, 8, 8),
    layers=[
        Sequence(
            Conv(4, 3, name='a'),
            name='one',
        ),
        Sequence(
            Conv(5, 3, name='a'),
            name='two',
        ),
        Flatten(),
        Dense(3),
    ],
)"""


def test_a_row_selects_its_own_layer_where_another_has_the_same_name(page, home):
    shown(page, home, "architecture")
    page.fill("textarea", TWINS)
    page.wait_for_selector("td[title='two.a']")
    page.click("td[title='two.a']")
    read = "(e) => e.value.slice(e.selectionStart, e.selectionEnd).trim()"
    assert page.eval_on_selector("textarea", read) == "Conv(5, 3, name='a'),"


def test_nothing_is_said_of_a_text_that_is_not_checked_yet(page, home):
    shown(page, home, "architecture")
    until(page, "document.querySelector('.verdict, p.quiet') !== null && document.body.innerText.includes('✓')")
    page.route("**/api/net*", lambda route: None)  # no answer comes
    page.focus("textarea")
    page.keyboard.type("Net(")
    assert "✓" not in page.inner_text("main")


def test_looks_are_kept_as_long_as_their_maps_fit_and_one_always(model, digits, monkeypatch):
    given = [look_inside(model, digits.x[k]) for k in range(3)]
    each = sum(y.nbytes for y in given[0].scene.maps.values())
    for most, left in ((10 * each, ["1", "2", "3"]), (2 * each, ["2", "3"]), (1, ["3"])):
        monkeypatch.setattr(recent, "MOST_HELD", most)
        kept = recent.Looks()
        assert [kept.add(one)["id"] for one in given] == ["1", "2", "3"]
        assert list(kept.kept) == left


@pytest.mark.parametrize("name", ["index.html%00.js", "..%2f..%2fserver.py", "nothing.js", "words.py"])
def test_a_name_that_is_no_file_of_the_page_is_not_found(home, name):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{home}page/{name}")
    with caught.value as answer:
        assert answer.code == 404


def test_an_edited_nets_error_is_that_of_the_library_with_status_422(home):
    text = "Net(input=(1, 8, 8), layers=[Conv(4, 9)])"
    status, body = ask(home, "api/net", body=text.encode())
    with pytest.raises(ShapeError) as refused:
        parse(text)
    assert status == 422
    assert json.loads(body) == refused.value.as_dict() | {"text": str(refused.value)}


# Who may ask -----------------------------------------------------------------------------------------


def test_only_this_page_on_this_host_with_its_token_is_answered(home):
    assert ask(home, "api/runs")[0] == 200
    assert ask(home, "api/runs", {"Origin": home.split("/token")[0]})[0] == 200
    assert ask(home, "api/runs", {"Host": "evil.example"})[0] == 403
    assert ask(home, "api/runs", {"Origin": "http://evil.example"})[0] == 403
    assert ask(home, "api/runs", {"Origin": "null"})[0] == 403
    assert ask(home.replace("/token/", "/other/"), "api/runs")[0] == 404
    assert ask(home, "page/..%2fserver.py")[0] == 404
    assert ask(home, "page/answers.py")[0] == 404
    assert ask(home, "api/thumbnail?run=digits-1&file=/etc/passwd")[0] == 422


def test_the_studio_says_its_address_and_ends_quietly(run):
    code = "import sys, pathlib, striate.studio.server as s\ns.serve_studio([pathlib.Path(sys.argv[1])], browser=False)"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, run], stdout=pipe, stderr=pipe) as started:
        address = started.stdout.readline().decode().strip()
        assert address.startswith("http://127.0.0.1:") and len(address.rstrip("/").split("/")[-1]) >= 32
        assert ask(address, "api/runs")[0] == 200
        started.send_signal(signal.SIGINT)
        assert started.wait(10) == 0
        assert started.stderr.read().decode() == "Ctrl-C stops it\n"


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ModelError, match="not a run folder"):
        serve_studio([tmp_path], browser=False)


# The pictures in docs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """A studio of two runs to compare, one of them good."""
    folder = tmp_path_factory.mktemp("gallery")
    for name, optimizer in (("digits-sgd", "sgd"), ("digits-1", "adamw")):
        striate.train("digits", "lenet5", out=folder / name, epochs=16, optimizer=optimizer, watch=Watch())
    with served([folder / "digits-sgd", folder / "digits-1"]) as address:
        yield address


@pytest.mark.skipif(not os.environ.get("STRIATE_SCREENSHOTS"), reason="STRIATE_SCREENSHOTS=1 draws docs/pictures anew")
@pytest.mark.parametrize(
    "name, scheme, width, height",
    [
        *((view, "light", 1280, 800) for view in SEEN),
        *((view, "dark", 1280, 800) for view in ("inside", "training")),
        ("inside", "light", 390, 844),
    ],
)
def test_screenshots(chromium, gallery, name, scheme, width, height):
    context = chromium.new_context(
        viewport={"width": width, "height": height}, locale="en-GB", color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    shown(page, gallery, name)
    if name == "inside" and width > 1000:
        page.locator("canvas[data-path=conv2]").click(position={"x": 115, "y": 24})
    if name == "training":
        page.get_by_label("Show digits-sgd").check()
    page.wait_for_timeout(600)
    page.wait_for_load_state("networkidle")
    more = f"{'-dark' if scheme == 'dark' else ''}{'-narrow' if width < 1000 else ''}"
    page.screenshot(path=PICTURES / f"studio-{name}{more}.png")
    if name == "results":
        page.get_by_role("button", name="Measure").click()
        page.locator(".steadiness").wait_for()
        page.mouse.move(0, 0)
        page.evaluate("document.querySelector('#head').style.position = 'static'")  # else it lies over the section
        page.locator("section", has=page.locator(".changes")).screenshot(path=PICTURES / "studio-invariance.png")
    context.close()
