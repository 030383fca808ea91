"""Other libraries' data sets come in as the arrays that they hold, and ours go out as a torch Dataset."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import striate
from striate import Conv, Dense, Flatten, Net, ReLU
from striate.data.images import Dataset
from striate.data.read.resize import resize_image
from striate.data.reading import Reading
from striate.errors import DataError, RunError
from striate.fitting.watch import Watch

from .oracles import torchvision

NET = Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(2)])


def pictures(n: int = 60, channels: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = draw.integers(0, 150, (n, 8, 8, channels), dtype=np.uint8)
    x[y == 1, :4] += 100
    return x, y


class Pairs(TorchDataset):
    """A map-style data set of whatever it is given."""

    def __init__(self, images, labels, classes=None):
        self.pairs = list(zip(images, labels, strict=True))
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, place):
        return self.pairs[place]


class Stream(IterableDataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __iter__(self):
        return iter(self.pairs)


def as_tensors(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def as_pillow(x: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(image[..., 0] if image.shape[2] == 1 else image) for image in x]


WAYS = {
    "tensors": lambda x, y: (as_tensors(x), torch.from_numpy(y)),
    "a TensorDataset": lambda x, y: TensorDataset(as_tensors(x), torch.from_numpy(y)),
    "Pillow images": lambda x, y: Pairs(as_pillow(x), y.tolist()),
    "arrays": lambda x, y: Pairs(list(x), y),
    "a list of pairs": lambda x, y: list(zip(as_pillow(x), y.tolist(), strict=True)),
    "a generator": lambda x, y: ((image, int(label)) for image, label in zip(x, y, strict=True)),
    "a generator of batches": lambda x, y: ((as_tensors(x[k : k + 7]), y[k : k + 7]) for k in range(0, len(x), 7)),
    "a stream": lambda x, y: Stream(list(zip(as_tensors(x), torch.from_numpy(y), strict=True))),
    "a DataLoader": lambda x, y: DataLoader(TensorDataset(as_tensors(x), torch.from_numpy(y)), batch_size=16),
    "a DataLoader of a stream": lambda x, y: DataLoader(Stream(list(zip(as_tensors(x), y, strict=True))), batch_size=9),
    "a DataLoader without batches": lambda x, y: DataLoader(Pairs(as_tensors(x), y.tolist()), batch_size=None),
    "a Subset": lambda x, y: Subset(Pairs(as_tensors(x), y.tolist()), range(len(x))),
    "records": lambda x, y: Pairs2([{"image": image, "label": int(k)} for image, k in zip(x, y, strict=True)]),
}


class Pairs2(TorchDataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, place):
        return self.items[place]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_whatever_holds_them_the_images_are_those_of_the_arrays(way, channels):
    """The fingerprint is over all pixels, labels, classes and the split."""
    x, y = pictures(channels=channels)
    plain, found = striate.load_dataset((x, y)), striate.load_dataset(WAYS[way](x, y))
    assert (found.fingerprint, found.shape, found.classes) == (plain.fingerprint, plain.shape, plain.classes)
    assert np.array_equal(found.train.x, plain.train.x)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3).map(lambda k: 1 if k == 2 else k), st.integers(5, 9), st.integers(5, 9))
def test_a_tensor_has_its_channels_first_and_an_array_last(channels, height, width):
    draw = np.random.default_rng(height * width)
    x, y = draw.integers(0, 256, (20, height, width, channels), dtype=np.uint8), np.arange(20) % 2
    one = striate.load_dataset(Pairs(as_tensors(x), y.tolist()))
    other = striate.load_dataset(Pairs(list(x), y.tolist()))
    assert one.fingerprint == other.fingerprint and one.shape == (channels, height, width)


def test_floats_are_scaled_as_those_of_an_array_are():
    """ToTensor's 0 to 1 are the levels 0 to 255 again."""
    x, y = pictures()
    found = striate.load_dataset(TensorDataset(as_tensors(x).float() / 255, torch.from_numpy(y)))
    assert np.array_equal(found.train.x, striate.load_dataset((x, y)).train.x)
    assert any("become 0 to 255" in note for note in found.notes)


def test_splits_are_those_of_a_dictionary():
    x, y = pictures()
    given_ = {"train": (x[:40], y[:40]), "val": Pairs(as_tensors(x[40:50]), y[40:50]), "test": (x[50:], y[50:])}
    found = striate.load_dataset(given_)
    assert [len(part) for part in (found.train, found.valid, found.test)] == [40, 10, 10]
    assert np.array_equal(found.valid.x, x[40:50]) and np.array_equal(found.test.x, x[50:])


def test_class_names_are_those_that_the_data_set_says():
    x, y = pictures()
    named = Pairs(as_tensors(x), y.tolist(), classes=["cat", "ape"])
    for source in (named, Subset(named, range(60)), DataLoader(named, batch_size=8)):
        found = striate.load_dataset(source)
        assert found.classes == ("cat", "ape"), "in the order of their numbers"
        assert np.array_equal(np.bincount(found.train.y), np.bincount(striate.load_dataset((x, y)).train.y))
    words = striate.load_dataset(Pairs(as_tensors(x), ["ape" if k else "cat" for k in y]))
    assert words.classes == ("ape", "cat")


def test_torchvisions_folder_is_the_folder(tmp_path):
    torchvision()
    from torchvision.datasets import ImageFolder

    x, y = pictures(channels=3)
    for k, image in enumerate(as_pillow(x)):
        (tmp_path / "ab"[y[k]]).mkdir(exist_ok=True)
        image.save(tmp_path / "ab"[y[k]] / f"{k:02}.png")
    theirs = striate.load_dataset(ImageFolder(str(tmp_path)), test_share=0.0)
    ours = striate.load_dataset(tmp_path, test_share=0.0)
    assert theirs.classes == ours.classes == ("a", "b") and theirs.name == "ImageFolder"
    assert np.array_equal(theirs.train.x, ours.train.x)


@pytest.fixture(scope="module")
def hugging_face():
    datasets = pytest.importorskip("datasets")
    x, y = pictures(channels=3)
    features = datasets.Features(
        {"image": datasets.Image(), "id": datasets.Value("int64"), "label": datasets.ClassLabel(names=["cat", "ape"])}
    )
    columns = {"image": as_pillow(x), "id": list(range(60)), "label": y.tolist()}
    return datasets.Dataset.from_dict(columns, features=features)


def test_a_hugging_face_data_set_comes_with_its_class_names_in_every_form(hugging_face):
    x, y = pictures(channels=3)
    plain = striate.load_dataset((x, y))
    for form in (hugging_face, hugging_face.with_format("torch"), hugging_face.to_iterable_dataset()):
        found = striate.load_dataset(form)
        assert found.classes == ("cat", "ape") and np.array_equal(found.train.x, plain.train.x)
        assert np.array_equal(found.train.y, plain.train.y)


def test_the_splits_of_a_hugging_face_data_set_are_its_own(hugging_face):
    import datasets

    parts = hugging_face.train_test_split(20, shuffle=False)
    found = striate.load_dataset(datasets.DatasetDict({"train": parts["train"], "validation": parts["test"]}))
    x, _ = pictures(channels=3)
    assert np.array_equal(found.train.x, x[:40]) and np.array_equal(found.valid.x, x[40:]) and found.test is None


def test_of_two_columns_of_classes_one_is_named(hugging_face):
    coarse = hugging_face.add_column("coarse", [k // 30 for k in range(60)]).cast_column(
        "coarse", __import__("datasets").ClassLabel(names=["old", "new"])
    )
    with pytest.raises(DataError, match="which column holds the labels") as e:
        striate.load_dataset(coarse.rename_column("label", "fine"))
    assert e.value.got == "fine, coarse" and e.value.hint == "label_column='fine'"
    found = striate.load_dataset(coarse, reading=Reading(label_column="coarse"))
    assert found.classes == ("old", "new") and sum(found.train.counts) == len(found.train)


def test_images_of_several_sizes_get_the_one_that_is_asked_for(tmp_path):
    x, y = pictures()
    images = [Image.fromarray(image[..., 0]).resize((8 + k % 3, 8)) for k, image in enumerate(x)]
    with pytest.raises(DataError) as e:
        striate.load_dataset(Pairs(images, y.tolist()))
    assert (e.value.what, e.value.hint) == ("the images differ in size, so a size is needed", "size=64")
    found = striate.load_dataset(Pairs(images, y.tolist()), size=(8, 8), fit="squash")
    assert found.shape == (1, 8, 8)
    every = np.concatenate([part.x for part in (found.train, found.valid, found.test)])
    squashed = [resize_image(np.asarray(image)[..., None], (8, 8), "squash") for image in images]
    assert sorted(image.tobytes() for image in every) == sorted(image.tobytes() for image in squashed)
    run = striate.train(Pairs(images, y.tolist()), NET, out=tmp_path / "run", epochs=1, watch=Watch())
    assert run.model.net.input == (1, 8, 8), "the net's own size is one that was asked for"


def test_gray_images_among_colours_become_colours():
    x, y = pictures(channels=3)
    mixed = [image if k % 2 else Image.fromarray(x[k, ..., 0]) for k, image in enumerate(as_pillow(x))]
    found = striate.load_dataset(Pairs(mixed, y.tolist()), test_share=0.0)
    assert found.shape == (3, 8, 8)


def test_images_turned_by_their_camera_stand_upright():
    x, y = pictures()
    files = []
    for image in as_pillow(x):
        file, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6
        image.save(file, "PNG", exif=exif)
        files.append(Image.open(file))
    found = striate.load_dataset(Pairs(files, y.tolist()))
    turned = striate.load_dataset((np.ascontiguousarray(np.rot90(x, -1, (1, 2))), y))
    assert np.array_equal(found.train.x, turned.train.x)


def test_what_is_read_but_once_is_said():
    x, y = pictures()

    class Random(Pairs):
        def __getitem__(self, place):
            image, label = self.pairs[place]
            return image + torch.rand(1), label

    found = striate.load_dataset(Random(as_tensors(x).float() / 255, y.tolist()))
    assert any("changes its images at random" in note for note in found.notes)
    loader = DataLoader(TensorDataset(as_tensors(x), torch.from_numpy(y)), batch_size=8, shuffle=True)
    found = striate.load_dataset(loader)
    assert any("the loader shuffles" in note for note in found.notes)
    plain = striate.load_dataset(TensorDataset(as_tensors(x), torch.from_numpy(y)))
    assert len(plain.notes) == 1


ITEMS: list[tuple] = [
    (lambda x, y: Pairs2([1, 2, 3]), "Pairs2, item 0: this is not an image and its label"),
    (lambda x, y: Pairs2([(x[0], 0, "more")]), "Pairs2, item 0: this is not an image and its label"),
    (lambda x, y: Pairs(["a.png"], [0]), "Pairs, item 0: this is no image"),
    (lambda x, y: Pairs([np.zeros((2, 2, 2, 2, 2))], [0]), "Pairs, item 0: this is no image"),
    (lambda x, y: Pairs([torch.zeros(8, 9, 3)], [0]), "Pairs, item 0: the channels come first in a tensor"),
    (lambda x, y: Pairs([np.zeros((3, 8, 9))], [0]), "Pairs, item 0: the channels come last in an array"),
    (lambda x, y: Pairs([x[0]], [torch.tensor([0.0, 1.0])]), "Pairs, item 0: a label is one class"),
    (lambda x, y: Pairs([x[0]], [None]), "Pairs, item 0: a label is one class"),
    (lambda x, y: iter([(as_tensors(x), y[:3])]), "list_iterator, item 0: there must be one label for each image"),
    (lambda x, y: iter([]), "list_iterator: there is no image in it"),
    (lambda x, y: Pairs2([{"pixels": x[0], "label": 0}]), "Pairs2, item 0: which column holds the images?"),
    (lambda x, y: Pairs([x[0], x[1] / 255.0], [0, 1]), "Pairs: the images are of several types"),
    (lambda x, y: {"train": (x, y), "tset": (x, y)}, "files"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), ITEMS)
def test_what_is_no_image_with_a_label_is_named_with_its_place(make, message):
    with pytest.raises(DataError) as e:
        striate.load_dataset(make(*pictures()))
    assert str(e.value).startswith(message)


def test_the_hints_work():
    x, y = pictures()
    first = [torch.from_numpy(np.repeat(image, 3, axis=2)).permute(2, 0, 1) for image in x]
    striate.load_dataset(Pairs(first, y.tolist()))
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(y))
    striate.load_dataset(Pairs(first, [label.argmax() for label in one_hot]))
    renamed = Pairs2([{"pixels": image, "label": int(k)} for image, k in zip(x, y, strict=True)])
    striate.load_dataset(renamed, reading=Reading(file_column="pixels"))


def test_a_data_set_is_trained_on_checked_evaluated_and_resumed(tmp_path):
    x, y = pictures(120)
    source = TensorDataset(as_tensors(x), torch.from_numpy(y))
    run = striate.train(source, NET, out=tmp_path / "run", epochs=4, lr=0.02, watch=Watch())
    assert run.task.fingerprint == striate.load_dataset((x, y)).fingerprint
    plain = striate.train((x, y), NET, out=tmp_path / "plain", epochs=4, lr=0.02, watch=Watch())
    for name, value in plain.model.tensors.items():
        assert np.array_equal(run.model.tensors[name], value)
    again = striate.train(source, out=tmp_path / "run", resume=True, watch=Watch())
    assert len(again.history) == 4
    with pytest.raises(RunError, match="the images are not the ones"):
        striate.train(TensorDataset(as_tensors(255 - x), torch.from_numpy(y)), out=tmp_path / "run", resume=True)
    held = run.model.images(source)
    assert len(held) == 12 and run.model.evaluate(held, known=True).images == 12
    assert striate.check(source).clean == striate.check((x, y)).clean
    pairs = ((a, int(b)) for a, b in zip(x, y, strict=True))
    generated = striate.train(pairs, preset="fast", epochs=1, out=tmp_path / "g", watch=Watch())
    assert generated.task.fingerprint == run.task.fingerprint, "it is read once"
    both = striate.train({"train": source, "valid": (x[:20], y[:20])}, NET, out=tmp_path / "v", epochs=1, watch=Watch())
    assert not both.tested


def test_our_images_are_a_torch_dataset(tmp_path):
    data = striate.load_dataset("digits")
    raw = striate.make_torch_dataset(data.train)
    assert len(raw) == len(data.train) and raw.classes == data.classes
    image, label = raw[5]
    assert image.dtype == torch.uint8 and np.array_equal(image.numpy()[0], data.train.x[5, ..., 0])
    assert label == data.train.y[5] == raw.targets[5]
    assert torch.equal(raw[-1][0], raw[len(raw) - 1][0])
    with pytest.raises(IndexError):
        raw[len(raw)]
    doubled = striate.make_torch_dataset(data.train, transform=lambda x: 2.0 * x)
    assert torch.equal(doubled[5][0], 2.0 * image)
    batches = list(DataLoader(raw, batch_size=100))
    assert torch.cat([x for x, _ in batches]).shape == (len(raw), 1, 8, 8)
    assert torch.equal(torch.cat([y for _, y in batches]), raw.targets)
    assert sum(1 for _ in raw) == len(raw), "a plain loop over it ends"


def test_with_a_model_they_are_what_that_model_is_fed():
    run_data = striate.load_dataset("digits")
    from striate.engines.model_file import Preprocess

    pre = Preprocess((8, 8), "pad", (0.3,), (0.25,))
    fed, _ = striate.make_torch_dataset(run_data.valid, pre)[3]
    np.testing.assert_allclose(fed.numpy()[0], (run_data.valid.x[3, ..., 0] / 255 - 0.3) / 0.25, rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="another size than the model takes") as e:
        striate.make_torch_dataset(run_data.valid, Preprocess((16, 16), "pad", (0.3,) * 3, (0.25,) * 3))
    assert e.value.hint == "load_dataset(…, size=(16, 16), channels=3)"
    larger = striate.load_dataset("digits", size=(16, 16), channels=3)
    striate.make_torch_dataset(larger.valid, Preprocess((16, 16), "pad", (0.3,) * 3, (0.25,) * 3))


def test_workers_read_images_that_lie_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    x, y = pictures(channels=3)
    for k, image in enumerate(as_pillow(x)):
        (tmp_path / "photos" / "ab"[y[k]]).mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "photos" / "ab"[y[k]] / f"{k:02}.png")
    held, mapped = (striate.load_dataset(tmp_path / "photos", level=level) for level in ("resident", "mapped"))
    batches = [
        torch.cat([x for x, _ in DataLoader(striate.make_torch_dataset(part.train), batch_size=8, num_workers=workers)])
        for part, workers in ((held, 0), (mapped, 2))
    ]
    assert torch.equal(*batches)


def test_their_loop_and_ours_meet(tmp_path):
    """Ours as a torch Dataset goes in again as the same data."""
    data = striate.load_dataset("digits")
    parts = {"train": data.train, "valid": data.valid, "test": data.test}
    again = striate.load_dataset({name: striate.make_torch_dataset(part) for name, part in parts.items()})
    assert isinstance(again, Dataset) and again.fingerprint == data.fingerprint
