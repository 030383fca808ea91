"""The page to give away: opened from its file with no network, it answers as the model does, in two languages."""

from __future__ import annotations

import csv
import functools
import io
import json
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

import striate
from striate.cli import app
from striate.engines.model_file import Abstention
from striate.errors import ModelError
from striate.exporting import page_file

from . import studio_browser

WIDE, PHONE = (1280, 800), (390, 844)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """LeNet-5 on digits, and pictures of other sizes than its own."""
    place = tmp_path_factory.mktemp("giveaway")
    striate.train("digits", "lenet5", epochs=2, out=place / "run")
    from sklearn.datasets import load_digits

    for k, image in enumerate(load_digits().images[:6]):
        side = 20 + 17 * k
        Image.fromarray((image * 15.9).astype(np.uint8)).resize((side, side + k)).save(place / f"digit {k}, n.png")
    return place / "run"


@pytest.fixture(scope="module")
def page(run) -> Path:
    striate.export(striate.load(run), run.parent / "page.html", licence="apache-2.0")
    return run.parent / "page.html"


def pictures(run: Path) -> list[Path]:
    return sorted(run.parent.glob("*.png"))


class Visit:
    """A page in the browser, the network switched off; what it asked for and what went wrong."""

    def __init__(self, browser, address: str, size=WIDE, locale="en-US", offline=True, dark=False) -> None:
        window, scheme = {"width": size[0], "height": size[1]}, "dark" if dark else "light"
        self.context = browser.new_context(viewport=window, locale=locale, offline=offline, color_scheme=scheme)
        self.page, self.wrong, self.asked = self.context.new_page(), [], []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda line: self.wrong.append(line.text) if line.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("body[data-state=ready]", timeout=20_000)

    def give(self, files: list[Path]) -> None:
        self.page.set_input_files("#files", [str(file) for file in files])
        self.page.wait_for_selector(f"#rows tr:nth-child({len(files)})", timeout=30_000)

    def answers(self) -> list[list[str]]:
        with self.page.expect_download() as waiting:
            self.page.click("#save")
        text = Path(waiting.value.path()).read_text(encoding="utf-8-sig")
        return list(csv.reader(io.StringIO(text, newline="")))


@pytest.fixture(scope="module")
def browser():
    with studio_browser.browser() as one:
        yield one


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (PHONE, True)])
def test_offline_from_its_file_it_answers_as_the_model_and_asks_nobody(browser, run, page, size, dark):
    visit = Visit(browser, page.as_uri(), size, dark=dark)
    visit.give(pictures(run))
    rows, model = visit.answers(), striate.load(run)
    assert rows[0] == ["file", "label", "probability"] and len(rows) == 7
    for file, (name, label, probability) in zip(pictures(run), rows[1:], strict=True):
        want = model.predict(file)
        assert (name, label) == (file.name, want.label)
        assert float(probability) == pytest.approx(want.probability, abs=2e-6)
    assert not visit.wrong and all(url.startswith(("file:", "blob:", "data:")) for url in visit.asked)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    visit.context.close()


def test_the_footer_says_how_well_it_was_measured_and_korean_leaves_no_english_sentence(browser, run, page):
    report = json.loads((run / "report.json").read_text())
    visit = Visit(browser, page.as_uri(), locale="ko-KR")
    visit.give(pictures(run)[:1])
    facts = visit.page.inner_text("#facts")
    assert f"{100 * report['accuracy']:.1f} %" in facts and f"{report['images']}장" in facts and "apache-2.0" in facts
    said = visit.page.inner_text("main")
    words = {word for word in said.replace("·", " ").split() if word.isascii() and word.isalpha()}
    assert words <= {"English", "CSV", "png", "digit", "n"}, words
    visit.page.click("#language")
    assert visit.page.inner_text("#title") == "Which is it?" and visit.page.get_attribute("html", "lang") == "en"
    assert "95 % sure" in visit.page.inner_text("#facts")
    visit.context.close()


def test_a_page_of_a_calibrated_model_says_of_which_pictures_it_is_not_sure(browser, run, tmp_path):
    model, files = striate.load(run), pictures(run)
    likely = sorted(model.predict(file).probability for file in files)
    threshold = (likely[2] + likely[3]) / 2
    told = Abstention(error=0.05, thresholds=(threshold,) * 10, calibrated=(180, 90, 1), tested=(180, 91, 2))
    calibrated = striate.Model(msgspec.structs.replace(model.header, abstention=told), model.tensors)
    striate.export(calibrated, tmp_path / "page.html")
    visit = Visit(browser, (tmp_path / "page.html").as_uri(), locale="ko-KR")
    visit.give(files)
    assert visit.page.locator(".unsure").all_inner_texts() == ["확실하지 않음"] * 3
    want = [[file.name, *calibrated.predict(file).cells()[1:]] for file in files]
    rows = visit.answers()
    assert rows[0] == ["file", "label", "probability", "unsure"]
    assert [[name, label, unsure] for name, label, _, unsure in rows[1:]] == [[a, b, d] for a, b, _, d in want]
    assert "180장 가운데 91장" in visit.page.inner_text("#facts") and not visit.wrong
    visit.context.close()


def test_a_file_that_is_no_picture_is_said_and_others_go_on(browser, run, page, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    visit = Visit(browser, page.as_uri())
    visit.page.set_input_files("#files", [str(tmp_path / "a.png"), str(pictures(run)[0])])
    visit.page.wait_for_selector(".card[data-status=done]")
    assert "cannot be read" in visit.page.inner_text(".card[data-status=unread]")
    visit.context.close()


def cut_off(text: str) -> str:
    return text[: int(0.9 * len(text))]


def change_a_letter(text: str) -> str:
    """Within the weights."""
    at = text.index('"data":"') + 5000
    return text[:at] + ("A" if text[at] == "B" else "B") + text[at + 1 :]


@pytest.mark.parametrize("alter", [cut_off, change_a_letter])
def test_a_file_that_was_altered_on_its_way_says_so(browser, page, tmp_path, alter):
    (tmp_path / "page.html").write_text(alter(page.read_text("utf-8")), "utf-8")
    context = browser.new_context(locale="ko-KR")
    opened = context.new_page()
    opened.goto((tmp_path / "page.html").as_uri())
    opened.wait_for_selector("body[data-state=broken]", timeout=20_000)
    assert "바뀌었거나 잘렸습니다" in opened.inner_text("#trouble")
    context.close()


def test_where_the_network_fails_it_is_said_of_each_picture_and_nothing_waits(browser, run, page):
    visit = Visit(browser, page.as_uri(), locale="ko-KR")
    visit.page.evaluate("Worker.prototype.postMessage = function () { this.dispatchEvent(new ErrorEvent('error')); }")
    visit.page.set_input_files("#files", [str(file) for file in pictures(run)])
    visit.page.wait_for_selector(".card[data-status=failed]:nth-child(6)")
    assert "답하지 못했습니다" in visit.page.inner_text(".card") and not visit.page.locator("#rows tr").count()
    visit.context.close()


@pytest.mark.parametrize("end", ["GlobalAvgPool(), Dense(3)", "MaxPool(2), Flatten(), Dense(8), ReLU(), Dense(3)"])
def test_where_it_looked_is_shown_over_the_picture(browser, run, tmp_path, end):
    net = striate.parse(f"Net((3, 16, 16), [Conv(8, 3), ReLU(), {end}])")
    prepared = striate.Preprocess((16, 16), "pad", (0.5,) * 3, (0.25,) * 3)
    model = striate.Model(net, net.torch(), classes=["a", "</script>", "c"], preprocess=prepared)
    striate.export(model, tmp_path / "page.html")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 60, 3), np.uint8)).save(tmp_path / "wide.png")
    visit = Visit(browser, (tmp_path / "page.html").as_uri())
    visit.give([tmp_path / "wide.png"])
    visit.page.click(".card button")
    box, picture = (visit.page.locator(name).bounding_box() for name in (".heat", ".frame img"))
    assert box["width"] == pytest.approx(picture["width"], rel=0.02)  # the frame is as wide as the picture,
    assert box["height"] == pytest.approx(2 * picture["height"], rel=0.03)  # and its bars lie above and below
    read = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 3)"
    want = model.attribution(tmp_path / "wide.png").values
    shown = np.reshape(visit.page.eval_on_selector(".heat", read), want.shape)
    assert np.abs(shown - 190 * want / want.max()).max() < 2
    assert not visit.wrong
    visit.context.close()


def test_a_folder_of_it_is_kept_by_the_browser_and_opens_without_its_server(browser, run, tmp_path):
    striate.export(striate.load(run), tmp_path / "app", format="page")
    files = {file.name for file in (tmp_path / "app").iterdir()}
    assert files == {"index.html", "manifest.webmanifest", "icon.svg", "sw.js"}
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "app"))
    handler.log_message = lambda *args: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    visit = Visit(browser, f"http://127.0.0.1:{server.server_port}/", offline=False)
    visit.page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
    server.shutdown()
    server.server_close()
    visit.page.reload()
    visit.page.wait_for_selector("body[data-state=ready]", timeout=20_000)
    visit.give(pictures(run)[:1])
    assert visit.answers()[1][1] == striate.load(run).predict(pictures(run)[0]).label
    visit.context.close()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("given", [{}, {"fp16": True}, {"int8": True}])
def test_an_export_compares_the_pages_own_answers_with_the_models(run, tmp_path, given):
    found = striate.export(striate.load(run), tmp_path / "page.html", data="digits", **given)
    page = found.sized.columns[1]
    kinds = {"fp16": "float16", "int8": "int8"}
    assert (page.name, page.equal) == ("page", 1.0)
    assert page.precision == next((kinds[name] for name in given), "float32")
    files = striate.export(striate.load(run), tmp_path / "page.html", data=labelled(run, tmp_path), **given)
    assert files.own is not None and files.own.columns[1].equal == 1.0


def labelled(run: Path, tmp_path: Path) -> Path:
    for k, file in enumerate(pictures(run)):
        (tmp_path / "photos" / str(k)).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "photos" / str(k) / "a.png")
        shutil.copy(file, tmp_path / "photos" / str(k) / "b.png")
    return tmp_path / "photos"


def test_without_node_it_is_said_that_nothing_was_compared(run, tmp_path, monkeypatch):
    monkeypatch.setattr(page_file, "has_node", lambda: False)
    with pytest.warns(UserWarning, match="it needs node"):
        assert striate.export(striate.load(run), tmp_path / "page.html", data="digits") is None
    assert (tmp_path / "page.html").is_file()


def test_a_page_that_cannot_be_made_leaves_what_was_there(run, tmp_path):
    net = striate.parse("Net((4, 8, 8), [Flatten(), Dense(2)])")
    model = striate.Model(net, net.torch(), classes=["a", "b"],
                          preprocess=striate.Preprocess((8, 8), "pad", (0.5,) * 4, (0.25,) * 4))  # fmt: skip
    (tmp_path / "page.html").write_text("before")
    with pytest.raises(ModelError, match="gray or RGB images alone"):
        striate.export(model, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "before"


def test_the_command_writes_it(run, tmp_path, capsys):
    app(["export", str(run), "-o", str(tmp_path / "page.html")], standalone_mode=False)
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 600_000
