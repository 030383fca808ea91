"""An audit finds what was put there, and nothing in what is clean."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from striate.data.check.audit import Finding, SimilarFiles, audit_data
from striate.data.check.near_duplicates import (
    connect_pairs,
    find_blank,
    find_near_pairs,
    hash_thumbnails,
    make_thumbnail,
)
from striate.data.images import Skipped
from striate.errors import DataError


def picture(seed: int, size: tuple[int, int] = (48, 64)) -> Image.Image:
    """A picture of soft blots, another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def pets(folder: Path, cats: int = 10, dogs: int = 10) -> Path:
    for k in range(cats):
        save(picture(k), folder / "cat" / f"{k:02}.png")
    for k in range(dogs):
        save(picture(100 + k), folder / "dog" / f"{k:02}.png")
    return folder


def split_pets(folder: Path) -> Path:
    for k, part in enumerate(("train", "valid", "test")):
        for j, name in enumerate(("cat", "dog")):
            for i in range(10):
                save(picture(1000 * k + 100 * j + i), folder / part / name / f"{i}.png")
    return folder


def kinds(folder: Path) -> list[tuple[str, str]]:
    return [(finding.severity, finding.kind) for finding in audit_data(folder).findings]


def test_a_clean_folder_has_its_account_and_no_finding(tmp_path):
    found = audit_data(split_pets(tmp_path))
    assert found.findings == () and found.clean
    assert found.images == 60
    assert found.classes == ("cat", "dog")
    assert found.counts == {split: {"cat": 10, "dog": 10} for split in ("train", "valid", "test")}
    assert found.sizes == {"48×64": 60} and found.modes == {"RGB": 60}
    assert found.aspects == (64 / 48, 64 / 48, 64 / 48)
    assert found.imbalance == 1.0


def test_the_account_reads_well(tmp_path):
    split_pets(tmp_path)
    save(picture(0), tmp_path / "test" / "dog" / "x.png")
    (tmp_path / "train" / "cat" / "bad.jpg").write_text("no image")
    assert (
        str(audit_data(tmp_path))
        == f"""\
read as: class folders in train/, valid/ and test/, 62 images, 8-bit RGB
{tmp_path}: 61 images, 2 classes

            train    valid     test
  cat          10       10       10
  dog          10       10       11
  total        20       20       21

  sizes    48×64 61
  aspects  width / height from 1.33 to 1.33, median 1.33
  modes    RGB 61

error    leak: the same file is in train and test
           {os.path.join("train", "cat", "0.png")}
           {os.path.join("test", "dog", "x.png")}
error    conflict: the same file is labelled cat and dog
           {os.path.join("train", "cat", "0.png")}
           {os.path.join("test", "dog", "x.png")}
warning  unreadable: this is not an image of a known format: 1 file
           {os.path.join("train", "cat", "bad.jpg")}"""
    )


def test_a_copy_across_splits_is_a_leak_by_bytes(tmp_path):
    split_pets(tmp_path)
    save(picture(0), tmp_path / "test" / "cat" / "again.png")
    files = (os.path.join("train", "cat", "0.png"), os.path.join("test", "cat", "again.png"))
    found = audit_data(tmp_path)
    assert found.same == (SimilarFiles("exact", files, ("cat", "cat"), ("train", "test")),)
    assert found.findings == (Finding("error", "leak", "the same file is in train and test", files),)
    assert not found.clean


VIEWS = {
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "a fifth brighter": lambda image: image.point(lambda v: min(255, int(v * 0.8 + 50))),
    "gray": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("view", VIEWS)
def test_another_view_of_a_picture_is_found_across_splits(tmp_path, view):
    split_pets(tmp_path)
    save(VIEWS[view](picture(3, (96, 128))), tmp_path / "valid" / "dog" / "view.jpg", quality=60)
    found = audit_data(tmp_path)
    assert [group.kind for group in found.same] == ["near"]
    assert set(found.same[0].files) == {os.path.join("train", "cat", "3.png"), os.path.join("valid", "dog", "view.jpg")}
    assert [(f.kind, f.text) for f in found.findings if f.severity == "error"] == [
        ("leak", "what looks like the same image is in train and valid"),
        ("conflict", "what looks like the same image is labelled cat and dog"),
    ]


def test_a_copy_within_a_class_is_a_duplicate_and_an_exact_copy_is_told_once(tmp_path):
    pets(tmp_path)
    for name in ("a.png", "b.png"):
        save(picture(5), tmp_path / "cat" / name)
    (finding,) = audit_data(tmp_path).findings
    assert finding[:3] == ("warning", "duplicate", "the same file appears 3 times")


def test_copies_of_a_near_duplicate_are_in_its_group(tmp_path):
    pets(tmp_path)
    save(picture(5), tmp_path / "cat" / "copy.png")
    save(picture(5), tmp_path / "cat" / "view.jpg", quality=50)
    exact, near = audit_data(tmp_path).same
    assert (exact.kind, len(exact.files)) == ("exact", 2)
    assert (near.kind, len(near.files)) == ("near", 3)


def test_different_pictures_are_not_alike(tmp_path):
    """Of 300 pictures, 44,850 pairs, none is taken for another."""
    thumbs = np.stack([make_thumbnail(np.asarray(picture(seed).convert("L"))) for seed in range(300)])
    assert list(find_near_pairs(thumbs)) == []


def test_pictures_of_one_hash_but_another_look_are_not_alike():
    steps = np.arange(17) / 16
    even, steep = (np.tile((255 * curve).astype(np.uint8), (16, 1)) for curve in (steps, steps**2))
    darker = (even // 2 + 20).astype(np.uint8)
    assert list(find_near_pairs(np.stack([even, steep]))) == []
    assert list(find_near_pairs(np.stack([even, steep, darker]))) == [(0, 2)]


def test_blank_pictures_are_named_and_not_taken_for_copies_of_each_other(tmp_path):
    pets(tmp_path)
    for k, level in enumerate((100, 128, 255)):
        faint = np.abs(level - np.arange(64) // 12)[None].repeat(48, 0)
        save(Image.fromarray(faint.astype(np.uint8)), tmp_path / "dog" / f"blank{k}.png")
    found = audit_data(tmp_path)
    assert found.blank == tuple(os.path.join("dog", f"blank{k}.png") for k in range(3))
    assert found.same == ()
    assert ("warning", "blank") in {finding[:2] for finding in found.findings}


def test_unreadable_files_are_grouped_by_reason(tmp_path):
    pets(tmp_path)
    for name in ("a.png", "b.png"):
        (tmp_path / "cat" / name).write_bytes(b"")
    out = io.BytesIO()
    picture(1).save(out, "JPEG")
    (tmp_path / "dog" / "half.jpg").write_bytes(out.getvalue()[: len(out.getvalue()) // 2])
    found = audit_data(tmp_path)
    assert found.images == 20
    assert found.unreadable == (
        Skipped(os.path.join("cat", "a.png"), "the file is empty (0 bytes)"),
        Skipped(os.path.join("cat", "b.png"), "the file is empty (0 bytes)"),
        Skipped(os.path.join("dog", "half.jpg"), "the file is truncated"),
    )
    assert [finding.text for finding in found.findings] == [
        "the file is empty: 2 files",
        "the file is truncated: 1 file",
    ]


def test_uneven_and_small_classes_are_told_with_their_numbers(tmp_path):
    found = audit_data(pets(tmp_path, cats=33, dogs=6))
    assert found.imbalance == 5.5
    assert [finding[:3] for finding in found.findings] == [
        ("warning", "few images", "fewer than 10 training images: dog (6)"),
        ("warning", "imbalance", "cat has 33 images, dog 6: 5.5 times as many"),
    ]


def test_a_class_that_a_split_lacks_and_one_that_train_lacks_are_told(tmp_path):
    split_pets(tmp_path)
    for path in (tmp_path / "valid" / "dog").iterdir():
        path.unlink()
    save(picture(77), tmp_path / "test" / "fox" / "1.png")
    assert [finding[:3] for finding in audit_data(tmp_path).findings] == [
        ("error", "unknown class", "test has the class fox, which train lacks"),
        ("warning", "missing class", "valid has no image of dog"),
        ("note", "ignored", "ignored: class folders without an image: 1"),
    ]


def test_one_class_is_an_error_of_the_set_and_not_of_the_audit(tmp_path):
    assert kinds(pets(tmp_path, dogs=0)) == [("error", "one class")]


def test_thin_and_tiny_pictures_and_mixed_modes_are_told(tmp_path):
    pets(tmp_path)
    save(picture(50, (40, 400)), tmp_path / "cat" / "strip.png")
    save(picture(51, (4, 5)), tmp_path / "cat" / "icon.png")
    save(picture(52).convert("L"), tmp_path / "dog" / "gray.png")
    assert [finding[1:3] for finding in audit_data(tmp_path).findings] == [
        ("thin", "1 image more than 4 times as long as wide"),
        ("tiny", "1 image under an eighth of the usual 48 pixels per side"),
        ("small", "1 image under 32 pixels per side: only exact copies of these are found"),
        ("modes", "files of several modes: RGB 22, L 1"),
    ]


def test_an_audit_is_json_and_comes_back_whole(tmp_path):
    save(picture(0), pets(tmp_path) / "dog" / "copy.png")
    plain = audit_data(tmp_path).as_dict()
    assert json.loads(json.dumps(plain)) == json.loads(json.dumps(plain, sort_keys=True))
    assert plain["findings"][0]["kind"] == "conflict"
    assert plain["same"][0]["labels"] == ("cat", "dog")


def test_arrays_are_audited_too():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    x[7] = x[0]
    found = audit_data((x, np.arange(40) % 2))
    assert found.same == (SimilarFiles("exact", ("image[0]", "image[7]"), ("0", "1"), ("all", "all")),)
    assert [finding.kind for finding in found.findings] == ["conflict", "small"]
    text = "40 images under 32 pixels per side: only exact copies of these are found"
    assert found.findings[1] == Finding("note", "small", text)


def test_the_audited_folder_is_only_read(tmp_path):
    pets(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}
    audit_data(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before


def test_progress_ends_with_all_images_and_threads_change_nothing(tmp_path):
    seen = []
    pets(tmp_path)
    save(picture(0), tmp_path / "dog" / "copy.png")
    one = audit_data(tmp_path, workers=1, progress=lambda *report: seen.append(report))
    assert seen[-1] == ("images", 21, 21)
    assert one == audit_data(tmp_path, workers=4)


def test_a_source_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="there is no such folder, file or data set"):
        audit_data(tmp_path / "gone")


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))))
    )
)
@settings(deadline=None)
def test_groups_are_the_connected_parts(case):
    """Against reachability by repeated squaring of the adjacency matrix."""
    n, pairs = case
    joined = np.eye(n, dtype=bool)
    for a, b in pairs:
        joined[a, b] = joined[b, a] = True
    for _ in range(4):
        joined = joined @ joined
    expected = {tuple(np.flatnonzero(row).tolist()) for row in joined if row.sum() > 1}
    assert {tuple(members) for members in connect_pairs(iter(pairs), n)} == expected


def test_the_hash_is_the_sign_of_each_step_to_the_right():
    ramp = np.tile(np.arange(17, dtype=np.uint8) * 10, (16, 1))
    assert (hash_thumbnails(ramp[None]) == 1).all() and (hash_thumbnails(ramp[None, :, ::-1]) == -1).all()
    assert find_blank(np.stack([ramp, ramp // 30])).tolist() == [False, True]


def test_the_clothing_set_holds_one_photograph_under_two_labels(data, tmp_path):
    """Found with this audit, and seen by eye: the same black denim, as shorts and as a skirt."""
    for name in ("shorts", "skirt"):
        (tmp_path / name).symlink_to(data / "clothing" / "train" / name)
    found = audit_data(tmp_path)
    assert found.counts["all"] == {"shorts": 202, "skirt": 112}
    files = (
        os.path.join("shorts", "6075b4a5-5b1a-4ce0-aea0-9dbfbca7c35c.jpg"),
        os.path.join("skirt", "637a56e4-7fa6-4f75-8859-0f8902461554.jpg"),
    )
    text = "what looks like the same image is labelled shorts and skirt"
    assert found.findings == (Finding("error", "conflict", text, files),)
