"""Trainings from the studio's page: started, followed, stopped, resumed, compared; and what is measured afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra striate[studio] is not installed")
pytest.importorskip("fastapi", reason="the extra striate[studio] is not installed")
pytest.importorskip("torch", reason="runs are trained here")

from PIL import Image  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

import striate  # noqa: E402
from striate.architecture.find import find_net  # noqa: E402
from striate.data.reading import Reading, make_reading  # noqa: E402
from striate.data.sources.load import list_source  # noqa: E402
from striate.engines.model_file import read_model  # noqa: E402
from striate.errors import RecipeError, StriateError  # noqa: E402
from striate.fitting.recipe import read_recipe  # noqa: E402
from striate.fitting.watch import Watch  # noqa: E402
from striate.setting import list_settings  # noqa: E402
from striate.studio.answers import Studio  # noqa: E402
from striate.studio.jobs import TrainingJobs, list_choices  # noqa: E402
from tests.studio_browser import ask, browser, served, until, watched  # noqa: E402


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two runs under runs/, in which the studio is started; a training of it uses one thread, as here."""
    folder = tmp_path_factory.mktemp("place")
    for name, optimizer in (("one", "adamw"), ("two", "sgd")):
        out = folder / "runs" / name
        striate.train("digits", "lenet5", out=out, epochs=3, optimizer=optimizer, watch=Watch())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture(scope="module")
def home(place):
    with served([]) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium):
    with watched(chromium) as opened:
        yield opened


def start(home: str, **given) -> tuple[int, dict]:
    status, body = ask(home, "api/start", body=json.dumps(given).encode())
    return status, json.loads(body)


def line(home: str, run: str) -> dict:
    """The run's line among the runs."""
    return next((item for item in json.loads(ask(home, "api/runs")[1]) if item["name"] == run), {})


def wait(home: str, run: str, holds, seconds: float = 90.0) -> dict:
    ends = time.monotonic() + seconds
    while not holds(found := line(home, run)):
        assert time.monotonic() < ends, found
        time.sleep(0.1)
    return found


def opened(page, home: str, run: str = "one") -> None:
    page.goto(f"{home}#training/{run}")
    page.wait_for_selector("main[data-shown=training]")


@pytest.mark.slow
def test_a_training_started_stopped_and_resumed_on_the_page_is_the_whole_run_bit_for_bit(page, home, place):
    opened(page, home)
    page.get_by_label("Data", exact=True).fill("digits")
    page.get_by_label("Network", exact=True).fill("lenet5")
    page.get_by_label("Epochs", exact=True).fill("14")
    page.get_by_label("Name", exact=True).fill("three")
    page.get_by_text("More settings").click()
    page.get_by_label("Random seed", exact=True).fill("5")
    page.get_by_role("button", name="Start", exact=True).click()
    wait(home, "three", lambda run: run.get("epochs"))
    until(page, "!document.querySelector('[data-run=three] .acts button')?.hidden")
    page.get_by_role("button", name="Stop three").click()
    stopped = wait(home, "three", lambda run: run["state"] == "stopped")
    assert 0 < len(stopped["epochs"]) < 14 and "--resume" in stopped["said"]
    page.get_by_role("button", name="Resume three").click()
    done = wait(home, "three", lambda run: run["state"] == "done")
    until(page, "document.querySelector('[data-run=three]').innerText.includes('14 / 14')")
    assert done["epochs"][: len(stopped["epochs"])] == stopped["epochs"]
    whole = striate.train("digits", "lenet5", out=place / "whole", epochs=14, seed=5, watch=Watch())
    ours, theirs = (read_model(folder / "model.safetensors")[1] for folder in (place / "runs" / "three", whole.folder))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    kept = ("loss", "acc", "valid_loss", "valid_acc")
    assert [[row[key] for key in kept] for row in done["epochs"]] == [
        [getattr(row, key) for key in kept] for row in whole.history
    ]


def test_the_form_has_a_field_for_each_option_of_reading_named_in_both_languages(page, home):
    opened(page, home)
    page.get_by_text("How the data are read", exact=True).click()
    words = Path(striate.__file__).with_name("studio").joinpath("page/words.js").read_text(encoding="utf-8")
    for setting in list_settings(Reading):
        field = page.locator(f".starting .field.{setting.name}")
        assert field.is_visible() and setting.setting.help in field.get_attribute("title")
        assert len(re.findall(rf"^ +set_{setting.name}: \"[^\"]+\",$", words, re.MULTILINE)) == 2
    assert {setting["name"] for setting in list_choices()["settings"] if setting["reading"]} == {
        setting.name for setting in list_settings(Reading)
    }


@pytest.mark.slow
def test_what_the_form_says_of_reading_reaches_the_run(home, place):
    for k in range(40):
        (place / "flat").mkdir(exist_ok=True)
        Image.fromarray(load_digits().images[k].astype(np.uint8) * 16).save(place / "flat" / f"{'ab'[k % 2]}_{k}.png")
    asked = {"labels_from": "name", "bad_share": 0.2, "drop_unplaced": "yes", "group": "_([0-9]+)"}
    status, body = start(home, data="flat", net="lenet5", epochs=1, name="read", **asked)
    assert status == 200, body
    wait(home, "read", lambda run: run.get("state") == "done")
    began = json.loads((place / "runs" / "read" / "recipe.json").read_text())
    assert began["reading"] == asked | {"drop_unplaced": True}


def refusal(call) -> str:
    with pytest.raises(StriateError) as refused:
        call()
    return str(refused.value)


@pytest.mark.parametrize(
    "given, call",
    [
        ({"data": "nowhere"}, lambda: list_source("nowhere")),
        ({"data": "digits", "net": "lenet6"}, lambda: find_net("lenet6")),
        ({"data": "digits", "net": "Net(input=(1, 8, 8), layers=[Conv(4, 9)])"},
         lambda: find_net("Net(input=(1, 8, 8), layers=[Conv(4, 9)])")),
        ({"data": "digits", "epochs": 0}, lambda: read_recipe(None, epochs=0)),
        ({"data": "digits", "optimizer": "adamm"}, lambda: read_recipe(None, optimizer="adamm")),
        ({"data": "digits", "augment": "flipp"}, lambda: read_recipe(None, augment="flipp")),
        ({"data": "digits", "labels_from": "nam"}, lambda: make_reading({"labels_from": "nam"})),
        ({"data": "runs"}, lambda: list_source("runs")),
        ({"data": "runs", "depth": 2}, lambda: list_source("runs", make_reading({"depth": 2}))),
    ],
)  # fmt: skip
def test_what_the_command_would_refuse_is_refused_with_its_words_and_nothing_starts(home, given, call):
    before = ask(home, "api/runs")[1]
    status, body = start(home, **given)
    assert (status, body["text"]) == (422, refusal(call))
    assert ask(home, "api/runs")[1] == before


@pytest.mark.parametrize("name", ["../out", "a/b", "-x", ".hidden", "one"])
def test_a_run_is_named_within_its_folder_and_not_over_another(home, name):
    status, body = start(home, data="digits", name=name)
    assert status == 422 and body["where"] == "name"


def test_an_option_cannot_come_in_as_data(place):
    made = TrainingJobs(place / "runs")
    assert "there is no such folder" in refusal(lambda: made.start({"data": "--help"}))
    with pytest.raises(RecipeError):
        made.start({"data": "digits", "size": "8 --seed 3"})


def test_a_run_that_is_begun_again_can_be_asked_about_meanwhile_and_leaves_no_file_open(place):
    """A question that came before may still read what the run printed the first time."""
    made, folder = TrainingJobs(place / "runs"), place / "runs" / "again"
    for _ in range(2):
        made.begin(folder, ["--help"])
        made.started["again"].process.wait(30)
    before, output = made.started["again"], made.started["again"].output
    made.begin(folder, ["--help"])
    assert before.as_dict()["said"].strip()
    made.started["again"].process.wait(30)
    del before
    with pytest.raises(OSError):
        os.fstat(output)


def test_only_this_page_may_start_a_training(home):
    body = json.dumps({"data": "digits", "name": "foreign"}).encode()
    assert ask(home, "api/start", {"Origin": "http://evil.example"}, body)[0] == 403
    assert ask(home, "api/start", {"Host": "evil.example"}, body)[0] == 403
    assert ask(home.replace("/token/", "/other/"), "api/start", body=body)[0] == 404
    assert ask(home, "api/start")[0] == ask(home, "api/stop?run=one")[0] == 405
    assert start(home, data="digits", net=3)[0] == 422
    assert ask(home, "api/start", body=b"[]")[0] == 422
    assert not line(home, "foreign")


def test_a_finished_run_cannot_go_on_and_a_foreign_one_cannot_be_stopped(home):
    for question, what in (("resume", "this run is done"), ("stop", "no such training is running")):
        status, body = ask(home, f"api/{question}?run=one", body=b"")
        assert status == 422 and what in json.loads(body)["what"]


def test_a_training_that_fails_says_why_on_its_line(page, home):
    opened(page, home)
    assert start(home, data="digits", net="lenet5", lr=1e30, optimizer="sgd", name="wild")[0] == 200
    wait(home, "wild", lambda run: run.get("state") == "failed")
    until(page, "document.querySelector('[data-run=wild] .said')?.innerText.includes('the loss is not finite')")
    assert page.locator("[data-run=wild] .state").inner_text() == "failed"


@pytest.mark.slow
def test_trainings_save_themselves_when_the_studio_ends(tmp_path):
    code = "import striate.studio.server as s\ns.serve_studio([], browser=False)"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=pipe, stderr=pipe) as started:
        home = started.stdout.readline().decode().strip()
        assert start(home, data="digits", net="lenet5", epochs=5000, name="long")[0] == 200
        wait(home, "long", lambda run: run.get("epochs"))
        assert under_way("runs/long")
        started.send_signal(signal.SIGINT)
        assert started.wait(40) == 0
        assert "waiting for 1 training run to save" in started.stderr.read().decode()
    assert not under_way("runs/long")
    rows = (tmp_path / "runs" / "long" / "metrics.jsonl").read_text().splitlines()
    assert 0 < len(rows) < 5000 and (tmp_path / "runs" / "long" / "checkpoint" / "last.safetensors").exists()


def under_way(out: str) -> bool:
    """Whether a process of this machine trains into `out`."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("there is no /proc to see processes in")
    lines = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            lines.append(Path("/proc", process, "cmdline").read_bytes())
        except OSError:
            continue
    return any(f"--out={out}".encode() in text for text in lines)


# Curves and the comparison ---------------------------------------------------------------------------


def test_training_is_followed_as_it_goes(page, home, place):
    file = place / "runs" / "two" / "metrics.jsonl"
    lines = file.read_text()
    opened(page, home, "two")
    until(page, "document.querySelector('[data-run=two]').innerText.includes('3 / 3')")
    try:
        file.write_text("".join(line + "\n" for line in lines.splitlines()[:2]))
        until(page, "document.querySelector('[data-run=two]').innerText.includes('2 / 3')")
    finally:
        file.write_text(lines)


def test_the_numbers_of_the_curves_are_read_out_at_the_keyboard(page, home, place):
    opened(page, home, "two")
    row = json.loads((place / "runs" / "two" / "metrics.jsonl").read_text().splitlines()[1])
    charts = page.locator("svg.lines")
    charts.nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    seen = page.locator(".readout").nth(0).inner_text().split()
    assert seen[:2] == ["epoch", "2"]
    shown = [float(text) for text in seen[2:] if re.fullmatch(r"[\d.]+", text)]
    assert shown == pytest.approx([row["loss"], row["valid_loss"]], rel=5e-3)
    last = json.loads((place / "runs" / "two" / "metrics.jsonl").read_text().splitlines()[2])
    assert f"validation: {last['valid_acc']:.1%}, epoch 3".replace("%", " %") in charts.nth(1).get_attribute(
        "aria-label"
    )


def test_chosen_runs_are_compared_by_what_their_records_say(page, home, place):
    opened(page, home)
    page.get_by_label("Show two").check()
    summary = striate.summary(striate.nets.lenet5())
    found = {
        row[0]: row[1:]
        for row in page.evaluate(
            "[...document.querySelectorAll('.compare tr')].map((row) => [...row.cells].map((c) => c.innerText.trim()))"
        )
    }
    assert found[""] == ["one", "two"]
    assert found["Parameters"] == [f"{summary.params:,}"] * 2 and found["MACs per image"] == [f"{summary.macs:,}"] * 2
    assert found["optimizer"] == ["adamw", "sgd"] and "batch" not in found
    reports = [json.loads((place / "runs" / name / "report.json").read_text()) for name in ("one", "two")]
    for text, report in zip(found["Reported accuracy"], reports, strict=True):
        low, high = report["accuracy_interval"]
        assert text.startswith(f"{report['accuracy']:.1%}".replace("%", " %"))
        assert f"({low:.1%} to {high:.1%})".replace("%", " %") in text


def test_a_network_goes_from_its_text_to_the_form(page, home):
    page.goto(f"{home}#architecture/one")
    page.wait_for_selector("main[data-shown=architecture]")
    text = repr(find_net("lenet5")).replace("Conv(16", "Conv(12")
    page.locator("textarea").fill(text)
    until(page, "document.querySelector('.summary-box').innerText.includes('Conv 12@5×5')")
    page.get_by_role("button", name="Train this network").click()
    page.wait_for_selector("main[data-shown=training]")
    assert find_net(page.get_by_label("Network", exact=True).input_value()) == find_net(text)


def test_a_click_on_a_layer_of_the_drawing_selects_it_in_the_text(page, home):
    page.goto(f"{home}#architecture/one")
    page.wait_for_selector("main[data-shown=architecture]")
    page.locator(".summary-box td[title=conv2]").click()
    chosen = page.evaluate(
        "(() => { const t = document.querySelector('textarea');"
        " return t.value.slice(t.selectionStart, t.selectionEnd) })()"
    )
    assert chosen.strip().startswith("Conv(16, 5") and "conv2" in chosen
    assert page.locator("tr.lit").count() == 1


def test_a_studio_without_runs_offers_to_start_one(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with served([]) as home:
        page.goto(home)
        page.wait_for_selector("main[data-shown=training] form.starting")
        page.goto(f"{home}#architecture/")
        page.wait_for_selector("main[data-shown=architecture] svg, main[data-shown=architecture] .summary-box table")


# Results and data ------------------------------------------------------------------------------------


def test_the_invariance_shown_is_the_librarys(page, home, place):
    page.goto(f"{home}#results/one")
    page.wait_for_selector("main[data-shown=results]")
    page.get_by_label("Images", exact=True).fill("60")
    page.get_by_label("Shifts, pixels").fill("2")
    page.get_by_role("button", name="Measure").click()
    page.wait_for_selector(".changes")
    model = striate.load(place / "runs" / "one")
    expected = model.invariance("digits", 60, shifts=2)
    found = json.loads(ask(home, "api/invariance?run=one&images=60&shifts=2")[1])
    assert found == json.loads(json.dumps(expected.as_dict()))
    text = page.locator(".changes").inner_text()
    for share in (expected.accuracy, expected.consistency, *(c.agreement for c in expected.changes)):
        assert f"{share:.1%}".replace("%", " %") in text
    assert page.locator(".steadiness svg.lines").count() == 3
    assert page.locator(".heat rect").count() == 25
    status, body = ask(home, "api/invariance?run=one&images=60&shifts=17")
    assert status == 422 and "shifts of 0 to 16 pixels" in json.loads(body)["text"]


def test_each_class_of_the_data_has_pictures_of_its_own(page, home):
    samples = json.loads(ask(home, "api/audit?run=one")[1])["samples"]
    target = load_digits().target
    for label, files in samples.items():
        assert len(files) == 8
        assert {int(target[int(file.removeprefix("image[")[:-1])]) for file in files} == {int(label)}
    page.goto(f"{home}#data/one")
    page.wait_for_selector("main[data-shown=data]")
    until(page, "document.querySelector('.samples img').naturalWidth === 8")


def test_two_runs_that_read_one_folder_in_two_ways_have_each_its_own_account_of_it(tmp_path):
    for k in range(24):
        path = tmp_path / "pets" / ("indoor", "outdoor")[k % 2] / ("cat", "dog")[k // 2 % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 9 * k, np.uint8)).save(path)
    runs = []
    for depth in (1, 2):
        out = tmp_path / f"level{depth}"
        striate.train(tmp_path / "pets", "lenet5", out=out, epochs=1, depth=depth, watch=Watch())
        runs.append(out)
    studio = Studio(runs)
    assert [studio.audit(run.name)["classes"] for run in runs] == [("indoor", "outdoor"), ("cat", "dog")]
    assert [sorted(studio.audit(run.name)["samples"]) for run in runs] == [["indoor", "outdoor"], ["cat", "dog"]]
