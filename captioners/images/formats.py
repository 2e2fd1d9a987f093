"""Tell a picture's format by its first bytes, without decoding anything."""

_STARTS = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"II+\0", "tif"),  # BigTIFF
    (b"MM\0+", "tif"),
    (b"BM", "bmp"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"P3", "ppm"),
    (b"P6", "ppm"),
    (b"P2", "pgm"),
    (b"P5", "pgm"),
    (b"qoif", "qoi"),
)
_BRANDS = {b"avif": "avif", b"avis": "avif"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "heic"
)


def extension_of(data: bytes) -> str | None:
    """Return the extension of a picture's format (`jpg`, `png`, `webp`, ...), or None if no known one begins so.

    >>> extension_of(b"RIFF....WEBPVP8 "), extension_of(b"hello")
    ('webp', None)
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    return next((extension for start, extension in _STARTS if data.startswith(start)), None)
