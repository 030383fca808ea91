"""The data sets that go by name: digits ships with scikit-learn, the others are found, or downloaded once."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs

from ...errors import DataError
from ...language import say
from .array_formats import Arrays, read_cifar10, read_idx, read_npz
from .download import DownloadProgress, UnreachableError, download_file


class PublishedFile(NamedTuple):
    """A file as its authors publish it."""

    name: str
    sha256: str


@dataclass(frozen=True)
class BuiltIn:
    """A data set by name.

    files    what is published, in the order in which `read` wants it
    mirrors  where: addresses of folders, the first first
    home     its authors' page
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[PublishedFile, ...]
    mirrors: tuple[str, ...]
    home: str
    folders: tuple[str, ...]


DIGITS = BuiltIn("digits", tuple("0123456789"), (), (), "https://archive.ics.uci.edu/dataset/80", ())

MNIST = BuiltIn(
    "mnist",
    tuple("0123456789"),
    (
        PublishedFile("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        PublishedFile("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        PublishedFile("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        PublishedFile("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "http://yann.lecun.com/exdb/mnist/",
    ("mnist", "MNIST/raw", "MNIST"),
)

FASHION_MNIST = BuiltIn(
    "fashion-mnist",
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    (
        PublishedFile("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        PublishedFile("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        PublishedFile("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        PublishedFile("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    "https://github.com/zalandoresearch/fashion-mnist",
    ("fashion-mnist", "FashionMNIST/raw", "FashionMNIST"),
)

CIFAR10 = BuiltIn(
    "cifar10",
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    (PublishedFile("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),),
    ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    ("cifar10", "cifar-10", "."),
)

BUILTINS = {builtin.name: builtin for builtin in (DIGITS, MNIST, FASHION_MNIST, CIFAR10)}


class FoundData(NamedTuple):
    """A built-in data set's arrays by split (None: one set, not split), and where they came from."""

    arrays: dict[str | None, Arrays]
    where: str


def load_builtin(builtin: BuiltIn, progress: DownloadProgress | None = None) -> FoundData:
    """The data set from the folder STRIATE_DATA, else from the cache folder, else downloaded into the cache folder.

    Raises DataError where a file is broken, and where it is neither there nor to be had.
    """
    if builtin.name == "digits":
        return FoundData({None: read_digits()}, "scikit-learn")
    found = next((read for folder in list_places(builtin) for read in list_readers(builtin, folder)), None)
    if found is None:
        folder = find_data_cache() / builtin.name
        download_builtin(builtin, folder, progress)
        found = next(list_readers(builtin, folder))
    return found()


def read_digits() -> Arrays:
    """The 1,797 handwritten digits of 8×8 pixels that scikit-learn ships; their levels 0 to 16 become 0 to 255.

    E. Alpaydin and C. Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
    """
    # Its file alone: to import scikit-learn takes longer than the training of a small net on the digits.
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        hint = 'pip install "striate[train]"'
        raise DataError("digits", say("the digits come with scikit-learn, which is not installed"), hint=hint)
    with gzip.open(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        rows = np.loadtxt(file, delimiter=",")
    return np.round(rows[:, :-1].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8), rows[:, -1].astype(np.int64)


def list_places(builtin: BuiltIn) -> list[Path]:
    """The folders that may hold the data set, in the order in which they are looked at."""
    given = os.environ.get("STRIATE_DATA")
    own = [Path(given) / folder for folder in builtin.folders] if given else []
    return [*own, find_data_cache() / builtin.name]


def find_data_cache() -> Path:
    """The folder for downloaded data sets, the platform's own (on Linux ~/.cache/striate/data)."""
    return Path(platformdirs.user_cache_dir("striate", appauthor=False)) / "data"


def list_readers(builtin: BuiltIn, folder: Path) -> Iterator[Callable[[], FoundData]]:
    """For each form of the data set that the folder holds, the function that reads it."""
    if builtin.name == "cifar10":
        for place in (folder / "cifar-10-batches-bin", folder / "cifar-10-binary.tar.gz"):
            if place.exists():
                yield partial(open_cifar10, place)
    elif all(paths := [find_idx_file(folder, published.name) for published in builtin.files]):
        yield partial(open_idx, folder, [path for path in paths if path])
    for place in (folder / f"{builtin.name}.npz", folder.with_name(f"{builtin.name}.npz")):
        if place.is_file():
            yield partial(open_found_npz, place)


def find_idx_file(folder: Path, name: str) -> Path | None:
    """The idx file, gzipped or not, if the folder has it."""
    return next((path for path in (folder / name, folder / name.removesuffix(".gz")) if path.is_file()), None)


def open_cifar10(place: Path) -> FoundData:
    splits = read_cifar10(place)
    return FoundData({"train": splits["train"], "test": splits["test"]}, str(place))


def open_found_npz(place: Path) -> FoundData:
    return FoundData({split: (x.read(), y) for split, (x, y) in read_npz(place)[0].items()}, str(place))


def open_idx(folder: Path, paths: list[Path]) -> FoundData:
    return FoundData(pair_idx_files(paths), str(folder))


def pair_idx_files(paths: list[Path]) -> dict[str | None, Arrays]:
    """Train and test from four idx files. Raises DataError where images and labels do not pair."""
    arrays = [read_idx(path) for path in paths]
    for k in (0, 2):
        if arrays[k].ndim != 3 or arrays[k].dtype != np.uint8:
            got = say("{shape} of {dtype}", shape="×".join(map(str, arrays[k].shape)), dtype=arrays[k].dtype)
            raise DataError(str(paths[k]), say("this file should hold images"), got=got, rule=say("N×H×W of uint8"))
        if arrays[k + 1].shape != arrays[k].shape[:1]:
            got = say("{labels} labels for {images} images", labels=len(arrays[k + 1]), images=len(arrays[k]))
            raise DataError(str(paths[k + 1]), say("there must be one label for each image"), got=got)
    train_x, train_y, test_x, test_y = arrays
    return {"train": (train_x[..., None], train_y), "test": (test_x[..., None], test_y)}


def download_builtin(
    builtin: BuiltIn, folder: Path, progress: DownloadProgress | None = None, seconds: float = 30
) -> None:
    """Download what is published into `folder`. Raises DataError, which names STRIATE_DATA as the way out."""
    for published in builtin.files:
        target = folder / published.name
        if not target.exists():
            try:
                urls = [mirror + published.name for mirror in builtin.mirrors]
                download_file(urls, target, published.sha256, progress, seconds)
            except UnreachableError as e:
                what = say(
                    "{name} is not on this machine and {file} could not be downloaded",
                    name=builtin.name,
                    file=published.name,
                )
                raise DataError(builtin.name, what, got=e.got, hint=explain_manual_download(builtin)) from None


def explain_manual_download(builtin: BuiltIn) -> str:
    """How to get the data set without striate's download."""
    given = os.environ.get("STRIATE_DATA")
    names = ", ".join(published.name for published in builtin.files)
    pickled = [Path(given) / f / n for f in builtin.folders for n in PICKLED] if given else []
    if builtin.name == "cifar10" and any(path.exists() for path in pickled):
        return say(
            "the Python version of CIFAR-10 is a pickle, which striate does not open: put {names} beside it",
            names=names,
        )
    place = f"{given or '$STRIATE_DATA'}/{builtin.folders[0]}/"
    if given:
        return say(
            "STRIATE_DATA is set and put {names} from {home} into {place}", names=names, home=builtin.home, place=place
        )
    return say(
        "set STRIATE_DATA to a folder and put {names} from {home} into {place}",
        names=names,
        home=builtin.home,
        place=place,
    )


PICKLED = ("cifar-10-batches-py", "cifar-10-python.tar.gz")
