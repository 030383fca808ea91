"""Values deeper than 8 bits: one scale a data set, chosen by its training images, kept, and applied everywhere."""

from __future__ import annotations

import http.client
import io
import struct
import threading
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import striate
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.data.read.decode import decode_image
from striate.data.read.depth import Depth, apply_depth, choose_depth
from striate.data.read.files import read_image_header
from striate.data.sources.load import load_dataset, load_images
from striate.data.store.cache import choose_cache_file
from striate.engines.model_file import Preprocess
from striate.errors import DataError
from striate.fitting.watch import Watch

tifffile = pytest.importorskip("tifffile", reason="the extra striate[deep] is not installed")
BITS12, BITS16 = Depth(0, 4095, True), Depth(0, 65535, True)


class Told(Watch):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def plan(self, lines: list[str]) -> None:
        self.lines += lines


def tiff(values: np.ndarray, **how) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, **how)
    return out.getvalue()


def png16(values: np.ndarray) -> bytes:
    """A 16-bit PNG of H×W×C, as the standard has it (W3C, 11.2): no filter, big-endian."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    h, w, c = values.shape
    head = struct.pack(">IIBBBBB", w, h, 16, {1: 0, 2: 4, 3: 2, 4: 6}[c], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def draw_stripes(count: int, most: int = 255, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures 12×12 of 0 to `most`: one class has lying stripes, the other standing ones."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    wave = (np.arange(12) // 3 + rng.integers(0, 2, (count, 1))) % 2
    x = np.where(y[:, None, None] == 0, wave[:, :, None], wave[:, None, :]) * 0.7 + rng.random((count, 12, 12)) * 0.3
    return (x * most).round().astype(np.uint16), y


def write_folder(folder: Path, values: np.ndarray, y: np.ndarray, split: str, kind: str = "png") -> None:
    for k, (image, label) in enumerate(zip(values, y, strict=True)):
        place = folder / split / ("lying", "standing")[label]
        place.mkdir(parents=True, exist_ok=True)
        if kind == "png":
            Image.fromarray(image).save(place / f"{k}.png")
        else:
            tifffile.imwrite(place / f"{k}.tif", image)


def make_folder(folder: Path, scale: int, kind: str = "png") -> Path:
    """The same pictures of 8 bits, times `scale`, in three splits."""
    dtype = np.uint8 if scale == 1 else np.uint16
    for seed, (split, count) in enumerate({"train": 60, "val": 12, "test": 20}.items()):
        x, y = draw_stripes(count, seed=seed)
        write_folder(folder, (x * scale).astype(dtype), y, split, kind)
    return folder


def train(data, out: Path, watch: Watch | None = None):
    net = Net((1, 12, 12), [L.Conv(4, 3), L.ReLU(), L.MaxPool(2), L.Flatten(), L.Dense(2)], name="small")
    return striate.train(data, net, out=out, epochs=15, batch=10, augment="none", watch=watch or Watch(), seed=3)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A folder of 12-bit pictures, a run on it, and what it told."""
    place, told = tmp_path_factory.mktemp("deep"), Told()
    folder = make_folder(place / "data", 16)
    return folder, train(folder, place / "run", told), told.lines


numbers = st.lists(st.integers(-70_000, 70_000), min_size=2, max_size=50)
depths = st.builds(
    lambda low, width, whole: Depth(low, low + width, whole),
    st.integers(-40_000, 40_000), st.integers(1, 70_000), st.booleans(),
)  # fmt: skip


@given(numbers, depths)
def test_a_larger_value_is_never_a_lower_level(values, depth):
    ordered = np.sort(np.array(values))
    levels = apply_depth(ordered, depth).astype(int)
    assert (np.diff(levels) >= 0).all()
    assert (levels[ordered <= depth.low] == 0).all() and (levels[ordered >= depth.high] == 255).all()


@given(st.sampled_from([8, 10, 12, 14, 16]))
def test_the_levels_share_the_values_of_a_bit_depth_equally(bits):
    values = np.arange(2**bits)
    levels = apply_depth(values, Depth(0, 2**bits - 1, True))
    assert (levels == values >> (bits - 8)).all() and (np.bincount(levels) == 2 ** (bits - 8)).all()


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from([8, 10, 12, 14, 16]), st.integers(1, 30))
def test_a_pixel_that_is_broken_does_not_move_the_scale(seed, bits, side):
    """Of images that fill their depth; also many black pixels do not."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.integers(2 ** (bits - 1), 2**bits, side * side + 3), np.zeros(5000, int)])
    chosen = choose_depth(values)
    assert chosen == Depth(0, 2**bits - 1, True)
    values[0] = 70_000
    assert choose_depth(values) == chosen


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.linspace(0, 1, 5000), (0, 1)),
        (np.linspace(0, 255, 5000), (0, 255)),
        (np.append(np.linspace(0, 1, 5000), [1e6, np.nan, np.inf]), (0, 1)),
        (np.linspace(-3, 3, 60_001), (-2.994, 2.994)),
        (np.zeros(10), (0, 1)),
    ],
)
def test_the_scale_of_floats(values, expected):
    found = choose_depth(values)
    assert found[:2] == pytest.approx(expected, abs=0.0011) and not found.whole


def test_nan_is_black_and_what_lies_beyond_is_clipped():
    values = np.array([np.nan, -np.inf, -1, 0.5, 2, np.inf], np.float32)
    assert apply_depth(values, Depth(0, 1, False)).tolist() == [0, 0, 0, 128, 255, 255]


@pytest.mark.parametrize("kind", ["png", "tiff", "big-endian", "deflate", "tiles", "planes"])
def test_gray_and_rgb_of_the_same_16_bit_content_are_decoded_alike(kind):
    """1000 was 62 in a gray file and 3 in an RGB one."""
    gray = np.random.default_rng(0).integers(0, 4096, (20, 30)).astype(np.uint16)
    gray[0, 0] = 1000
    rgb = np.stack([gray] * 3, 2)
    how = {"big-endian": {"byteorder": ">"}, "deflate": {"compression": "zlib"}, "tiles": {"tile": (16, 16)}}.get(
        kind, {}
    )
    if kind == "png":
        files = png16(gray[..., None]), png16(rgb)
    elif kind == "planes":
        files = tiff(gray), tiff(np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate")
    else:
        files = tiff(gray, **how), tiff(rgb, photometric="rgb", **how)
    one, three = decode_image(files[0], 1, depth=BITS12), decode_image(files[1], 3, depth=BITS12)
    assert one[0, 0, 0] == 1000 >> 4
    assert (one[..., 0] == gray >> 4).all() and (three == one).all()
    assert (decode_image(files[0], 1, depth=BITS16)[..., 0] == gray >> 8).all()
    assert (decode_image(files[1], 3, depth=BITS16) == rgb >> 8).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u2", "i2", "i4"])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3)])
def test_a_tiff_of_any_numbers_is_decoded_at_the_scale(dtype, shape):
    values = (np.random.default_rng(1).random(shape) * 100).astype(dtype)
    file = tiff(values, photometric="rgb" if len(shape) == 3 else "minisblack")
    whole = values.dtype.kind != "f"
    wanted = values.astype(float) * 2.55 + 0.5
    found = decode_image(file, 3 if len(shape) == 3 else 1, depth=Depth(0, 100, whole))
    assert (np.abs(found.reshape(shape) - np.floor(wanted)) <= (0 if whole else 1e-9)).all()
    header = read_image_header(file, "x.tif")
    assert (header.height, header.width, header.bands) == (9, 7, 1 if len(shape) == 2 else 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_colour_pfm_is_read_with_its_bottom_row_first(order):
    values = np.random.default_rng(2).random((4, 5, 3)).astype(np.float32)
    head = b"PF\n5 4\n" + (b"-1.0\n" if order == "<" else b"1.0\n")
    file = head + values[::-1].astype(f"{order}f4").tobytes()
    found = decode_image(file, 3, depth=Depth(0, 1, False))
    assert (found == np.floor(values * 255 + np.float32(0.5))).all()
    with pytest.raises(DataError, match="PFM file is broken or truncated"):
        decode_image(file[:-30], 3)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_the_orientation_of_a_tiff_is_applied_at_any_depth(turn, dtype):
    """The oracle is Pillow's own exif_transpose of the same pixels as an 8-bit picture."""
    levels = np.random.default_rng(3).integers(0, 256, (5, 8)).astype(np.uint8)
    file = tiff(levels.astype(dtype), extratags=[(274, 3, 1, turn, False)])
    from PIL import ImageOps

    plain = Image.fromarray(levels)
    plain.getexif()[274] = turn
    wanted = np.asarray(ImageOps.exif_transpose(plain))
    found = decode_image(file, 1, depth=Depth(0, 255, dtype != "float64"))[..., 0]
    assert found.shape == wanted.shape and (found == wanted).all()
    header = read_image_header(file, "x.tif")
    assert (header.height, header.width) == wanted.shape


def test_transparency_of_16_bits_is_composited():
    rng = np.random.default_rng(4)
    gray, alpha = rng.integers(0, 65536, (2, 6, 7)).astype(np.uint16)
    for values in (np.stack([gray, alpha], 2), np.stack([gray] * 3 + [alpha], 2)):
        found = decode_image(png16(values), 3, depth=BITS16).astype(float)
        share = (alpha >> 8)[..., None] / 255
        wanted = (gray >> 8)[..., None] * share + 255 * (1 - share)
        assert np.abs(found - wanted).max() <= 1


def test_an_8_bit_file_is_taken_as_it_is_at_any_scale():
    levels = np.random.default_rng(5).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(levels).save(out, "PNG")
    assert (decode_image(out.getvalue(), 3, depth=BITS12) == levels).all()


@pytest.mark.parametrize("quality", [40, 95])
def test_a_jpeg_without_its_end_marker_is_decoded_and_a_truncated_one_is_not(quality):
    y, x = np.mgrid[0:70, 0:90]
    picture = Image.fromarray(np.stack([x * 2, y * 3, (x * y) % 251], 2).astype(np.uint8))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    whole = out.getvalue()
    assert (decode_image(whole[:-2], 3) == decode_image(whole, 3)).all()
    for cut in (4, 5, 8, 20, 100, len(whole) // 2):
        with pytest.raises(DataError, match="truncated"):
            decode_image(whole[:-cut], 3)


def test_the_plan_the_note_and_the_model_file_say_the_scale(deep):
    folder, run, lines = deep
    assert lines[0] == "read as: class folders in train/, val/ and test/, 92 images, 12-bit gray"
    note = "values from 0 to 4095 become 0 to 255 (12-bit), as chosen by 60 training files"
    assert [line for line in lines if line.startswith(note)]
    assert run.model.preprocess.depth == (0, 4095, True)
    assert striate.load(run.folder).preprocess.depth == (0, 4095, True)
    assert str(striate.check(folder)).splitlines()[0] == lines[0]


def test_a_pixel_beyond_the_scale_costs_no_accuracy(deep, tmp_path):
    """One pixel of 4096 in each of the test pictures: the accuracy fell from 66.7 to 33.3 %."""
    _, run, _ = deep
    x, y = draw_stripes(60, seed=9)
    x = x.astype(np.uint16) * 16
    x[:, 0, 0] = 4095
    write_folder(tmp_path / "before", x, y, "test")
    x[:, 0, 0] = 4096
    write_folder(tmp_path / "after", x, y, "test")
    before, after = (run.model.evaluate(tmp_path / name) for name in ("before", "after"))
    assert before.images == after.images == 60
    assert (before.accuracy, before.loss) == (after.accuracy, after.loss)
    assert before.accuracy > 0.8


def test_the_scale_is_that_of_the_training_images(tmp_path):
    """Test pictures that are darker than those stay darker."""
    x, y = draw_stripes(40)
    write_folder(tmp_path, x * 16, y, "train")
    write_folder(tmp_path, x * 2, y, "test")
    data = load_dataset(tmp_path)
    assert data.depth == BITS12
    assert data.test is not None and data.test.x.max() == x.max() * 2 >> 4
    seen = load_images(tmp_path, data.classes, depth=data.depth)
    assert (seen.x == data.test.x).all()


@pytest.mark.parametrize("scale", [16, 257])
def test_the_same_pictures_at_any_depth_train_the_same_model_bit_for_bit(scale, tmp_path):
    models = [train(make_folder(tmp_path / str(k), k), tmp_path / f"run{k}").model for k in (1, scale)]
    assert models[0].preprocess.depth is None
    assert msgspec.structs.replace(models[1].preprocess, depth=None) == models[0].preprocess
    for name, tensor in models[0].tensors.items():
        assert np.array_equal(models[1].tensors[name], tensor), name


def test_what_begins_with_the_weights_of_a_run_keeps_its_scale(deep, tmp_path):
    """The new pictures would have 14 bits of their own; the weights know 12."""
    _, run, _ = deep
    x, y = draw_stripes(60, seed=5)
    write_folder(tmp_path / "data", x * 64, y, "train")
    assert load_dataset(tmp_path / "data").depth == Depth(0, 16383, True)
    more = striate.train(tmp_path / "data", weights=run.folder, out=tmp_path / "run", epochs=1, watch=Watch())
    assert more.model.preprocess.depth == (0, 4095, True)


def test_labels_are_judged_by_trainings_at_the_scale_of_the_run(deep, monkeypatch):
    folder, run, _ = deep
    seen = []

    def load(source, **options):
        seen.append(load_dataset(source, **options))
        return seen[-1]

    monkeypatch.setattr("striate.data.sources.load.load_dataset", load)
    x, y = draw_stripes(60, seed=6)  # of 14 bits by themselves
    doubts = striate.label_errors((x * 64, np.array(["lying", "standing"])[y]), run.folder, parts=2, watch=Watch())
    assert doubts.judged == 60 and [data.depth for data in seen] == [BITS12]
    assert seen[0].train.x.max() == 255 and np.median(seen[0].train.x) == 255  # what lies beyond is clipped


def test_model_exported_file_and_service_agree_on_12_bit_files(deep, tmp_path):
    folder, run, _ = deep
    parity = striate.export(run.model, tmp_path / "model.onnx", data=folder)
    assert parity is not None
    exported = striate.load(tmp_path / "model.onnx")
    assert exported.preprocess.depth == (0, 4095, True)
    files = sorted((folder / "test").rglob("*.png"))
    mine, its = run.model.predict(files), exported.predict(files)
    assert [row.label for row in its] == [row.label for row in mine]
    assert [row.probability for row in its] == pytest.approx([row.probability for row in mine], abs=1e-5)
    arrays = [np.asarray(Image.open(file)) for file in files]
    assert [row.probability for row in exported.predict(arrays)] == [row.probability for row in its]
    assert exported.evaluate(folder).accuracy == run.model.evaluate(folder).accuracy > 0.8
    assert ask_service(tmp_path / "model.onnx", files[0]) == pytest.approx(its[0].probability, abs=1e-6)


def ask_service(model: Path, file: Path) -> float:
    """The probability of the best class, from a service in a thread of this process."""
    pytest.importorskip("fastapi", reason="the extra striate[serve] is not installed")
    import time

    from striate.serve.server import make_server, open_socket
    from striate.serve.settings import Access, Limits, list_usual_hosts

    with open_socket("127.0.0.1", 0) as place:
        server = make_server(model, "127.0.0.1", 0, Limits(), Access(hosts=list_usual_hosts("127.0.0.1")))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            until = time.monotonic() + 20
            while not server.started and thread.is_alive() and time.monotonic() < until:
                time.sleep(0.01)
            connection = http.client.HTTPConnection("127.0.0.1", place.getsockname()[1], timeout=20)
            connection.request("POST", "/predict", file.read_bytes(), {"Content-Type": "image/png"})
            answer = msgspec.json.decode(connection.getresponse().read())
            connection.request("GET", "/model")
            assert msgspec.json.decode(connection.getresponse().read())["preprocess"]["depth"] == [0, 4095, True]
            connection.close()
        finally:
            server.should_exit = True
            thread.join()
    return answer["probability"]


@pytest.mark.parametrize("level", ["mapped", "streamed"])
def test_pixels_on_disk_are_those_in_memory(level, deep, tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    folder, _, _ = deep
    if level == "streamed":  # no room for any on disk
        monkeypatch.setattr("striate.data.store.cache.count_fitting_rows", lambda rows, size: 0)
    here, there = load_dataset(folder), load_dataset(folder, level=level)
    assert there.depth == here.depth == BITS12
    assert (there.train.x[:] == here.train.x).all() and there.fingerprint == here.fingerprint


def test_the_cache_knows_the_scale():
    places = {choose_cache_file([], (8, 8), 1, "pad", depth) for depth in (None, BITS12, BITS16)}
    assert len(places) == 3


@pytest.mark.parametrize("dtype, low, high", [("uint16", 0, 4000), ("int32", -1000, 3000), ("float32", -2.0, 5.0)])
@pytest.mark.parametrize("kind", ["pair", "npz", "npy"])
def test_arrays_of_any_numbers_have_the_scale_of_those_to_train_on(dtype, low, high, kind, tmp_path):
    rng = np.random.default_rng(6)
    x = (rng.random((50, 8, 8)) * (high - low) + low).astype(dtype)
    y = np.arange(50) % 2
    source = x, y
    if kind == "npz":
        np.savez(tmp_path / "x.npz", x=x, y=y)
        source = tmp_path / "x.npz"
    elif kind == "npy":
        np.save(tmp_path / "x.npy", x)
        source = tmp_path / "x.npy", y
    data = load_dataset(source, test_share=0)
    assert data.depth == choose_depth(x) and data.depth.whole == (dtype != "float32")
    assert any(note.startswith("numbers from ") for note in data.notes)
    dark = (x.astype(float) / 4).astype(dtype)
    seen = load_images((dark, y), data.classes, depth=data.depth)
    assert (seen.x[..., 0] == apply_depth(dark, data.depth)).all()


def test_arrays_are_evaluated_and_predicted_as_they_were_trained(tmp_path):
    x, y = draw_stripes(120, most=4000)
    run = train((x, y), tmp_path / "run")
    depth = Depth(*run.model.preprocess.depth)
    assert depth == BITS12
    levels = apply_depth(x, depth)[..., None]
    held = load_dataset((levels, y), seed=3).test  # the same split of pictures that have 8 bits already
    assert held is not None and (run.model.images((x, y)).x == held.x).all()
    assert run.model.evaluate((x, y)).accuracy == run.model.evaluate(held).accuracy > 0.8
    rows = run.model.predict(list(x[:6]))
    assert [row.probability for row in rows] == pytest.approx(run.model.probabilities(levels[:6]).max(1).tolist())
    with pytest.raises(DataError, match="uint8 array"):
        run.model.predict(x[0].astype(np.float32))


def test_a_set_of_both_depths_says_so(tmp_path):
    x, y = draw_stripes(40)
    write_folder(tmp_path, x[:30] * 16, y[:30], "train")
    for k in range(10):
        Image.fromarray(x[k].astype(np.uint8)).save(tmp_path / "train" / ("lying", "standing")[y[k]] / f"b{k}.png")
    data = load_dataset(tmp_path)
    assert any("; beside them 10 files of 8 bits, taken as they are" in note for note in data.notes)
    assert (data.depth, data.train.x.max() > 240) == (BITS12, True)


def test_floats_beside_whole_numbers_keep_a_scale_of_their_own(tmp_path):
    x, y = draw_stripes(40)
    write_folder(tmp_path, x[:30] * 16, y[:30], "train")
    for k in range(10):
        place = tmp_path / "train" / ("lying", "standing")[y[k]]
        tifffile.imwrite(place / f"f{k}.tif", (x[k] / 255).astype(np.float32))
    data = load_dataset(tmp_path)
    assert any("; and 10 files of floats, scaled by" in note for note in data.notes)
    shown = dict(zip(data.train.files, data.train.x[..., 0], strict=True))
    floats = [k for k in range(10) if str(Path("train", ("lying", "standing")[y[k]], f"f{k}.tif")) in shown]
    assert floats
    for k in floats:
        assert (shown[str(Path("train", ("lying", "standing")[y[k]], f"f{k}.tif"))] == x[k]).all()


def test_a_model_without_a_scale_reads_deep_files_as_it_did():
    """Models that were trained before there was one: each file by its own largest value, 16 bits in 65535ths."""
    values = np.array([[0, 32768, 65535]], np.uint16)
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    assert decode_image(out.getvalue(), 1).ravel().tolist() == [0, 128, 255]
    assert Preprocess((8, 8), "pad", (0.5,), (0.5,)).depth is None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands, kind", [(2, "minisblack"), (4, "rgb"), (5, "rgb"), (5, "minisblack")])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_no_band_is_dropped_without_a_word(dtype, bands, kind, planes, tmp_path):
    """Of four bands three were read, and of two one: now all of them, or an error."""
    values = np.random.default_rng(8).integers(0, 200, (9, 7, bands)).astype(dtype)
    more = ["unspecified"] * (bands - (3 if kind == "rgb" else 1))
    laid = values if planes == "contig" else np.moveaxis(values, 2, 0)
    file = tmp_path / "x.tif"
    tifffile.imwrite(file, laid, photometric=kind, planarconfig=planes, extrasamples=more)
    for channels in (1, 3):
        with pytest.raises(DataError, match="the network takes images") as refused:
            decode_image(file, channels, depth=Depth(0, 255, dtype != "float32"))
        assert refused.value.got == f"an image with {bands} bands"
    found = decode_image(file, bands, depth=Depth(0, 255, dtype != "float32"))
    assert np.array_equal(found, values)
    header = read_image_header(file, "x.tif")
    assert (header.height, header.width, header.bands, header.alpha) == (9, 7, bands, False)


def test_a_band_that_is_marked_as_alpha_is_composited_and_not_refused():
    values = np.random.default_rng(9).integers(0, 256, (9, 7, 4)).astype(np.uint8)
    file = tiff(values, photometric="rgb", extrasamples=["unassalpha"])
    share = values[..., 3:] / 255
    assert np.abs(decode_image(file, 3) - (values[..., :3] * share + 255 * (1 - share))).max() <= 1


def test_the_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tifffile", None)
    file = tiff(np.zeros((4, 4), np.float64))
    with pytest.raises(DataError, match="needs the package tifffile") as refused:
        decode_image(file, 1)
    assert refused.value.hint == 'pip install "striate[deep]"'
