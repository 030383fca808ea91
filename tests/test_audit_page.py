"""The audit's page, and what file names and small pictures add to an audit."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data.check.audit import audit_data, guess_origin
from striate.data.check.examine import load_thumbnails
from striate.data.check.label_errors import Doubts, LabelError
from striate.report.audit_page import SHOWN_FILES, SHOWN_GROUPS, list_audit_files, render_audit_page

HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


def save(path: Path, seed: int, size: tuple[int, int] = (60, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(rough).resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path)


def pets(folder: Path) -> Path:
    seed = 0
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for k in range(12):
                seed += 1
                save(folder / split / name / f"{chr(97 + k)}.png", seed)
    return folder


class Page(HTMLParser):
    """The tags, attributes and text of a page, as a browser takes it apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data + "\n"

    def images(self) -> dict[str, np.ndarray]:
        found = [given for tag, given in self.tags if tag == "img"]
        return {
            str(given["alt"]): np.asarray(Image.open(io.BytesIO(b64decode(str(given["src"]).partition(",")[2]))))
            for given in found
        }


def shown(folder: Path) -> Page:
    found = audit_data(folder)
    return Page(render_audit_page(found, load_thumbnails(folder, list_audit_files(found))))


def test_a_leak_is_shown_with_both_pictures_their_labels_and_their_splits(tmp_path):
    save(pets(tmp_path) / "test" / "dog" / "again.png", 1)
    page = shown(tmp_path)
    assert set(page.images()) == {"train/cat/a.png", "test/dog/again.png"}
    expected = np.asarray(Image.open(tmp_path / "train" / "cat" / "a.png"))
    for picture in page.images().values():
        np.testing.assert_array_equal(picture, expected)
    assert "the same file is in train and test" in page.text and "the same file is labelled cat and dog" in page.text
    assert re.search(r"cat\s+in train", page.text) and re.search(r"dog\s+in test", page.text)


def test_a_name_cannot_break_out_of_the_page(tmp_path):
    folder = pets(tmp_path / "<b>pets</b>")
    save(folder / "train" / "cat" / HOSTILE, 1)
    save(folder / "train" / "<script>alert(2)<script>" / "1.png", 90)
    (folder / "train" / "cat" / "<svg onload=alert(3)>.png").write_bytes(b"")
    page = shown(folder)
    assert {tag for tag, _ in page.tags} <= set(
        "html head meta link title style body header main footer section h1 h2 h3 p dl div dt dd figure figcaption img "
        "span b br ul li table thead tbody tr th td i".split()
    )
    assert not {name for _, given in page.tags for name in given if name.startswith("on")}
    assert HOSTILE in page.text and "<script>alert(2)<script>" in page.text and "<svg onload=alert(3)>.png" in page.text
    policy = next(given["content"] for tag, given in page.tags if given.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert all(str(given.get("src", "data:")).startswith("data:") for _, given in page.tags)


def test_each_finding_each_class_and_each_unreadable_file_is_on_the_page(tmp_path):
    folder = pets(tmp_path)
    (folder / "train" / "cat" / "bad.png").write_bytes(b"")
    Image.new("RGB", (50, 50), (9, 9, 9)).save(folder / "train" / "cat" / "night.png")
    save(folder / "train" / "dog" / "small.png", 80, (30, 20))
    found, page = audit_data(folder), shown(folder)
    for finding in found.findings:
        assert finding.text in page.text and finding.kind in page.text
    assert re.search(r"train/cat/bad.png\n\s*the file is empty \(0 bytes\)", page.text)
    rows = re.sub(r"\s+", " ", page.text)
    assert "cat 13 12" in rows and "dog 13 12" in rows


def test_a_clean_set_says_that_nothing_was_found(tmp_path):
    page = shown(pets(tmp_path))
    assert "Nothing found." in page.text and "Errors" not in page.text


def test_many_groups_and_files_are_cut_short_and_counted(tmp_path):
    folder = pets(tmp_path)
    for k in range(SHOWN_GROUPS + 3):
        save(folder / "train" / "cat" / f"x{chr(97 + k)}.png", 200 + k)
        save(folder / "test" / "cat" / f"y{chr(97 + k)}.png", 200 + k)
    for k in range(SHOWN_FILES + 5):
        save(folder / "train" / "dog" / f"thin {chr(97 + k)}.png", 300 + k, (300, 40))
    page = shown(folder)
    assert "… and 3 more groups" in page.text
    assert f" (the first {SHOWN_FILES} of {SHOWN_FILES + 5})" in page.text
    assert len(page.images()) == 2 * SHOWN_GROUPS + SHOWN_FILES


def test_doubtful_labels_are_shown_in_their_order(tmp_path):
    folder = pets(tmp_path)
    files = ["train/cat/c.png", "train/dog/b.png"]
    errors = LabelError(2, 0, 1, 0.01, 0.97), LabelError(13, 1, 0, 0.08, 0.9)
    doubts = Doubts(errors, tuple(files), ("cat", "dog"), 20, 0.9, False)
    page = Page(render_audit_page(audit_data(folder), load_thumbnails(folder, files), doubts))
    assert list(page.images()) == files
    text = re.sub(r"\s+", " ", page.text)
    assert "dog 97.00 % is labelled cat 1.00 % train/cat/c.png" in text
    assert text.index("train/cat/c.png") < text.index("train/dog/b.png")


def test_thumbnails_are_upright_and_no_larger_than_asked(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    Image.new("RGB", (400, 200), (10, 20, 30)).save(tmp_path / "a" / "1.jpg", exif=exif)
    Image.new("L", (10, 12)).save(tmp_path / "b" / "2.png")
    (tmp_path / "b" / "3.png").write_bytes(b"")
    found = load_thumbnails(tmp_path, ["a/1.jpg", "b/2.png", "b/3.png", "b/4.png"], side=100)
    assert {name: image.shape for name, image in found.items()} == {"a/1.jpg": (100, 50, 3), "b/2.png": (12, 10, 3)}
    x = np.arange(2 * 6 * 5, dtype=np.uint8).reshape(2, 6, 5, 1)
    of_arrays = load_thumbnails((x, [0, 1]), ["image[1]"])
    np.testing.assert_array_equal(of_arrays["image[1]"], x[1].repeat(3, 2))


@pytest.mark.parametrize(
    "file, expected",
    [
        ("patient-012_frame_7.png", "patient-012"),
        ("patient12_3.png", "patient12"),
        ("P0042-slice-11.tif", "p0042"),
        ("IMG_2041 (2).jpg", "img_2041"),
        ("IMG_2041_aug3.jpg", "img_2041"),
        ("scan7 copy.png", "scan7"),
        ("001_jpg.rf.0a1b2c3d4e5f.jpg", "001_jpg"),
        ("vid3-0001.jpg", "vid3"),
        ("cat_001.jpg", None),
        ("cat (3).jpg", None),
        ("000123.png", None),
        ("IMG_2041.jpg", None),
        ("6075b4a5-5b1a-4ce0-aea0-9dbfbca7c35c.jpg", None),
    ],
)
def test_an_origin_is_read_from_a_name(file, expected):
    assert guess_origin(f"train/x/{file}") == expected


def test_pictures_of_one_origin_in_two_splits_are_told(tmp_path):
    folder = pets(tmp_path)
    for k, (split, name, file) in enumerate([
        ("train", "cat", "owner01_1"), ("test", "cat", "owner01_2"), ("train", "dog", "owner02_1"),
        ("test", "dog", "owner02_2"), ("test", "dog", "owner02_3"), ("train", "dog", "owner03_1"),
    ]):  # fmt: skip
        save(folder / split / name / f"{file}.png", 500 + k)
    [finding] = [item for item in audit_data(folder).findings if item.kind == "same origin"]
    assert finding.severity == "warning"
    assert finding.text == (
        "2 origins by the file names, such as owner02 with 3 images, are in train and test, each of one label"
    )
    assert set(finding.files) == {
        "train/dog/owner02_1.png", "test/dog/owner02_2.png", "test/dog/owner02_3.png",
        "train/cat/owner01_1.png", "test/cat/owner01_2.png",
    }  # fmt: skip


def test_names_that_tell_no_label_such_as_dates_are_left_alone(tmp_path):
    """Of six days in two splits, four have both labels; that the other two have one each is chance."""
    folder = pets(tmp_path)
    for day in range(4):
        for k, (split, name) in enumerate([("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "dog")]):
            save(folder / split / name / f"2024-05-0{day + 1}_{k}.png", 500 + 10 * day + k)
    for day, name in ((5, "cat"), (6, "dog")):
        for k, split in enumerate(("train", "test")):
            save(folder / split / name / f"2024-05-0{day}_{k}.png", 600 + 10 * day + k)
    assert "same origin" not in {item.kind for item in audit_data(folder).findings}
