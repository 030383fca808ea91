"""Images of two bands, or of more than three, and transparency as a channel: from the file to the exported network."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import striate
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.data.images import measure_channels
from striate.data.read.decode import decode_image, decode_to_show, read_image
from striate.data.read.depth import Depth, apply_depth
from striate.data.read.resize import FITS, resize_image
from striate.data.reading import Reading
from striate.data.sources.array_formats import are_bands_first
from striate.data.sources.load import load_dataset
from striate.engines.plain import draw_tensors
from striate.errors import DataError, ModelError, RecipeError
from striate.fitting.watch import Watch
from striate.inside.trace import trace_value
from striate.studio.living_page import write_living_page
from striate.studio.look import Lens

ALPHA = Reading(alpha="channel")


def draw_bands(bands, seed=0, shape=(9, 7), dtype="uint8", most=256):
    return np.random.default_rng(seed).integers(0, most, (*shape, bands)).astype(dtype)


def write_tiff(file, values, **how):
    tifffile.imwrite(file, values, photometric="minisblack", planarconfig="contig", **how)


def make_folder(folder, write, bands=4, count=24, seed=0):
    """Two classes, alike in all bands but the last, which is bright in one and dark in the other."""
    draw = np.random.default_rng(seed)
    for label, level in (("wet", 40), ("dry", 200)):
        (folder / label).mkdir(parents=True)
        for k in range(count):
            values = draw.integers(60, 180, (12, 12, bands)).astype(np.uint8)
            values[..., -1] = draw.integers(level - 30, level + 30, (12, 12))
            write(folder / label / f"{k}", values)
    return folder


def write_npy(stem, values):
    np.save(stem.with_suffix(".npy"), values)


def write_band_tiff(stem, values):
    write_tiff(stem.with_suffix(".tif"), values)


def write_rgba(stem, values):
    Image.fromarray(values).save(stem.with_suffix(".png"))


@pytest.mark.parametrize("bands", [2, 4, 5, 13])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_bands_are_read_as_they_lie_from_tiff_and_npy_alike(tmp_path, bands, dtype):
    values = draw_bands(bands, dtype=dtype, most=200)
    depth = Depth(0, 255, dtype != "float32")
    wanted = values if dtype == "uint8" else apply_depth(values, depth)
    write_tiff(tmp_path / "x.tif", values)
    np.save(tmp_path / "x.npy", values)
    for name in ("x.tif", "x.npy"):
        assert np.array_equal(decode_image(tmp_path / name, bands, depth=depth), wanted)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 6), st.integers(1, 30), st.integers(1, 30), st.sampled_from(FITS), st.integers(0, 99))
def test_each_band_is_resized_as_a_gray_image_of_its_own(bands, height, width, fit, seed):
    image = draw_bands(bands, seed, (height, width))
    found = resize_image(image, (11, 8), fit)
    for k in range(bands):
        assert np.array_equal(found[..., k], resize_image(image[..., k : k + 1], (11, 8), fit)[..., 0])
    if bands == 3:
        assert np.array_equal(found, np.array(resize_image(image, (11, 8), fit)))


@pytest.mark.parametrize("mode, channels", [("RGBA", 4), ("LA", 2)])
def test_transparency_is_a_channel_with_the_colours_under_it_as_they_are(mode, channels):
    values = draw_bands(channels, 3)
    out = io.BytesIO()
    Image.fromarray(values, mode).save(out, "PNG")
    assert np.array_equal(decode_image(out.getvalue(), channels, alpha=True), values)
    resized = read_image(out.getvalue(), (5, 4), "squash", channels, alpha=True)
    assert np.array_equal(resized, resize_image(values, (5, 4), "squash"))


def test_an_opaque_image_among_transparent_ones_has_an_opaque_channel():
    values = draw_bands(3, 4)
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    found = decode_image(out.getvalue(), 4, alpha=True)
    assert np.array_equal(found, np.dstack([values, np.full((9, 7), 255)]))


def test_a_palette_with_a_transparent_colour_has_a_channel_of_transparency():
    gray = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    gray.putpalette([10, 20, 30, 40, 50, 60])
    out = io.BytesIO()
    gray.save(out, "PNG", transparency=1)
    found = decode_image(out.getvalue(), 4, alpha=True)
    assert found.reshape(4, 4).tolist() == [[10, 20, 30, 255], [40, 50, 60, 0], [40, 50, 60, 0], [10, 20, 30, 255]]


def test_sixteen_bits_with_transparency_have_one_scale_and_a_channel(tmp_path):
    values = draw_bands(4, 5, dtype="uint16", most=4096)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    found = decode_image(tmp_path / "x.tif", 4, alpha=True, depth=Depth(0, 4095, True))
    assert np.array_equal(found[..., :3], values[..., :3] >> 4)


@pytest.mark.parametrize("write", [write_band_tiff, write_npy, write_rgba])
def test_what_only_the_last_band_tells_is_learnt_predicted_evaluated_and_exported(tmp_path, write):
    alpha = {"alpha": "channel"} if write is write_rgba else {}
    data = make_folder(tmp_path / "fields", write)
    run = striate.train(
        data, "lenet5", out=tmp_path / "run", epochs=12, batch=8, size=16, seed=1, watch=Watch(), **alpha
    )
    model, report = run.model, run.report
    assert (model.net.input[0], report.accuracy) == (4, 1.0)
    fresh = make_folder(tmp_path / "fresh", write, seed=9)
    files = sorted(fresh.rglob("*.*"))
    predicted = model.predict(files)
    assert [p.label for p in predicted] == [file.parent.name for file in files]
    assert model.evaluate(fresh).accuracy == 1.0
    parity = striate.export(model, tmp_path / "fields.onnx", data=fresh)  # raises where an answer differs
    assert parity.own is not None
    shipped = striate.load(tmp_path / "fields.onnx")
    for mine, own in zip(shipped.predict(files), predicted, strict=True):
        assert mine.label == own.label and abs(mine.probability - own.probability) < 1e-4
    levels = decode_image(files[0], 4, alpha=bool(alpha))
    assert np.array_equal(model.prepared(files[0]), resize_image(levels, (16, 16)))
    assert model.predict(levels).label == predicted[0].label


def test_mean_and_deviation_are_each_bands_own():
    x = draw_bands(5, 6, (40, 8, 8)) // np.array([1, 2, 3, 4, 5], np.uint8)
    run_data = load_dataset((x, np.arange(40) % 2))
    assert run_data.shape == (5, 8, 8)
    mean, std = measure_channels(run_data.train.x)
    own = run_data.train.x.reshape(-1, 5) / 255
    assert np.allclose(mean, own.mean(0)) and np.allclose(std, own.std(0))


def test_a_trace_goes_down_to_the_pixel_of_any_band():
    net = Net((5, 6, 6), [L.Conv(3, 3), L.ReLU(), L.Flatten(), L.Dense(2)])
    tensors = draw_tensors(net, 0)
    x = np.random.default_rng(0).normal(size=(5, 6, 6))
    found = trace_value(net, tensors, x, net.steps[0].path, 0, 2, 2)
    weight = tensors[f"{net.steps[0].path}.weight"][0]
    assert found.value == pytest.approx((weight * x[:, 2:5, 2:5]).sum() + tensors[f"{net.steps[0].path}.bias"][0])


@pytest.mark.parametrize("bands, shown", [(2, [0, 0, 0]), (5, [0, 1, 2])])
def test_what_people_look_at_is_the_first_three_bands_or_the_first(tmp_path, bands, shown):
    values = draw_bands(bands)
    write_tiff(tmp_path / "x.tif", values)
    assert np.array_equal(np.asarray(decode_to_show(tmp_path / "x.tif")), values[..., shown])


def test_check_tells_of_the_bands_and_finds_what_is_alike(tmp_path):
    folder = make_folder(tmp_path / "fields", write_band_tiff, bands=6, count=4)
    (folder / "dry" / "again.tif").write_bytes((folder / "dry" / "0.tif").read_bytes())
    audit = striate.check(folder)
    assert "9 images, 8-bit with 6 bands" in str(audit)
    assert [sorted(same.files) for same in audit.same] == [["dry/0.tif", "dry/again.tif"]]


def test_images_that_differ_in_their_bands_are_refused(tmp_path):
    folder = make_folder(tmp_path / "fields", write_band_tiff, bands=4, count=3)
    write_tiff(folder / "dry" / "odd.tif", draw_bands(5))
    with pytest.raises(DataError, match="differ in the number of their bands") as refused:
        load_dataset(folder, size=(8, 8))
    assert refused.value.got in ("dry/0.tif 4, dry/odd.tif 5", "dry/odd.tif 5, dry/0.tif 4")


def test_a_network_for_other_bands_names_what_it_takes_and_what_it_got(tmp_path):
    folder = make_folder(tmp_path / "fields", write_band_tiff, bands=4, count=12)
    run = striate.train(folder, "lenet5", out=tmp_path / "run", epochs=1, size=16, watch=Watch())
    Image.fromarray(draw_bands(3)).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match="the network takes images with 4 bands") as refused:
        run.model.predict(tmp_path / "rgb.png")
    assert refused.value.got == "an image RGB"
    Image.fromarray(draw_bands(4)).save(tmp_path / "rgba.png")  # its fourth is transparency, not near infrared
    with pytest.raises(DataError, match="the network takes images with 4 bands"):
        run.model.predict(tmp_path / "rgba.png")
    with pytest.raises(DataError, match="a uint8 array H×W×4"):
        run.model.predict(draw_bands(5))


def test_transparency_is_asked_for_where_there_is_none(tmp_path):
    folder = make_folder(tmp_path / "fields", write_rgba, bands=3, count=6)
    with pytest.raises(DataError, match="no image has a transparency to be a channel") as refused:
        load_dataset(folder, reading=ALPHA)
    assert refused.value.hint == "leave out --alpha channel"
    assert load_dataset(folder).shape[0] == 3
    with pytest.raises(DataError, match="these images have no transparency to be a channel"):
        load_dataset((np.zeros((40, 8, 8, 3), np.uint8), np.arange(40) % 2), reading=ALPHA)


def test_published_networks_take_rgb_and_are_not_chosen_for_other_bands(tmp_path):
    folder = tmp_path / "large"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for k in range(8):
            write_tiff(folder / label / f"{k}.tif", draw_bands(4, k, (90, 90)))
    from striate.data.reading import USUAL_READING
    from striate.runs.asking import choose_default_preset
    from striate.runs.presets import find_photographs

    assert find_photographs(folder)
    preset, why = choose_default_preset(folder, USUAL_READING, None, {})
    assert (preset, why) == (None, "from scratch, since the images come with 4 bands, and published networks take RGB")
    with pytest.raises(DataError, match="the network takes images RGB"):
        striate.train(folder, preset="transfer", out=tmp_path / "run")
    with pytest.raises(RecipeError, match="published networks take RGB"):
        striate.train(folder, preset="transfer", alpha="channel", out=tmp_path / "run")


@pytest.mark.parametrize(
    "values, message",
    [
        (np.zeros((4, 30, 30), np.uint8), "the bands of this array come first"),
        (np.zeros((2, 3, 4, 5), np.uint8), "this array is not one image"),
        (np.full((9, 9, 4), np.nan), "pixels are finite numbers"),
        (np.array(["a"]), "this array is not one image"),
    ],
)
def test_an_array_file_that_is_no_image_says_what_one_is(tmp_path, values, message):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(DataError, match=message) as refused:
        decode_image(tmp_path / "x.npy", 4)
    if "first" in message:
        space = {"numpy": np, "file": tmp_path / "x.npy", "x": values}
        exec(refused.value.hint, space)  # the hint does what it says
        assert decode_image(tmp_path / "x.npy", 4).shape == (30, 30, 4)


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        decode_image(tmp_path / "x.npy", 4)


@given(st.tuples(*[st.integers(1, 70)] * 4))
def test_only_channels_that_come_first_are_taken_for_such(shape):
    n, a, b, c = shape
    if are_bands_first(shape):
        assert a < c or a in (1, 3)
    if c in (1, 3) or (a == b > 3):
        assert not are_bands_first(shape)


def test_arrays_with_channels_first_are_refused_with_the_turn_that_mends_them():
    x = np.zeros((20, 4, 32, 32), np.uint8)
    with pytest.raises(DataError, match="these are not images") as refused:
        load_dataset((x, np.arange(20) % 2))
    mended = eval(refused.value.hint, {"x": x})
    assert load_dataset((mended, np.arange(20) % 2)).shape == (4, 32, 32)


def test_splits_of_arrays_that_differ_in_their_bands_are_refused(tmp_path):
    x, y = draw_bands(4, 1, (30, 8, 8)), np.arange(30) % 2
    np.savez(tmp_path / "x.npz", x_train=x, y_train=y, x_test=x[..., :2], y_test=y)
    with pytest.raises(DataError, match="the splits differ in the number of their bands"):
        load_dataset(tmp_path / "x.npz")


@pytest.mark.parametrize("names", [("colour",), ("trivialaugment",), ("flip", "shift", "affine", "crop", "cutout")])
def test_every_augmentation_takes_any_number_of_bands(names):
    import torch

    from striate.fitting.augment import augment_images

    for bands in (2, 4, 6):
        x = torch.from_numpy(draw_bands(bands, 2, (64, 9, 9)))
        made = augment_images(x, names, torch.Generator().manual_seed(0))
        assert made.shape == x.shape and torch.isfinite(made.float()).all()


def test_saturation_of_other_bands_draws_towards_their_mean():
    import torch

    from striate.fitting.pixels import jitter_colour

    x = draw_bands(4, 3, (2, 5, 5))
    one, none = torch.ones(2), torch.zeros(2)
    found = jitter_colour(torch.from_numpy(x), one, one, none).numpy()
    assert np.allclose(found, np.broadcast_to(x.mean(3, keepdims=True), x.shape), atol=1e-3)


def test_a_model_file_whose_alpha_does_not_fit_its_channels_is_refused(tmp_path):
    from striate.engines.model_file import ModelHeader, Preprocess, check_model_header

    net = Net((3, 8, 8), [L.Flatten(), L.Dense(2)])
    pre = Preprocess((8, 8), "pad", (0.5,) * 3, (0.5,) * 3, alpha=True)
    with pytest.raises(ModelError, match=r"preprocess\.alpha"):
        check_model_header(ModelHeader(net=net, classes=("a", "b"), preprocess=pre), "x")


def test_decoded_on_disk_and_streamed_bands_are_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = make_folder(tmp_path / "fields", write_rgba)
    kept = [load_dataset(folder, reading=ALPHA, level=level) for level in ("resident", "mapped", "streamed")]
    assert kept[0].shape == (4, 12, 12)
    for other in kept[1:]:
        assert np.array_equal(other.train.x[:], kept[0].train.x)
    composited = load_dataset(folder, level="mapped", channels=3)
    assert composited.shape == (3, 12, 12)


def test_everything_that_looks_inside_takes_other_bands(tmp_path):
    folder = make_folder(tmp_path / "fields", write_band_tiff, bands=5)
    run = striate.train(folder, "lenet5", out=tmp_path / "run", epochs=1, size=16, watch=Watch())
    model, file, side = run.model, folder / "wet" / "0.tif", (16, 16)
    assert "data:image/png" in (run.folder / "report.html").read_text("utf-8")
    traced = model.trace(file, "conv1", 0, 3, 3, depth=None)
    assert "image[4," in str(traced) or "image[" in str(traced)
    assert model.features(file)[0].maps.shape[0] == model.net.steps[0].y[0]
    assert model.filters().weights.shape[1] == 5
    for method in ("grad-cam", "occlusion", "integrated-gradients"):
        assert model.attribution(file, method=method).values.shape == side
    assert model.dream("conv1", [0], steps=2).images[0].shape[2] == 5
    assert 0 <= model.ablate(folder).accuracy <= 1
    with pytest.raises(ModelError, match="gray or RGB images alone") as refused:
        write_living_page(model, tmp_path / "page.html", str(file))
    assert "striate studio" in str(refused.value)
    assert Lens(model).look(file)


def test_a_filter_by_hand_takes_what_can_be_seen_of_other_bands(tmp_path):
    from typer.testing import CliRunner

    from striate.cli import app

    write_tiff(tmp_path / "x.tif", draw_bands(5, 1, (12, 12)))
    done = CliRunner().invoke(app, ["filter", str(tmp_path / "x.tif"), "--out", str(tmp_path / "out.png")])
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.width > 12


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_beside_pictures_are_their_masks_and_no_pictures(tmp_path, packed):
    import shutil

    from striate.data.sources.folder import list_image_files
    from striate.data.sources.load import list_source

    folder = make_folder(tmp_path / "fields", write_rgba, bands=3, count=6)
    for file in list(folder.rglob("*.png")):
        np.save(file.with_suffix(".npy"), np.zeros((12, 12), bool))
    source = Path(shutil.make_archive(str(tmp_path / "fields"), "zip", folder)) if packed else folder
    found = list_source(source)
    assert {Path(entry.file).suffix for entry in found.entries} == {".png"}
    assert found.ignored["files that are not images"] == 12
    assert {Path(name).suffix for name in list_image_files([str(folder)])} == {".png"}
    for file in folder.rglob("*.png"):
        file.unlink()
    assert {Path(name).suffix for name in list_image_files([str(folder)])} == {".npy"}
    assert len(list_source(folder).entries) == 12


@pytest.mark.parametrize(
    "suffixes, image",
    [(["npy", "jpg", "cls"], "jpg"), (["mask.npy", "png"], "png"), (["cls", "npy"], "npy"), (["cls"], None)],
)
def test_a_samples_image_is_its_picture_before_an_array(suffixes, image):
    from striate.data.sources.shards import find_image_suffix

    assert find_image_suffix(suffixes) == image


def test_a_tables_name_without_suffix_is_the_picture_and_not_its_mask(tmp_path):
    from striate.data.sources.load import list_source

    for k in range(12):
        Image.fromarray(draw_bands(3, k)).save(tmp_path / f"{k}.png")
        np.save(tmp_path / f"{k}.npy", np.zeros((9, 7), bool))
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{k},{'ab'[k % 2]}\n" for k in range(12)))
    assert {Path(entry.file).suffix for entry in list_source(tmp_path / "labels.csv").entries} == {".png"}
