"""A split that measures honestly: what belongs together stays on one side, and without copies nothing is drawn anew."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import striate
from striate.data import images as images_of
from striate.data.images import Dataset, Images, split_indices
from striate.data.reading import make_reading
from striate.data.sources import groups
from striate.data.sources.load import load_dataset, load_images
from striate.errors import DataError, RunError
from striate.fitting.watch import Watch


def photo(seed: int, side: int = 48) -> Image.Image:
    """A smooth random picture, as unlike any other as photographs are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def sides(data: Dataset) -> dict[str, str]:
    """The split of each file."""
    assert data.test is not None
    parts = {"train": data.train, "valid": data.valid, "test": data.test}
    return {file: name for name, part in parts.items() for file in part.files}


def is_parted(data: Dataset, key) -> bool:
    """Whether files of one key stand in two splits."""
    found: dict[str, set[str]] = {}
    for file, split in sides(data).items():
        found.setdefault(key(file), set()).add(split)
    return any(len(splits) > 1 for splits in found.values())


def stem(file: str) -> str:
    return file.split("~")[0]


@pytest.fixture
def copies(tmp_path):
    """Ten pictures of each of two classes, three copies of each."""
    for k in range(20):
        for copy in range(3):
            save(photo(k), tmp_path / "ab"[k % 2] / f"{k}~{copy}.png")
    return tmp_path


def test_copies_of_a_picture_never_stand_in_two_splits(copies):
    data = load_dataset(copies)
    assert not is_parted(data, stem)
    assert sorted(map(len, (data.train, data.valid, data.test))) == [6, 6, 48]
    assert data.valid.counts == data.test.counts == (3, 3)
    assert "kept on one side of the split: 60 images in 20 groups of copies and near duplicates" in data.notes


VIEWS = {
    "one pixel on": lambda image: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 1, 0, 1, 0)),
    "brighter": lambda image: image.point(lambda v: min(255, int(v * 0.9 + 20))),
    "smaller": lambda image: image.resize((40, 40)),
    "in gray": lambda image: image.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("view", VIEWS)
def test_another_view_of_a_picture_stays_beside_it(tmp_path, view):
    for k in range(20):
        save(photo(k, 200), tmp_path / "ab"[k % 2] / f"{k}~.png")
        save(VIEWS[view](photo(k, 200)), tmp_path / "ab"[k % 2] / f"{k}~1.jpg", quality=90)
    assert not is_parted(load_dataset(tmp_path, size=(96, 96)), stem)


def test_augmented_copies_by_name_stay_together_however_they_look(tmp_path):
    for k in range(40):
        save(photo(k), tmp_path / "ab"[k // 2 % 2] / f"{k // 2}_png.rf.{k:032x}.png")
    data = load_dataset(tmp_path)
    assert not is_parted(data, lambda file: file.split(".rf.")[0])
    assert any("named groups" in note for note in data.notes)


def test_a_regular_expression_keeps_patients_together(tmp_path):
    for k in range(60):
        save(photo(k), tmp_path / "ab"[k % 2] / f"patient{k // 4}_{k}.png")
    assert is_parted(load_dataset(tmp_path), lambda file: file.split("/")[1].split("_")[0])
    data = load_dataset(tmp_path, reading=make_reading({"group": r"(patient\d+)_"}))
    assert not is_parted(data, lambda file: file.split("/")[1].split("_")[0])
    assert len(data.test) == len(data.valid) == 4 or len(data.test) in range(3, 9)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "this is no regular expression, nor a column"),
        ("woman", "the group's expression does not fit 6 of 6 names"),
        ("^", "all images are in one group, so there is nothing to split"),
    ],
)
def test_an_expression_that_names_no_groups_is_refused(tmp_path, pattern, message):
    for k in range(6):
        save(photo(k), tmp_path / "ab"[k % 2] / f"man{k}_1.png")
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path, reading=make_reading({"group": pattern}))
    assert message in str(refused.value)
    followed = load_dataset(tmp_path, reading=make_reading({"group": "([^/_]+)_"}))  # as the hint says
    assert len(followed.train) < 6


def test_a_column_of_a_table_keeps_plants_together(tmp_path):
    rows = ["file,label,plant"]
    for k in range(60):
        save(photo(k), tmp_path / f"{k}.png")
        rows.append(f"{k}.png,{'ab'[k % 2]},p{k // 4}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    data = load_dataset(tmp_path / "t.csv", reading=make_reading({"group": "plant", "label_column": "label"}))
    assert not is_parted(data, lambda file: str(int(Path(file).stem) // 4))


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8), np.uint8)


NAMED = [f"p{k // 4}" for k in range(60)]


@pytest.mark.parametrize("names", [NAMED, np.array(NAMED), tuple(k // 4 for k in range(60)), np.arange(60) // 4.0])
def test_names_of_groups_beside_arrays_keep_their_images_together(names):
    x, y = noise(60), np.arange(60) % 2
    data = load_dataset((x, y), reading=make_reading({"group": names}))
    group = {image.tobytes(): str(name) for image, name in zip(x, names, strict=True)}
    sides = [{group[image.tobytes()] for image in part.x} for part in (data.train, data.valid, data.test)]
    assert len(set.union(*sides)) == sum(map(len, sides)) == 15
    assert data.fingerprint != load_dataset((x, y)).fingerprint


def test_names_of_groups_beside_a_list_of_files_keep_them_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [f"{(7 * k) % 60:02}.png" for k in range(60)]  # not in the order of their names
    for k, file in enumerate(files):
        save(photo(k), Path(file))
    data = load_dataset((files, ["ab"[k % 2] for k in range(60)]), reading=make_reading({"group": NAMED}))
    assert not is_parted(data, dict(zip(files, NAMED, strict=True)).get)


def test_an_image_without_a_group_stands_alone(tmp_path):
    names = [None, float("nan"), "", *NAMED[3:]]
    data = load_dataset((noise(60), np.arange(60) % 2), reading=make_reading({"group": names}))
    assert "kept on one side of the split: 57 images in 15 groups of copies and near duplicates" not in data.notes
    assert any(note.startswith("kept on one side of the split: 56 images in 14 groups") for note in data.notes)


def test_names_of_groups_that_do_not_fit_are_refused(tmp_path):
    pair = noise(60), np.arange(60) % 2
    with pytest.raises(DataError) as refused:
        load_dataset(pair, reading=make_reading({"group": NAMED[:50]}))
    assert refused.value.got == "50 names for 60 images"
    load_dataset(pair, reading=make_reading({"group": NAMED[:50] + [""] * 10}))  # as the hint says
    with pytest.raises(DataError, match="all images are in one group"):
        make_reading({"group": ["a"] * 60})
    for k in range(4):
        save(photo(k), tmp_path / "ab"[k % 2] / f"{k}.png")
    with pytest.raises(DataError, match="names of groups are for arrays and for files and labels in two lists"):
        load_dataset(tmp_path, reading=make_reading({"group": list("aabb")}))


def test_a_run_of_named_groups_is_resumed_and_evaluated_without_its_names_being_kept(tmp_path):
    net = striate.Net((1, 8, 8), [striate.GlobalAvgPool(), striate.Dense(2)])
    pair, given = (noise(60), np.arange(60) % 2), {"epochs": 1, "out": tmp_path / "run", "watch": Watch()}
    run = striate.train(pair, net, group=NAMED, **given)
    assert run.tested and "p11" not in (tmp_path / "run" / "recipe.json").read_text()
    again = striate.train(pair, group=np.array(NAMED), resume=True, **given)
    assert again.report == run.report
    with pytest.raises(RunError, match="a run is resumed with what it began with"):
        striate.train(pair, group=NAMED[::-1], resume=True, **given)
    with pytest.raises(DataError, match="the groups were given as names, one for each image, which are kept nowhere"):
        striate.train(pair, resume=True, **given)
    held = load_dataset(pair, reading=make_reading({"group": NAMED})).test
    assert run.model.images(pair, group=NAMED).files == held.files
    found = run.model.evaluate(pair)
    assert found.images == len(held) == run.report.images and found.accuracy == run.report.accuracy
    assert striate.label_errors(pair, run.folder, parts=2, watch=Watch()).judged == 60


def test_names_of_groups_for_the_arrays_of_a_file_and_for_a_source_with_a_test_split(tmp_path):
    x, y = noise(60), np.arange(60) % 2
    np.savez(tmp_path / "one.npz", x=x, y=y)
    one = load_dataset(tmp_path / "one.npz", reading=make_reading({"group": NAMED}))
    assert one.fingerprint == load_dataset((x, y), reading=make_reading({"group": NAMED})).fingerprint
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y, x_test=noise(8, 1), y_test=y[:8])
    two = load_dataset(tmp_path / "two.npz", reading=make_reading({"group": NAMED}))
    group = {image.tobytes(): name for image, name in zip(x, NAMED, strict=True)}
    assert not {group[image.tobytes()] for image in two.train.x} & {group[image.tobytes()] for image in two.valid.x}
    with pytest.raises(DataError, match="each image to be split needs the name of one group"):
        load_dataset(tmp_path / "two.npz", reading=make_reading({"group": NAMED + list("abcdefgh")}))


def test_folds_and_named_groups_of_a_torch_dataset(tmp_path):
    import torch

    x, y = noise(60), np.arange(60) % 2
    data = torch.utils.data.TensorDataset(torch.from_numpy(x)[:, None], torch.from_numpy(y))
    net = striate.Net((1, 8, 8), [striate.GlobalAvgPool(), striate.Dense(2)])
    made = striate.train(data, net, group=NAMED, folds=3, epochs=1, out=tmp_path / "run", watch=Watch())
    group = {hashlib.sha256(image.tobytes()).digest()[:8]: name for image, name in zip(x, NAMED, strict=True)}
    assert made.images == 60
    for score in made.folds:
        known = striate.load(made.folder / score.run).header.known
        marks = np.frombuffer(known.train + known.valid, "<u8")
        seen = {group[mark.tobytes()] for mark in marks}
        assert 4 * (15 - len(seen)) == score.images, "a patient of the fold is in no other"


def test_folds_of_arrays_with_named_groups(tmp_path):
    net = striate.Net((1, 8, 8), [striate.GlobalAvgPool(), striate.Dense(2)])
    pair, given = (noise(60), np.arange(60) % 2), {"epochs": 1, "out": tmp_path / "run", "watch": Watch()}
    made = striate.train(pair, net, group=NAMED, folds=3, **given)
    assert all(score.images % 4 == 0 for score in made.folds) and made.images == 60
    (tmp_path / "run" / "folds.json").unlink()
    (tmp_path / "run" / "fold-3" / "report.json").unlink()
    assert striate.train(pair, group=NAMED, resume=True, **given).as_dict() == made.as_dict()


def test_the_held_out_split_of_a_grouped_run_is_found_again(copies, tmp_path):
    net = striate.Net((3, 48, 48), [striate.GlobalAvgPool(), striate.Dense(2)])
    run = striate.train(copies, net, epochs=1, out=tmp_path / "run", watch=Watch())
    data = load_dataset(copies)
    assert sorted(run.model.images(copies).files) == sorted(data.test.files)


def test_a_grouped_run_is_measured_on_other_data_whose_names_say_nothing_of_groups(copies, tmp_path):
    net = striate.Net((3, 48, 48), [striate.GlobalAvgPool(), striate.Dense(2)])
    run = striate.train(copies, net, epochs=1, out=tmp_path / "run", watch=Watch(), group=r"(\d+)~")
    for k in range(4):
        save(photo(100 + k), tmp_path / "new" / "ab"[k % 2] / f"{'wxyz'[k]}.png")
    assert run.model.evaluate(tmp_path / "new").images == 4


def test_a_group_that_can_keep_nothing_together_is_said(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8), np.arange(20) % 2
    with pytest.raises(DataError, match="the group's expression does not fit 20 of 20 names"):
        load_dataset((x, y), reading=make_reading({"group": "patient"}))
    for k in range(18):
        save(photo(k), tmp_path / ("train", "valid", "test")[k // 6] / "ab"[k % 2] / f"p{k}_.png")
    notes = load_dataset(tmp_path, reading=make_reading({"group": r"(p\d+)_"})).notes
    assert "the source's own splits stay as they are: --group keeps nothing together in them" in notes


def test_a_run_from_before_copies_were_kept_together_still_has_its_own_test_split(copies, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("striate.data.sources.split.join_alike", lambda images, named: groups.Together(None))
        old = load_dataset(copies)
    assert is_parted(old, stem) and old.fingerprint != load_dataset(copies).fingerprint
    assert load_images(copies, ("a", "b"), trained_on=old.fingerprint).files == old.test.files


def test_pictures_that_are_all_alike_are_split_as_ever_and_it_is_said(tmp_path):
    base = np.asarray(photo(1), np.int16)
    for k in range(40):
        noise = np.random.default_rng(k).integers(-2, 3, base.shape)
        save(Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8)), tmp_path / "ab"[k % 2] / f"{k}.png")
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.valid), len(data.test)) == (32, 4, 4)
    assert "what merely looks alike is not kept together: too much does" in data.notes


@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.2, 0.0)])
def test_each_images_pixels_are_hashed_once_for_groups_splits_and_fingerprint(monkeypatch, shares):
    x, hashed = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8), []
    digest = images_of.digest_pixels
    monkeypatch.setattr(images_of, "digest_pixels", lambda image: hashed.append(1) or digest(image))
    data = load_dataset((x, np.arange(40) % 2), valid_share=shares[0], test_share=shares[1])
    assert len(hashed) == 40
    for part in filter(None, (data.train, data.valid, data.test)):
        assert part.digests == [digest(image) for image in part.x]


def test_images_that_are_all_one_are_split_as_ever_and_it_is_said():
    data = load_dataset((np.zeros((50, 40, 40), np.uint8), np.arange(50) % 2))
    assert (len(data.train), len(data.valid), len(data.test)) == (40, 5, 5)
    assert "copies are not kept together: too many images are copies" in data.notes


@pytest.mark.parametrize("level", ["mapped", "streamed"])
def test_the_groups_are_the_same_wherever_the_pixels_are(copies, tmp_path_factory, monkeypatch, level):
    cache = str(tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr("striate.data.store.cache.platformdirs.user_cache_dir", lambda *a, **k: cache)
    assert load_dataset(copies, level=level).fingerprint == load_dataset(copies).fingerprint


@given(st.lists(st.integers(0, 2), min_size=4, max_size=80), st.floats(0.05, 0.5), st.integers(0, 9))
def test_without_copies_the_draw_is_the_one_that_it_was(labels, share, seed):
    y = np.array(labels)
    alone = np.random.default_rng(seed).permutation(len(y))
    for one, other in zip(split_indices(y, share, seed), split_indices(y, share, seed, groups=alone), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15)), min_size=6, max_size=120),
    st.floats(0.05, 0.5),
    st.integers(0, 9),
)
def test_no_group_is_parted_no_image_lost_and_no_class_emptied(rows, share, seed):
    y, own = np.array([label for label, _ in rows]), np.array([group for _, group in rows])
    stay, gone = split_indices(y, share, seed, groups=own)
    assert sorted([*stay, *gone]) == list(range(len(y)))
    assert not set(own[stay]) & set(own[gone])
    assert set(y[stay]) == set(y), "each class keeps an image"
    again = split_indices(y, share, seed, groups=own)
    np.testing.assert_array_equal(again[1], gone)


@given(st.integers(20, 60), st.integers(1, 3), st.integers(0, 9))
def test_small_groups_change_the_share_by_less_than_a_group(n, size, seed):
    own = np.repeat(np.arange(n), size)
    y = np.zeros(len(own), int)
    _, gone = split_indices(y, 0.2, seed, groups=own)
    assert abs(len(gone) - 0.2 * len(y)) <= size


def test_unlike_photographs_are_not_taken_for_one_another():
    x = np.stack([np.asarray(photo(seed)) for seed in range(200)])
    images = Images(x, np.arange(200) % 2, ("a", "b"), tuple(map(str, range(200))))
    assert groups.join_alike(images).note == ""
