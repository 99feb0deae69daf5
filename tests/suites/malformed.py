"""A corpus of malformed files, made by code: what users, disks and downloads do to them."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import safetensors.numpy
from PIL import Image

Corpus = dict[str, bytes]
"""What is wrong -> content of the file."""

SIDE = 24
"""Height of the photos of the corpus; they are twice as wide."""


def picture(format: str, mode: str = "RGB", **options: object) -> bytes:
    """Return a sound photo, as bytes of a file."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, 2 * SIDE, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, format, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def mask(values: object = (0, 1, 255), size: tuple[int, int] = (SIDE, 2 * SIDE), mode: str = "P") -> bytes:
    """Return a mask with these ids, as bytes of a PNG."""
    pixels = np.resize(np.array(values), size).astype(np.uint8)
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette([number for number in range(256) for _ in range(3)])
    stream = io.BytesIO()
    image.convert(mode).save(stream, "PNG")
    return stream.getvalue()


def damaged(content: bytes, seed: int, count: int = 8) -> bytes:
    """Change some bytes after the first few."""
    random = np.random.default_rng(seed)
    changed = bytearray(content)
    for position in random.integers(min(16, len(content) // 2), len(content), count):
        changed[position] = int(random.integers(256))
    return bytes(changed)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int = 8, colour: int = 2, content: bytes = b"") -> bytes:
    """Return a PNG with this header, whatever its content."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def cuts(name: str, content: bytes, shares: tuple[float, ...] = (0.02, 0.1, 0.5, 0.9, 0.99)) -> Corpus:
    """Cut a file off at these shares of its length."""
    return {f"{name} cut at {share:.0%}": content[: int(share * len(content))] for share in shares}


def photos() -> Corpus:
    """Return files called .jpg that are no sound photos, or odd ones."""
    jpeg = picture("JPEG")
    corpus = {
        "empty": b"",
        "one byte": b"\xff",
        "zeros": bytes(5000),
        "text": b"this is no photo",
        "a web page": b"<!doctype html><html><body>404</body></html>",
        "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a zip": b"PK\x03\x04" + bytes(60),
        "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.",
        "a GIF": picture("GIF", "P"),
        "a PNG with a million rows": png(100_000, 1_000_000),
        "a PNG of size 0": png(0, 0),
        "a PNG without pixels": png(30, 20),
        "a PNG with too few pixels": png(30, 20, content=bytes(100)),
        "a PNG of 3 bits": png(30, 20, bits=3, content=bytes(2000)),
        "a PNG without palette": png(30, 20, colour=3, content=bytes(31 * 20)),
        "a PNG with a wrong checksum": picture("PNG")[:29] + b"\0\0\0\0" + picture("PNG")[33:],
        "a TIFF of floats": picture("TIFF", "F"),
        "a TIFF of 32 bits": picture("TIFF", "I"),
        "a TIFF that is a ring": b"II*\0\x08\0\0\0\x01\0\0\x01\x04\0\x01\0\0\0\x20\0\0\0\x08\0\0\0",
        "a BMP of negative width": b"BM" + struct.pack("<IIIIiiHHI", 100, 0, 54, 40, -5, 5, 1, 24, 0) + bytes(60),
        "16 bits": picture("PNG", "I;16"),
        "CMYK": picture("JPEG", "CMYK"),
        "one pixel": png(1, 1, content=bytes(4)),
        "wrong EXIF": picture("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(10)),
        "EXIF orientation 99": picture(
            "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0"
        ),
        "a wrong colour profile": picture("JPEG", icc_profile=b"no profile at all"),
        "twice": jpeg + jpeg,
    }
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
        corpus |= cuts(f"a {format}", picture(format))
    for seed in range(8):
        corpus[f"a JPEG with damage {seed}"] = damaged(jpeg, seed)
        corpus[f"a PNG with damage {seed}"] = damaged(picture("PNG"), seed)
        corpus[f"a WEBP with damage {seed}"] = damaged(picture("WEBP"), seed)
    return corpus


def masks() -> Corpus:
    """Return files called .png that are no masks of photos of this corpus with three classes."""
    corpus = {
        "an empty mask": b"",
        "a mask of text": b"0 1 1 0",
        "a mask in JPEG": picture("JPEG", "L"),
        "a mask in colours": picture("PNG"),
        "a mask with alpha": picture("PNG", "RGBA"),
        "a mask of 16 bits": picture("PNG", "I;16"),
        "a mask with ids up to 9": mask(range(10)),
        "a mask of 254": mask((254,)),
        "a mask on its side": mask(size=(2 * SIDE, SIDE)),
        "a mask of half the size": mask(size=(SIDE // 2, SIDE)),
        "a mask of one pixel": mask(size=(1, 1)),
        "a mask of size 0": png(0, 0, colour=0),
        "a mask of a million rows": png(100_000, 1_000_000, colour=0),
        "a mask of animated frames": picture("GIF", "P"),
    }
    corpus |= cuts("a mask", mask(np.random.default_rng(0).integers(0, 3, SIDE * 2 * SIDE)), (0.1, 0.5, 0.9))
    for seed in range(6):
        corpus[f"a mask with damage {seed}"] = damaged(mask(np.arange(SIDE * 2 * SIDE) % 3), seed)
    return corpus


def tables() -> Corpus:
    """Return tag tables for the photos a.jpg and b.jpg with the classes x and y."""
    lines = {
        "empty": "",
        "only blank lines": "\n\n \n",
        "only a header": "image,tags\n",
        "no header": "a.jpg,x\nb.jpg,y\n",
        "another header": "file,label\na.jpg,x\n",
        "one column": "image\na.jpg\n",
        "an unknown image": "image,tags\nc.jpg,x\na.jpg,y\n",
        "a contradiction": "image,tags\na.jpg,x\na.jpg,y\n",
        "too many cells": "image,tags\na.jpg,x,y\n",
        "too few cells": "image,tags\na.jpg\n",
        "a quote that stays open": 'image,tags\na.jpg,"x\nb.jpg,y\n',
        "a quote in a cell": 'image,tags\na.jpg,"x"y\n',
        "background as a tag": "image,tags\na.jpg,background\n",
        "an empty name": "image,tags\n,x\n",
        "a name of dots": "image,tags\n../../a.jpg,x\n",
        "a name with a NUL": "image,tags\na\0.jpg,x\n",
        "a huge cell": "image,tags\na.jpg," + "x" * 200_000 + "\n",
        "one-hot with 2": "image,x,y\na.jpg,2,0\n",
        "one-hot with text": "image,x,y\na.jpg,yes,no\n",
        "one-hot with nan": "image,x,y\na.jpg,nan,0\n",
        "one-hot, a class twice": "image,x,x\na.jpg,1,0\n",
        "one-hot without name": "image,x,\na.jpg,1,0\n",
        "too many classes": "image," + ",".join(f"c{number}" for number in range(300)) + "\na.jpg" + ",1" * 300 + "\n",
        "nobody has a tag": "image,tags\na.jpg,\nb.jpg,\n",
        "JSON": '{"a.jpg": ["x"]}\n',
    }
    corpus = {name: text.encode() for name, text in lines.items()}
    return corpus | {
        "not UTF-8": b"image,tags\na.jpg,k\xe4fer\n",
        "half of UTF-16": "image,tags\na.jpg,x\n".encode("utf-16")[:-1],
        "zeros": bytes(300),
        "a photo": picture("JPEG"),
        "a spreadsheet": b"PK\x03\x04" + bytes(100),
    }


def cue_lines() -> Corpus:
    """Return files of cues for the photos a.jpg and b.jpg, tagged x and y."""
    box = {"image": "a", "class": "x", "kind": "box", "box": [1, 2, 9, 8]}
    point = {"image": "a", "class": "x", "kind": "point", "point": [3, 4]}
    changes: dict[str, object] = {
        "no object": [1, 2],
        "a number": 3,
        "null": None,
        "without a kind": {"image": "a", "class": "x"},
        "another kind": box | {"kind": "circle"},
        "a kind that is a list": box | {"kind": ["box"]},
        "another field": box | {"colour": "red"},
        "an unknown image": box | {"image": "zebra"},
        "an image that is a number": box | {"image": 3},
        "an image outside": box | {"image": "../a"},
        "an unknown class": box | {"class": "z"},
        "a class that is a list": box | {"class": ["x"]},
        "a class without tag": box | {"class": "y"},
        "a box of background": box | {"class": "background"},
        "three numbers": box | {"box": [1, 2, 3]},
        "five numbers": box | {"box": [1, 2, 3, 4, 5]},
        "text for numbers": box | {"box": ["1", "2", "9", "8"]},
        "inside out": box | {"box": [9, 2, 1, 8]},
        "without area": box | {"box": [5, 2, 5, 8]},
        "outside": box | {"box": [1, 2, 900, 8]},
        "negative": point | {"point": [-1, 0]},
        "huge": point | {"point": [1e300, 0]},
        "booleans": point | {"point": [True, False]},
        "trust above one": point | {"trust": 1.5},
        "negative seconds": point | {"seconds": -1},
        "a scribble of nothing": {"image": "a", "class": "x", "kind": "scribble", "points": []},
        "a scribble of width 0": {"image": "a", "class": "x", "kind": "scribble", "points": [[1, 1]], "width": 0},
        "a mask that is missing": {"image": "a", "kind": "mask", "file": "none.png"},
        "a mask that is a folder": {"image": "a", "class": "x", "kind": "mask", "file": "."},
        "a mask that is a photo": {"image": "a", "class": "x", "kind": "mask", "file": "photos/a.jpg"},
    }
    corpus = {name: json.dumps(change).encode() + b"\n" for name, change in changes.items()}
    return corpus | {
        "not JSON": b"{image: a}\n",
        "half a line": json.dumps(box).encode()[:-9],
        "NaN": b'{"image": "a", "class": "x", "kind": "point", "point": [NaN, 1]}',
        "beyond floats": b'{"image": "a", "class": "x", "kind": "point", "point": [1e999, 1]}',
        "nested too deep": b"[" * 100_000,
        "not UTF-8": b'{"image": "\xe4"}',
        "two whole masks": b'{"image": "a", "kind": "mask", "file": "m.png"}\n' * 2,
    }


def json_files() -> Corpus:
    """Return files that are no JSON, or none that anybody expects."""
    return {
        "empty": b"",
        "half": b'{"classes": ["x", ',
        "text": b"hello",
        "a list": b"[]",
        "a list of numbers": b"[1, 2, 3]",
        "a number": b"7",
        "null": b"null",
        "an empty object": b"{}",
        "nested too deep": b'{"a":' * 100_000,
        "a number of ten thousand digits": b'{"id": ' + b"9" * 10_000 + b"}",
        "not UTF-8": b'{"classes": ["\xff"]}',
        "zeros": bytes(100),
        "an object of nulls": json.dumps(dict.fromkeys(JSON_KEYS)).encode(),
        "an object of numbers": json.dumps(dict.fromkeys(JSON_KEYS, 3)).encode(),
        "an object of texts": json.dumps(dict.fromkeys(JSON_KEYS, "x")).encode(),
        "an object of lists": json.dumps({key: [None] for key in JSON_KEYS}).encode(),
        "an object of objects": json.dumps({key: {"x": None} for key in JSON_KEYS}).encode(),
        "an object of lists of objects": json.dumps({key: [{"x": 1}] for key in JSON_KEYS}).encode(),
    }


JSON_KEYS = (
    "classes", "options", "method", "samples", "images", "annotations", "categories", "ledger", "rows", "stages",
    "seconds", "stage", "curve", "scores", "version", "seed", "id", "image", "tags", "format", "content",
)  # fmt: skip
"""The keys of all JSON files that igcam reads."""


def coco_files() -> Corpus:
    """Return COCO instances files for the photos a.jpg and b.jpg that are wrong in one thing."""

    def changed(part: str, **change: object) -> bytes:
        content: dict[str, list[dict[str, object]]] = {
            "categories": [{"id": 1, "name": "x"}, {"id": 5, "name": "y"}],
            "images": [{"id": 1, "file_name": "a.jpg", "height": SIDE, "width": 2 * SIDE}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "segmentation": [[1, 1, 9, 1, 9, 9]]}
            ],
        }
        content[part][0] |= change
        return json.dumps(content).encode()

    return {
        "an unknown category": changed("annotations", category_id=9),
        "an unknown image": changed("annotations", image_id=9),
        "a category that is a list": changed("annotations", category_id=[1]),
        "an image that is a list": changed("annotations", image_id={}),
        "a polygon of text": changed("annotations", segmentation=[["a"] * 6]),
        "a polygon of null": changed("annotations", segmentation=[None]),
        "a polygon of a point": changed("annotations", segmentation=[[1, 1]]),
        "an odd polygon": changed("annotations", segmentation=[[1, 1, 2, 2, 3, 3, 4]]),
        "a segmentation of text": changed("annotations", segmentation="polygon"),
        "a code of another size": changed("annotations", segmentation={"size": [9, 9], "counts": [81]}),
        "a code without counts": changed("annotations", segmentation={"size": [SIDE, 2 * SIDE]}),
        "a code that is too short": changed("annotations", segmentation={"size": [SIDE, 2 * SIDE], "counts": [3]}),
        "a code that is too long": changed("annotations", segmentation={"size": [SIDE, 2 * SIDE], "counts": [9**6]}),
        "a code of negative runs": changed(
            "annotations", segmentation={"size": [SIDE, 2 * SIDE], "counts": [-5, 5 + SIDE * 2 * SIDE]}
        ),
        "a code that is no text of COCO": changed(
            "annotations", segmentation={"size": [SIDE, 2 * SIDE], "counts": "~~~~~~~~~~"}
        ),
        "a box of three": changed("annotations", bbox=[1, 2, 3]),
        "a box of text": changed("annotations", bbox="1 2 3 4"),
        "no file name": changed("images", file_name=None),
        "a file that is missing": changed("images", file_name="none.jpg"),
        "a height of 0": changed("images", height=0),
        "a height of text": changed("images", height="24"),
        "a height of a fraction": changed("images", height=24.5),
        "an id that is a list": changed("images", id=[1]),
        "a category twice": changed("categories", name="y"),
        "a category called background": changed("categories", name="background"),
        "a category without name": changed("categories", name=None),
        "a category id of text": changed("categories", id="first"),
    }


def npy(header: str, content: bytes = bytes(64), version: bytes = b"\x01\x00") -> bytes:
    """Return a .npy with this header."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + content


def arrays() -> Corpus:
    """Return files called .npy that are no arrays, or none of maps."""
    whole = io.BytesIO()
    np.save(whole, np.zeros((3, 5, 5), np.float32))
    zipped = io.BytesIO()
    np.savez(zipped, a=np.zeros(3))
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    corpus = {
        "empty": b"",
        "text": b"1 2 3",
        "zeros": bytes(500),
        "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.",
        "an array of objects": pickled.getvalue(),
        "a zip of arrays": zipped.getvalue(),
        "no dict": npy("3"),
        "a call": npy("__import__('os').getcwd()"),
        "open brackets": npy("{'descr': ('<f4', "),
        "no shape": npy("{'descr': '<f4', 'fortran_order': False}"),
        "a negative shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4)}"),
        "a shape of text": npy("{'descr': '<f4', 'fortran_order': False, 'shape': ('a',)}"),
        "a huge shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000)}"),
        "a shape beyond integers": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000000000000,)}"),
        "no type": npy("{'descr': 'nonsense', 'fortran_order': False, 'shape': (4,)}"),
        "a type of fields": npy("{'descr': [('a', '<f4'), ('b', '<i2')], 'fortran_order': False, 'shape': (4,)}"),
        "version 9": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", version=b"\x09\x00"),
    }
    for name, array in {
        "a number": np.float32(3),
        "two dimensions": np.zeros((3, 4), np.float32),
        "no classes": np.zeros((0, 4, 4), np.float32),
        "no places": np.zeros((3, 0, 4), np.float32),
        "whole numbers": np.zeros((3, 4, 4), int),
        "texts": np.array([[["a"]]]),
        "complex numbers": np.zeros((3, 4, 4), complex),
        "not numbers": np.full((3, 4, 4), np.nan, np.float32),
        "negative": np.full((3, 4, 4), -1, np.float32),
        "larger than the photo": np.zeros((3, 400, 400), np.float16),
        "300 classes": np.zeros((300, 2, 2), np.float32),
    }.items():
        stream = io.BytesIO()
        np.save(stream, array)
        corpus[name] = stream.getvalue()
    return corpus | cuts("an array", whole.getvalue(), (0.02, 0.3, 0.9))


def checkpoints(sound: bytes) -> Corpus:
    """Return files called .safetensors that are damaged, or of something else, made from a sound one."""
    length = int.from_bytes(sound[:8], "little")
    header = json.loads(sound[8 : 8 + length])

    def headed(change: Callable[[dict[str, dict[str, object]]], object]) -> bytes:
        other = json.loads(json.dumps(header))
        change(other)
        text = json.dumps(other).encode()
        return struct.pack("<Q", len(text)) + text + sound[8 + length :]

    tensors = [name for name in header if name != "__metadata__"]
    first = tensors[0]
    corpus = {
        "empty": b"",
        "text": b"no weights",
        "zeros": bytes(1000),
        "a pickle of torch": b"PK\x03\x04" + bytes(200),
        "a header without end": struct.pack("<Q", 1 << 60) + b"{}",
        "a header of text": struct.pack("<Q", 5) + b"hello",
        "a header of a list": struct.pack("<Q", 2) + b"[]",
        "no tensors": struct.pack("<Q", 2) + b"{}",
        "a header that is nested too deep": struct.pack("<Q", 50_000) + b"[" * 50_000,
        "an unknown type": headed(lambda other: other[first].update(dtype="F99")),
        "another type": headed(lambda other: other[first].update(dtype="I32")),
        "another shape": headed(lambda other: other[first].update(shape=[1, 2, 3])),
        "a negative shape": headed(lambda other: other[first].update(shape=[-1])),
        "places outside": headed(lambda other: other[first].update(data_offsets=[0, 1 << 40])),
        "places that overlap": headed(lambda other: other[first].update(data_offsets=[4, 4])),
        "a tensor missing": headed(lambda other: other.pop(first)),
        "tensors of something else": safetensors.numpy.save({"what": np.zeros((2, 2), np.float32)}),
        "tensors of no dimension": safetensors.numpy.save({name: np.zeros((), np.float32) for name in tensors}),
        "tensors of nothing": safetensors.numpy.save({name: np.zeros((0,), np.float32) for name in tensors}),
        "tensors of one number": safetensors.numpy.save({name: np.zeros((1,), np.float32) for name in tensors}),
        "tensors of whole numbers": safetensors.numpy.save({name: np.zeros((2, 2), np.int64) for name in tensors}),
    }
    return corpus | cuts("weights", sound, (0.0005, 0.1, 0.9))


def corpus_size() -> int:
    """Return the number of malformed files."""
    whole = safetensors.numpy.save({"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)})
    parts: Iterator[Corpus] = iter(
        (photos(), masks(), tables(), cue_lines(), json_files(), coco_files(), arrays(), checkpoints(whole))
    )
    return sum(map(len, parts))
