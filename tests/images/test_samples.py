"""The packaged sample photos: small, readable, and each with its source and licence."""

from importlib.resources import files

from captioners.images.decode import list_images, read_image


def test_samples_are_small_and_have_their_notice():
    folder = files("captioners") / "samples"
    photos = list_images(str(folder))
    notice = (folder / "NOTICE.md").read_text(encoding="utf-8")
    assert [photo.stem for photo in photos] == ["astronaut", "cat", "coffee", "galaxies", "photographer", "rocket"]
    for photo in photos:
        picture = read_image(photo)
        assert max(picture.width, picture.height) == 384
        assert photo.stat().st_size < 40_000
        (row,) = [line for line in notice.splitlines() if f"`{photo.name}`" in line]
        assert row.endswith(("| CC0 |", "| public domain |"))
