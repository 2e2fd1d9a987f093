"""Every format gives the pixels it says, in both profiles; one test per kind of good input."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageFile

from captioners.core.errors import ImageError
from captioners.images.decode import list_images, read_image, sha256_of
from tests.images.pictures import (
    BLACK,
    BLUE,
    GREEN,
    LOSSY,
    RED,
    WHITE,
    YELLOW,
    corners,
    encoded,
    far,
    jpeg,
    noise,
    quadrants,
)

PLAIN = [RED, GREEN, BLUE, YELLOW]
# What a camera held so writes, and where the four colours stand in the file's own rows (EXIF 2.32, section 4.6.4).
STORED = {
    1: lambda im: im,
    2: lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda im: im.transpose(Image.Transpose.ROTATE_180),
    4: lambda im: im.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda im: im.transpose(Image.Transpose.TRANSPOSE),
    6: lambda im: im.transpose(Image.Transpose.ROTATE_90),
    7: lambda im: im.transpose(Image.Transpose.TRANSVERSE),
    8: lambda im: im.transpose(Image.Transpose.ROTATE_270),
}


def trainers(data):
    """The reference of `as_trained`."""
    return Image.open(BytesIO(data)).convert("RGB")


def same(a, b):
    return a.size == b.size and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_turns_all_eight_orientations(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = STORED[orientation](quadrants())
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}}[kind]
    data = encoded(stored, kind, exif=exif, **options)
    upright = read_image(data)
    assert (upright.width, upright.height) == (48, 32)
    assert far(corners(upright.image), PLAIN) <= LOSSY
    trained = read_image(data, "as_trained")
    assert (trained.width, trained.height) == stored.size
    assert same(trained.image, trainers(data))


def test_orientation_outside_1_to_8_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 42
    assert far(corners(read_image(jpeg(quadrants(), exif=exif)).image), PLAIN) <= LOSSY


@pytest.mark.filterwarnings("ignore")
def test_a_broken_exif_block_does_not_lose_the_picture():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12\0\x03\0\0\xff\xff"
    assert far(corners(read_image(jpeg(quadrants(), exif=exif)).image), PLAIN) <= LOSSY


@pytest.mark.parametrize("profile", ["upright", "as_trained"])
@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, LOSSY),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, LOSSY),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 12),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 12),
        ("BMP", {}, 0),
        ("PPM", {}, 0),
        ("AVIF", {"quality": 100}, 12),
    ],
)
def test_rgb_formats(kind, options, tolerance, profile):
    data = encoded(quadrants(), kind, **options)
    picture = read_image(data, profile)
    assert picture.image.mode == "RGB"
    assert far(corners(picture.image), PLAIN) <= tolerance
    assert picture.sha256 == sha256_of(data)
    assert same(read_image(data, "as_trained").image, trainers(data))


def test_grey_jpeg_and_one_bit_png():
    grey = read_image(jpeg(quadrants().convert("L"))).image
    assert far(corners(grey), [(76,) * 3, (150,) * 3, (29,) * 3, (226,) * 3]) <= 3
    bits = Image.new("1", (8, 8), 0)
    bits.paste(1, (4, 0, 8, 8))
    image = read_image(encoded(bits, "PNG")).image
    assert (image.getpixel((0, 0)), image.getpixel((7, 7))) == (BLACK, WHITE)


def test_cmyk_jpeg_as_adobe_writes_it_is_not_a_negative():
    data = jpeg(quadrants().convert("CMYK"), quality=100)
    assert b"Adobe" in data
    for profile in ("upright", "as_trained"):
        assert far(corners(read_image(data, profile).image), PLAIN) <= LOSSY


def test_ycck_jpeg():
    # What Photoshop writes: the inks C, M, Y as YCbCr, K inverted, and an Adobe marker that says "transform 2".
    # Pillow writes CMYK planes inverted, without the marker's 2: so hand it inverted planes, and set the 2.
    inks = ImageChops.invert(quadrants()).convert("YCbCr")
    y, cb, cr = (ImageChops.invert(plane) for plane in inks.split())
    data = bytearray(jpeg(Image.merge("CMYK", (y, cb, cr, Image.new("L", y.size, 0))), quality=100))
    marker = data.index(b"Adobe")
    assert data[marker + 11] == 0
    data[marker + 11] = 2
    assert far(corners(read_image(bytes(data)).image), PLAIN) <= 2 * LOSSY


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(kind):
    deep = Image.fromarray(np.array([[0, 255, 256, 0x7FFF, 0x8000, 0xFFFF]], dtype=np.uint16))
    data = encoded(deep, kind)
    assert np.asarray(read_image(data).image)[0, :, 0].tolist() == [0, 0, 1, 0x7F, 0x80, 0xFF]
    # The trap of plain conversion, kept on purpose where the trainer has it.
    assert np.asarray(read_image(data, "as_trained").image)[0, :, 0].tolist() == [0, 255, 255, 255, 255, 255]


def test_big_endian_16_bit_tiff_and_16_bit_pgm():
    big = encoded(Image.frombytes("I;16B", (2, 1), b"\x12\x34\xfe\xdc"), "TIFF")
    assert np.asarray(read_image(big).image)[0, :, 0].tolist() == [0x12, 0xFE]
    pgm = b"P5 2 1 65535\n" + b"\x12\x34\xfe\xdc"
    assert np.asarray(read_image(pgm).image)[0, :, 0].tolist() == [0x12, 0xFE]


def test_float_tiff_counts_0_to_1():
    grey = Image.fromarray(np.array([[0.0, 0.25, 1.0]], dtype=np.float32))
    assert np.asarray(read_image(encoded(grey, "TIFF")).image)[0, :, 0].tolist() == [0, 64, 255]


def test_alpha_shows_white_upright_and_the_hidden_colour_as_trained():
    image = quadrants().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 255))
    image.paste((0, 0, 255, 0), (0, 0, 24, 16))  # upper left: blue, wholly transparent
    image.paste((0, 0, 0, 51), (24, 0, 48, 16))  # upper right: black, one fifth opaque
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        data = encoded(image, kind, **options)
        assert corners(read_image(data).image) == [WHITE, (204, 204, 204), BLUE, YELLOW]
        assert corners(read_image(data, "as_trained").image) == [BLUE, BLACK, BLUE, YELLOW]


def test_grey_with_alpha():
    grey = Image.new("LA", (4, 4), (100, 255))
    grey.paste((100, 0), (0, 0, 2, 4))
    data = encoded(grey, "PNG")
    assert [read_image(data).image.getpixel((x, 0)) for x in (0, 3)] == [WHITE, (100, 100, 100)]
    assert read_image(data, "as_trained").image.getpixel((0, 0)) == (100, 100, 100)


@pytest.mark.parametrize("entries", [bytes([0, 255, 255, 255]), 0])
def test_palette_with_transparency_warns_nobody(entries):
    paletted = Image.new("P", (48, 32), 0)
    paletted.putpalette([*RED, *GREEN, *BLUE, *YELLOW])
    for index, box in ((1, (24, 0, 48, 16)), (2, (0, 16, 24, 32)), (3, (24, 16, 48, 32))):
        paletted.paste(index, box)
    data = encoded(paletted, "PNG", transparency=entries)
    assert corners(read_image(data).image) == [WHITE, GREEN, BLUE, YELLOW]
    assert corners(read_image(data, "as_trained").image) == PLAIN


def test_palette_without_transparency():
    assert corners(read_image(encoded(quadrants().convert("P"), "PNG")).image) == PLAIN


def test_rgb_with_a_transparent_colour():
    data = encoded(quadrants(), "PNG", transparency=RED)
    assert corners(read_image(data).image) == [WHITE, GREEN, BLUE, YELLOW]
    assert corners(read_image(data, "as_trained").image) == PLAIN


def test_gif_and_tiff_give_their_first_frame():
    frames = [quadrants(), Image.new("RGB", (48, 32), "black")]
    for kind in ("GIF", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert corners(read_image(data).image) == PLAIN


def test_tiff_orientation_is_applied_by_pillow_in_both_profiles_and_only_once():
    data = encoded(STORED[6](quadrants()), "TIFF", tiffinfo={274: 6})
    for profile in ("upright", "as_trained"):
        assert corners(read_image(data, profile).image) == PLAIN
    assert same(read_image(data, "as_trained").image, trainers(data))


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG"])
def test_truncated_as_trained_equals_pillow_with_its_global_switch(kind, monkeypatch):
    options = {"JPEG": {}, "progressive": {"progressive": True}, "PNG": {}}[kind]
    whole = encoded(noise(), "PNG" if kind == "PNG" else "JPEG", **options)
    cuts = np.linspace(len(whole) * 0.3, len(whole) - 3, 23).astype(int).tolist()
    ours = [read_image(whole[:cut], "as_trained").image for cut in cuts]
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert all(same(found, trainers(whole[:cut])) for found, cut in zip(ours, cuts, strict=True))
    assert not same(ours[0], trainers(whole))


def test_path_and_bytes_agree(tmp_path):
    path = tmp_path / "a b.png"
    path.write_bytes(encoded(quadrants(), "PNG"))
    by_path, by_bytes = read_image(path), read_image(path.read_bytes(), name="x")
    assert same(by_path.image, by_bytes.image)
    assert by_path.sha256 == by_bytes.sha256
    assert (by_path.source, by_bytes.source) == (str(path), "x")
    assert not by_path.image.info


def test_list_images_is_recursive_sorted_and_skips_what_is_hidden(tmp_path):
    shown = ["a.webp", "b/1.png", "b/2.JPG", "c.heic"]
    others = ["b/x.txt", ".hidden/3.png", "b/.4.png", "__MACOSX/5.png"]
    for name in (*reversed(shown), *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)] == shown
    assert list_images(tmp_path / "b/x.txt") == [tmp_path / "b/x.txt"]


def test_importing_decode_does_not_import_torch():
    code = "import sys, captioners.images.decode, captioners.images.preprocess; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _bundled():
    import skimage
    from sklearn import datasets

    folders = (Path(skimage.__file__).parent / "data", Path(datasets.__file__).parent / "images")
    return [path for folder in folders for path in list_images(folder)]


def test_bundled_photographs_decode_as_pillow_says():
    """Astronaut, coffee, retina, china ...: real files of many encoders, among them grey, palette and RGBA ones."""
    paths = _bundled()
    assert len(paths) >= 25
    assert {"astronaut.png", "rocket.jpg", "china.jpg", "no_time_for_that_tiny.gif"} <= {path.name for path in paths}
    for path in paths:
        if path.name == "multipage_rgb.tif":  # float64 colour, which Pillow cannot read either
            with pytest.raises(ImageError, match="unknown pixel mode"):
                read_image(path)
            continue
        trained, upright = read_image(path, "as_trained"), read_image(path)
        assert same(trained.image, trainers(path.read_bytes())), path.name
        assert upright.image.size == trained.image.size
    astronaut = next(path for path in paths if path.name == "astronaut.png")
    assert read_image(astronaut).image.getpixel((0, 0)) == (154, 147, 151)
    logo = read_image(next(path for path in paths if path.name == "logo.png")).image
    assert logo.getpixel((0, 0)) == WHITE  # transparent there


@pytest.mark.real
def test_real_photographs_have_their_published_sizes():
    import json

    folder = Path(__file__).parents[3] / "shared/real/gbc_wiki"
    if not folder.is_dir():
        pytest.skip("no real photos beside the checkout")
    rows = [json.loads(line) for line in (folder / "graphs_pixtral.jsonl").read_text().splitlines()]
    sizes = {Path(row["img_path"]).name: row["img_size"] for row in rows}
    paths = list_images(folder / "images")
    assert len(paths) == 21
    for path in paths:
        picture = read_image(path)
        assert [picture.width, picture.height] == sizes[path.name], path.name
        assert same(read_image(path, "as_trained").image, trainers(path.read_bytes()))


def test_a_machine_short_of_memory_is_no_fault_of_the_picture(monkeypatch):
    def short(*_, **__):
        raise MemoryError

    monkeypatch.setattr("captioners.images.decode._upright", short)
    with pytest.raises(MemoryError):
        read_image(jpeg(quadrants()))
