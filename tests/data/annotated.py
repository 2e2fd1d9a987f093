"""Pictures and tables in the exact schemas of published sets, made by us: small, and true of no one's data."""

import json

from tests.images.pictures import encoded, jpeg, quadrants

JPEG = jpeg(quadrants())
PNG = encoded(quadrants(), "PNG")


def pictures(folder, *names):
    """Files of bytes that differ, each a whole JPEG with its name behind it."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG + name.encode())
    return folder


def picture(name):
    return JPEG + name.encode()


def write_lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


_ADDRESSES = [
    ("http://creativecommons.org/licenses/by-nc-sa/2.0/", "Attribution-NonCommercial-ShareAlike License"),
    ("http://creativecommons.org/licenses/by-nc/2.0/", "Attribution-NonCommercial License"),
    ("http://creativecommons.org/licenses/by-nc-nd/2.0/", "Attribution-NonCommercial-NoDerivs License"),
    ("http://creativecommons.org/licenses/by/2.0/", "Attribution License"),
    ("http://creativecommons.org/licenses/by-sa/2.0/", "Attribution-ShareAlike License"),
    ("http://creativecommons.org/licenses/by-nd/2.0/", "Attribution-NoDerivs License"),
    ("http://flickr.com/commons/usage/", "No known copyright restrictions"),
    ("http://www.usa.gov/copyright.shtml", "United States Government Work"),
]
COCO_LICENCES = [{"url": url, "id": id_, "name": name} for id_, (url, name) in enumerate(_ADDRESSES, 1)]


def coco(path, images, licences=COCO_LICENCES):
    """Captions as of 2017: `images` are (id, licence, captions)."""
    annotations = [(id_, text) for id_, _, texts in images for text in texts]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "info": {"description": "COCO 2017 Dataset", "url": "", "version": "1.0", "year": 2017,
                         "contributor": "", "date_created": "2017/09/01"},
                "licenses": licences,
                "images": [
                    {"license": licence, "file_name": f"{id_:012d}.jpg", "height": 32, "width": 48, "id": id_,
                     "coco_url": f"http://images.cocodataset.org/val2017/{id_:012d}.jpg",
                     "date_captured": "2013-11-14 17:02:52", "flickr_url": "http://example.org/x.jpg"}
                    for id_, licence, _ in images
                ],
                "annotations": [{"image_id": id_, "id": n, "caption": t} for n, (id_, t) in enumerate(annotations, 1)],
            }
        )
    )  # fmt: skip
    return path
