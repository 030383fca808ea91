"""One decoding policy: each kind of file that a real folder holds, and what becomes of it."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from striate.data.read.colour import convert_levels
from striate.data.read.decode import IMAGE_SUFFIXES, MAX_PIXELS, decode_image, read_image
from striate.data.read.quiet import silence_pillow
from striate.data.read.resize import BAR_LEVEL, place_image, resize_image
from striate.errors import DataError

CORNERS = np.array(
    [[[10, 20, 30], [200, 40, 60], [70, 180, 90]], [[15, 25, 235], [120, 130, 140], [250, 240, 5]]], np.uint8
)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def photo(height: int, width: int) -> Image.Image:
    """A smooth colour picture."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [np.sin(x / 37 + k) + np.cos(y / 29 - k) for k in range(3)]
    return Image.fromarray(np.stack([(60 * wave + 128).clip(0, 255) for wave in waves], -1).astype(np.uint8))


def shown(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a viewer shows: where the stored first row and first column belong, as TIFF 6.0 page 36 tells it."""
    across = {
        1: pixels,  # row 0 is the top, column 0 the left side
        2: pixels[:, ::-1],  # top, right
        3: pixels[::-1, ::-1],  # bottom, right
        4: pixels[::-1],  # bottom, left
        5: pixels.swapaxes(0, 1),  # left side, top
        6: pixels.swapaxes(0, 1)[:, ::-1],  # right side, top
        7: pixels.swapaxes(0, 1)[::-1, ::-1],  # right side, bottom
        8: pixels.swapaxes(0, 1)[::-1],  # left side, bottom
    }
    return across[orientation]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_is_applied_pixel_by_pixel(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    file = encoded(Image.fromarray(CORNERS), kind, exif=exif, **lossless)
    np.testing.assert_array_equal(decode_image(file, 3), shown(CORNERS, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_decoded_at_reduced_scale_is_turned_too(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = photo(480, 640)
    file = encoded(picture, "JPEG", quality=95, exif=exif)
    upright = np.ascontiguousarray(shown(np.asarray(picture), orientation))
    expected = resize_image(upright, (40, 60), "squash")
    assert np.abs(read_image(file, (40, 60), "squash").astype(int) - expected).max() <= 6


def test_a_turned_jpeg_is_reduced_by_its_sides_as_they_are_seen():
    """Stored 200 high and seen 200 wide: at 100 wide its stripes must survive, though it is 1600 the other way."""
    stripes = np.where(np.arange(200) // 4 % 2, 230, 20).astype(np.uint8)
    upright = np.tile(stripes, (1600, 1))[:, :, None].repeat(3, 2)
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored picture is turned clockwise to be seen
    file = encoded(Image.fromarray(np.rot90(upright).copy()), "JPEG", quality=95, exif=exif)
    np.testing.assert_allclose(
        read_image(file, (20, 100), "squash").astype(int), resize_image(upright, (20, 100), "squash"), atol=8
    )


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_is_none_of_the_eight_changes_nothing(value):
    exif = Image.Exif()
    exif[0x0112] = value
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(CORNERS), exif=exif), 3), CORNERS)


def test_a_broken_exif_block_does_not_lose_the_image():
    file = encoded(Image.fromarray(CORNERS), exif=b"Exif\0\0garbage that is no TIFF header")
    np.testing.assert_array_equal(decode_image(file, 3), CORNERS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_16_bit_gradient_keeps_its_content(kind):
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, 0)
    gray = decode_image(encoded(Image.fromarray(ramp), kind), 1)[:, :, 0]
    np.testing.assert_array_equal(gray, np.arange(256)[None].repeat(4, 0))


def test_12_bit_data_in_a_16_bit_file_keep_their_content():
    ramp = np.linspace(0, 4095, 256).round().astype(np.uint16)[None]
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(ramp)), 1)[0, :, 0], np.arange(256))


def test_a_big_endian_16_bit_tiff_is_read_as_one():
    ramp = np.array([[0, 0x1234, 0xFFFF]], ">u2")
    entries = [(256, 3, 3), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 3, 1), (279, 4, 6)]
    body = b"MM\0*" + struct.pack(">I", 14) + ramp.tobytes() + struct.pack(">H", len(entries))
    for tag, kind, value in entries:
        body += struct.pack(">HHI", tag, kind, 1) + (
            struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
        )
    np.testing.assert_array_equal(decode_image(body + b"\0\0\0\0", 1)[0, :, 0], [0, round(0x1234 / 257), 255])


@pytest.mark.parametrize(
    "values, expected",
    [
        ([0.0, 0.25, 1.0], [0, 64, 255]),
        ([0.0, 128.0, 255.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 500.0, 1000.0], [0, 128, 255]),
        ([np.nan, 0.0, 1.0], [0, 0, 255]),
        ([7.0, 7.0, 7.0], [7, 7, 7]),
    ],
)
def test_a_float_image_is_scaled_by_the_stated_rule(values, expected):
    file = encoded(Image.fromarray(np.array([values], np.float32)), "TIFF")
    np.testing.assert_array_equal(decode_image(file, 1)[0, :, 0], expected)


@pytest.mark.parametrize("values, expected", [([0, 70_000, 140_000], [0, 128, 255]), ([-10, 0, 10], [0, 128, 255])])
def test_a_32_bit_image_is_scaled_from_its_least_to_its_largest_value(values, expected):
    file = encoded(Image.fromarray(np.array([values], np.int32)), "TIFF")
    np.testing.assert_array_equal(decode_image(file, 1)[0, :, 0], expected)


@given(st.lists(st.integers(0, 65535), min_size=2, max_size=50))
@settings(deadline=None)
def test_scaling_keeps_the_order_of_the_values_and_never_turns_all_to_one(values):
    scaled = convert_levels(np.array(values, np.uint16)).astype(int)
    assert (np.diff(scaled[np.argsort(values, kind="stable")]) >= 0).all()
    assert scaled.max() - scaled.min() >= (max(values) - min(values)) * 255 // 65535


def test_transparency_is_composited_on_the_background():
    pixel = Image.new("RGBA", (1, 1), (200, 100, 0, 51))  # a fifth opaque
    assert decode_image(encoded(pixel), 3).tolist() == [[[round(200 / 5 + 255 * 4 / 5), round(100 / 5 + 204), 204]]]
    assert decode_image(encoded(pixel), 3, background=0).tolist() == [[[40, 20, 0]]]


def test_gray_with_alpha_is_composited():
    assert decode_image(encoded(Image.new("LA", (1, 1), (100, 51))), 1).tolist() == [[[round(100 / 5 + 204)]]]


def test_a_palette_becomes_its_colours():
    image = Image.fromarray(CORNERS).quantize(6)
    np.testing.assert_array_equal(decode_image(encoded(image), 3), np.asarray(image.convert("RGB")))
    assert decode_image(encoded(image), 3).std() > 0


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_a_transparent_palette_entry_shows_the_background(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    assert decode_image(encoded(image, transparency=transparency), 3).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_a_transparent_colour_of_a_png_shows_the_background():
    image = Image.fromarray(CORNERS)
    out = decode_image(encoded(image, transparency=(10, 20, 30)), 3)
    assert out[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(out[0, 1:], CORNERS[0, 1:])


def test_one_bit_is_black_and_white():
    image = Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1")
    assert decode_image(encoded(image), 1).tolist() == [[[0], [255], [0]]]
    assert decode_image(encoded(image), 3).tolist() == [[[0, 0, 0], [255, 255, 255], [0, 0, 0]]]


def test_cmyk_becomes_rgb():
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert decode_image(encoded(image, "TIFF"), 3)[0, 0].tolist() == [255, 0, 0]
    np.testing.assert_allclose(decode_image(encoded(image, "JPEG", quality=100), 3)[0, 0], [255, 0, 0], atol=3)


def test_gray_is_the_luma_of_itu_r_601():
    red = decode_image(encoded(Image.new("RGB", (1, 1), (255, 0, 0))), 1)
    assert red.tolist() == [[[round(0.299 * 255)]]]


def display_p3() -> bytes:
    """An sRGB profile with its green and red primaries exchanged: wrong for no reader that applies it."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[p : p + 4]): p for p in range(132, 132 + 12 * struct.unpack(">I", data[128:132])[0], 12)}
    red, green = tags[b"rXYZ"] + 4, tags[b"gXYZ"] + 4
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))


def test_an_icc_profile_is_converted_to_srgb():
    """In a profile whose red primary is sRGB's green and the other way round, a red pixel is a green one."""
    image = Image.new("RGB", (2, 2), (200, 30, 60))
    out = decode_image(encoded(image, icc_profile=display_p3()), 3)
    np.testing.assert_allclose(out[0, 0], [30, 200, 60], atol=2)


def test_the_icc_profile_of_srgb_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(CORNERS), icc_profile=profile), 3), CORNERS)


@pytest.mark.parametrize("profile", [b"no profile at all", display_p3()[:300]])
def test_a_broken_icc_profile_is_left_out(profile):
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(CORNERS), icc_profile=profile), 3), CORNERS)


def test_a_profile_leaves_the_transparency():
    image = Image.new("RGBA", (1, 1), (200, 30, 60, 0))
    assert decode_image(encoded(image, icc_profile=display_p3()), 3).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_taken(kind):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    file = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decode_image(file, 3)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "tif", "ppm", "avif"])
def test_each_suffix_names_a_format_that_is_read(suffix):
    image = photo(32, 48)
    file = io.BytesIO()
    try:
        image.save(file, Image.registered_extensions()[f".{suffix}"])
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {suffix}")
    assert f".{suffix}" in IMAGE_SUFFIXES
    assert np.abs(decode_image(file.getvalue(), 3).astype(int) - np.asarray(image)).mean() < 12


def test_a_heic_file_without_the_plugin_says_what_to_install(tmp_path):
    file = tmp_path / "a.heic"
    file.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        with pytest.raises(DataError) as refused:
            decode_image(file, 3)
        assert str(refused.value) == (
            f"{file}: a HEIC image needs a plugin that is not installed\n  hint  pip install pillow-heif"
        )
    else:
        pytest.skip("pillow-heif is installed")


def test_a_heic_file_is_read_upright_with_the_plugin():
    plugin = pytest.importorskip("pillow_heif")
    image = photo(32, 48)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = io.BytesIO(), io.BytesIO()
    plugin.from_pillow(image).save(files[0], quality=95)
    plugin.register_heif_opener()
    image.transpose(Image.Transpose.ROTATE_90).save(files[1], "HEIF", exif=exif.tobytes(), quality=95)
    for file in files:
        pixels = decode_image(file.getvalue(), 3)
        assert pixels.shape == (32, 48, 3) and np.abs(pixels.astype(int) - np.asarray(image)).mean() < 6
    with pytest.raises(DataError, match="the image data are broken"):
        decode_image(files[0].getvalue()[:-200], 3)


def bomb(side: int) -> bytes:
    """A PNG whose header says side×side pixels and whose data are a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


JPEG = encoded(photo(200, 300), "JPEG")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "{}: the file is empty\n  got   0 bytes"),
        (
            b"a letter to a friend\n",
            "{}: this is not an image of a known format\n  got   21 bytes of text\n"
            "  rule  JPEG, PNG, BMP, GIF, WebP, TIFF, PPM/PGM, AVIF, .npy, and HEIC with the package pillow-heif",
        ),
        (
            b"%PDF-1.7\n\0",
            "{}: this is not an image of a known format\n  got   a PDF\n"
            "  rule  JPEG, PNG, BMP, GIF, WebP, TIFF, PPM/PGM, AVIF, .npy, and HEIC with the package pillow-heif",
        ),
        (JPEG[: len(JPEG) // 2], "{}: the file is truncated"),
        (encoded(photo(60, 60))[:2000], "{}: the file is truncated"),
        (
            bomb(12_000),
            "{}: the image has too many pixels to decode\n  got   12000×12000 pixels\n  rule  at most 100,000,000",
        ),
        (
            bomb(60_000),
            "{}: the image has too many pixels to decode\n  got   3600000000 pixels\n  rule  at most 100,000,000",
        ),
    ],
    ids=["empty", "text", "pdf", "half a JPEG", "half a PNG", "bomb", "big bomb"],
)
def test_a_file_that_cannot_be_used_is_named_with_its_reason(tmp_path, data, message):
    file = tmp_path / "cat.jpg"
    file.write_bytes(data)
    with pytest.raises(DataError) as refused:
        decode_image(file, 3, max_pixels=100_000_000)
    assert str(refused.value) == message.format(file)


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png: there is no such file"):
        decode_image(tmp_path / "gone.png", 3)
    with pytest.raises(DataError, match="this is a folder, not an image"):
        decode_image(tmp_path, 3)


def test_bytes_are_named_image():
    with pytest.raises(DataError, match="^image: the file is empty"):
        decode_image(b"", 3)


@given(st.binary(max_size=80), st.integers(0, 400), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
@settings(deadline=None, max_examples=150)
def test_a_damaged_file_is_decoded_or_refused_and_nothing_else(noise, at, kind):
    file = bytearray(encoded(photo(24, 24), kind))
    file[at : at + len(noise)] = noise
    try:
        assert decode_image(bytes(file), 3, max_pixels=1_000_000).dtype == np.uint8
    except DataError as refused:
        assert str(refused).startswith("image: ")


def test_no_warning_leaks_out_even_where_each_is_an_error():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    near_the_limit = encoded(
        Image.new("1", (9_500, 9_500))
    )  # more than Pillow's warning bound, less than its error bound
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode_image(encoded(image, transparency=b"\x00\xff"), 3)
        assert read_image(near_the_limit, (8, 8), channels=1).max() == 0
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(near_the_limit))


def test_silence_ends_with_the_last_thread_and_restores_the_filters():
    before = list(warnings.filters)
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def other() -> None:
        first_in.wait(5)
        with silence_pillow():
            second_in.set()
            first_out.wait(5)
            seen.append(warnings.filters[0][0])

    thread = threading.Thread(target=other)
    thread.start()
    with silence_pillow():
        first_in.set()
        second_in.wait(5)
    first_out.set()
    thread.join(5)
    assert seen == ["ignore"]
    assert warnings.filters == before


sides = st.integers(1, 300)


@given(sides, sides, sides, sides)
@settings(deadline=None)
def test_pad_keeps_the_whole_picture_and_crop_fills_the_whole_frame(h, w, height, width):
    pad, crop = place_image((h, w), (height, width), "pad"), place_image((h, w), (height, width), "crop")
    assert 0 <= pad.top <= height - pad.height and 0 <= pad.left <= width - pad.width
    assert pad.height == height or pad.width == width
    assert crop.top <= 0 and crop.top + crop.height >= height
    assert crop.left <= 0 and crop.left + crop.width >= width
    assert crop.height == height or crop.width == width
    scale = min(height / h, width / w)
    assert abs(pad.height - max(1, h * scale)) <= 0.5 + 1e-9 and abs(pad.width - max(1, w * scale)) <= 0.5 + 1e-9


def test_pad_puts_bars_beside_the_picture():
    out = resize_image(np.full((40, 20, 3), 9, np.uint8), (10, 10))
    assert out[:, :2].tolist() == out[:, 7:9].tolist() == np.full((10, 2, 3), BAR_LEVEL).tolist()
    assert (out[:, 2:7] == 9).all()


def test_crop_is_the_middle_of_the_picture_resized():
    picture = np.asarray(photo(90, 160))
    whole = np.asarray(Image.fromarray(picture).resize((80, 45), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize_image(picture, (45, 45), "crop"), whole[:, 17:62])


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_the_right_size_comes_back_as_it_is(fit, channels):
    image = np.zeros((5, 7, channels), np.uint8)
    assert resize_image(image, (5, 7), fit) is image


def test_reducing_takes_the_mean_of_what_it_covers():
    """Antialiasing: a fine checkerboard becomes even gray, not black and white."""
    board = ((np.indices((64, 64)).sum(0) % 2) * 255).astype(np.uint8)[:, :, None]
    assert np.abs(resize_image(board, (8, 8)).astype(int) - 127).max() <= 2


def test_a_thin_strip_is_cropped_without_making_it_large_first():
    out = resize_image(np.arange(60_000, dtype=np.uint32).astype(np.uint8).reshape(1, 60_000, 1), (64, 64), "crop")
    assert out.shape == (64, 64, 1)


def test_read_is_decode_then_resize_where_nothing_is_reduced():
    file = encoded(photo(50, 70), "JPEG")
    np.testing.assert_array_equal(read_image(file, (40, 40)), resize_image(decode_image(file, 3), (40, 40)))


def test_a_large_jpeg_decoded_at_reduced_scale_is_the_picture_decoded_whole():
    file = encoded(photo(800, 1200), "JPEG", quality=95)
    reduced, whole = read_image(file, (48, 48)), resize_image(decode_image(file, 3), (48, 48))
    assert np.abs(reduced.astype(int) - whole).max() <= 4


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_and_colour_files_come_in_the_channels_asked_for(channels):
    for mode in ("L", "RGB", "1", "P", "LA", "CMYK"):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        assert decode_image(encoded(photo(3, 4).convert(mode), kind), channels).shape == (3, 4, channels)
        assert read_image(encoded(photo(3, 4).convert(mode), kind), (5, 6), channels=channels).shape == (5, 6, channels)


def test_a_wrong_fit_size_or_channel_count_is_an_error():
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(DataError) as refused:
        resize_image(image, (2, 2), "padd")
    assert str(refused.value) == "fit: there is no fit 'padd'\n  hint  did you mean 'pad'?"
    with pytest.raises(DataError, match="a size is two whole numbers, 1 or more"):
        resize_image(image, (0, 2))
    with pytest.raises(DataError, match="the network takes images with 4 bands"):
        decode_image(JPEG, 4)


def test_the_pixel_bound_is_the_one_where_pillow_itself_stops():
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


def test_a_path_a_text_and_bytes_are_the_same_file(tmp_path: Path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded(Image.fromarray(CORNERS)))
    for source in (file, str(file), file.read_bytes()):
        np.testing.assert_array_equal(decode_image(source, 3), CORNERS)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crop_with_a_shorter_side_is_resize_and_centre_crop(interpolation):
    """Pillow's own resize of the whole picture and a cut of its middle, the usual preparation for ImageNet."""
    picture = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    how = getattr(Image.Resampling, interpolation.upper())
    whole = np.asarray(Image.fromarray(picture).resize((40, 60), how))
    assert np.array_equal(resize_image(picture, (32, 32), f"crop 40 {interpolation}"), whole[14:46, 4:36])


@pytest.mark.parametrize("fit", ["zoom", "crop x", "pad 40", "crop 40 cubic", "", "crop 20"])
def test_a_fit_that_cannot_be_read_is_refused(fit):
    with pytest.raises(DataError):
        resize_image(np.zeros((50, 40, 3), np.uint8), (32, 32), fit)
