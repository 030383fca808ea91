"""The studio's view Fix labels, in a real browser: by keys alone, and nothing is lost."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra striate[studio] is not installed")
pytest.importorskip("uvicorn", reason="the extra striate[studio] is not installed")
pytest.importorskip("torch", reason="a run to look at is trained first")

import striate  # noqa: E402
from striate.errors import DataError, RunError  # noqa: E402
from striate.fitting.watch import Watch  # noqa: E402
from striate.runs.labelling import list_labelled
from striate.studio.answers import Studio
from striate.studio.fixing import list_doubtful, say_label, show_picture, take_back
from striate.studio.jobs import READ_OTHERWISE, list_again
from striate.studio.runs import RunFolder
from striate.studio.unlabelled import KIND, list_unlabelled
from tests.studio_browser import ask, browser, served, until, watched  # noqa: E402
from tests.test_labelling import write_photos


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A LeNet-5 that has hardly begun to read digits, and is wrong often."""
    folder = tmp_path_factory.mktemp("runs") / "digits-1"
    striate.train("digits", "lenet5", out=folder, epochs=1, watch=Watch())
    return folder


def read_said(run: Path) -> dict[str, str]:
    file = run / "corrections.csv"
    if not file.exists():
        return {}
    with file.open(encoding="utf-8", newline="") as opened:
        return {row["file"]: row["corrected"] for row in csv.DictReader(opened)}


@pytest.mark.browser
def test_labels_are_fixed_by_keys_alone_written_at_once_and_undone(run):
    with served([run]) as home, browser() as chromium, watched(chromium) as page:
        page.goto(f"{home}#fixing/digits-1")
        page.wait_for_selector(".fixing h2")
        files = [item["file"] for item in json.loads(ask(home, "api/doubtful?run=digits-1")[1])["items"]]
        assert len(files) > 4 and page.locator(".fixing h2").inner_text() == files[0]

        def press(key: str, then: str) -> None:
            page.keyboard.press(key)
            until(page, f"document.querySelector('.fixing h2').textContent === {json.dumps(then)}")

        press("4", files[1])
        assert read_said(run) == {files[0]: "3"}
        press("x", files[2])
        press(" ", files[3])
        press("0", files[4])
        assert read_said(run) == {files[0]: "3", files[1]: "-", files[3]: "9"}
        press("u", files[3])
        assert read_said(run) == {files[0]: "3", files[1]: "-"}
        page.reload()
        page.wait_for_selector(".fixing h2")
        page.goto("about:blank")
        page.goto(f"{home}#fixing/digits-1?file={files[0]}")
        page.wait_for_selector(".fixing-label b")
        assert "now 3" in page.locator(".fixing-label").inner_text()
        assert "--corrections" in page.locator(".fixing-command").inner_text()
        for width, language in ((1280, "en"), (390, "ko")):
            page.evaluate(f"localStorage.setItem('language', '{language}')")
            page.set_viewport_size({"width": width, "height": 844})
            page.reload()
            page.wait_for_selector(f"html[lang={language}] main[data-shown=fixing]")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not page.wrong
        status, answer = ask(home, "api/correct?run=digits-1&file=image[9999]&label=3", body=b"")
        assert status == 422 and "no such image" in json.loads(answer)["text"]


def test_label_errors_that_were_looked_for_come_first_in_the_view(run):
    kept = {"classes": ["0", "1"], "label_errors": [{"given": 0, "suggested": 1, "confidence": 0.1, "other": 0.9}]}
    kept["label_errors"][0]["file"] = "image[9]"
    file = RunFolder(run).files.label_errors
    file.write_text(json.dumps(kept))
    first = list_doubtful(Studio([run]), "digits-1")["items"][0]
    file.unlink()
    assert (first["file"], first["kind"], first["suggested"], first["label"]) == ("image[9]", "label", "1", "9")


def test_training_again_asks_for_the_same_and_is_refused_where_no_command_says_it(run, tmp_path):
    assert sorted(list_again(RunFolder(run))) == ["--epochs=1", "--net=lenet5"]
    for more in ({"own": {"loss": "__main__:focal"}}, {"fold": [1, 5]}, {"data": "arrays"}):
        settings = json.loads((run / "recipe.json").read_text()) | more
        (tmp_path / "recipe.json").write_text(json.dumps(settings))
        with pytest.raises(RunError):
            list_again(RunFolder(tmp_path))


@pytest.fixture(scope="module")
def photographed(tmp_path_factory) -> Path:
    """A run of 40 small pictures of two classes, and beside it a folder of six without labels."""
    place = tmp_path_factory.mktemp("photographed")
    write_photos(place, 6)
    net = "Net((3, 12, 12), [Conv(4, 3), ReLU(), MaxPool(2), Flatten(), Dense(2)])"
    striate.train(place / "photos", net, epochs=1, batch=8, augment="none", out=place / "photos-1", watch=Watch())
    return place


def read_labelled(place: Path) -> dict[str, str]:
    return {Path(row.file).name: row.label for row in list_labelled(place / "photos-1")}


@pytest.mark.browser
def test_unlabelled_pictures_come_first_that_teach_most_and_are_labelled_by_keys(photographed):
    place = photographed
    with served([place / "photos-1"]) as home, browser() as chromium, watched(chromium) as page:
        page.goto(f"{home}#fixing/photos-1")
        page.wait_for_selector("#unlabelled-folder")
        page.fill("#unlabelled-folder", str(place / "new"))
        page.click(".fixing-unlabelled button")
        asked = [Path(row.file).name for row in striate.suggest_pictures(place / "new", place / "photos-1").rows]
        shows = "document.querySelector('.fixing h2')?.textContent === {}"
        until(page, shows.format(json.dumps(asked[0])))
        until(page, "document.querySelector('.fixing-picture img').naturalWidth > 0")
        for key, then in (("2", asked[1]), ("x", asked[2]), ("1", asked[3])):
            page.keyboard.press(key)
            until(page, shows.format(json.dumps(then)))
        assert read_labelled(place) == {asked[0]: "b", asked[1]: "-", asked[2]: "a"}
        page.keyboard.press("u")
        until(page, shows.format(json.dumps(asked[2])))
        assert read_labelled(place) == {asked[0]: "b", asked[1]: "-"}
        assert "grown.csv" in page.locator(".fixing-command").inner_text()
        assert not page.wrong


def test_a_picture_that_was_not_suggested_is_neither_shown_nor_labelled(photographed):
    studio, run = Studio([photographed / "photos-1"]), "photos-1"
    secret = str(photographed / "new" / "40.png")
    for refused in (lambda: show_picture(studio, run, secret), lambda: say_label(studio, run, secret, "a", KIND)):
        with pytest.raises(DataError):
            refused()
    found = list_unlabelled(studio, run, str(photographed / "new"))
    assert secret in {item["file"] for item in found["items"]} and show_picture(studio, run, secret)[1] == "image/png"
    with pytest.raises(DataError, match="there is no such folder"):
        list_unlabelled(studio, run, "")


def test_what_was_said_last_is_taken_back_of_labels_and_corrections_alike(photographed, tmp_path):
    place = shutil.copytree(photographed / "photos-1", tmp_path / "photos-1")
    studio, run = Studio([place]), "photos-1"
    files = [item["file"] for item in list_unlabelled(studio, run, str(photographed / "new"))["items"]]
    say_label(studio, run, files[0], "a", KIND)
    say_label(studio, run, "a/0.png", "b", "mistake")
    before = len(list_labelled(place))
    assert say_label(studio, run, files[1], "b", KIND)["changed"] == 1 and len(list_labelled(place)) == before + 1
    assert [take_back(studio, run)["file"] for _ in range(3)] == [files[1], "a/0.png", files[0]]


def test_training_again_takes_the_labelled_pictures_and_leaves_out_how_the_folder_was_read(photographed):
    words = list_again(RunFolder(photographed / "photos-1"), leave_out=READ_OTHERWISE)
    assert sorted(word.split("=")[0] for word in words) == ["--augment", "--batch", "--epochs", "--net"]
    assert {"corrections", "depth", "images"} <= set(READ_OTHERWISE) and "group" not in READ_OTHERWISE
