"""Atomic reading and writing: a file is there whole, or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from igcam.core.errors import IgcamError

CHECKSUM = "crc32"
"""Name of the checksum in the metadata of a safetensors file."""
ZEROS = 1 << 20
"""Bytes written at a time to reserve space."""


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes atomically; IgcamError if the disk is full or the folder cannot be written."""
    _write(Path(path), [data])


def write_chunks(path: str | Path, chunks: Iterable[str]) -> None:
    """Write text as UTF-8 piece by piece, atomically: for files that need not fit in memory."""
    _write(Path(path), (chunk.encode("utf-8") for chunk in chunks))


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    with _temporary(path) as temporary:
        with temporary.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield an empty file beside a path that then replaces it; an error leaves nothing behind."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise IgcamError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        # Renaming a link onto another one of the same file keeps both.
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_new_folder(path: Path, what: str, *own: str) -> None:
    """Raise IgcamError for a folder with other files than temporary ones and those of `own` names.

    The message says that it must be new, empty or `what`.
    """
    if path.exists() and not (
        path.is_dir() and all(file.name in own or file.suffix == ".part" for file in path.iterdir())
    ):
        raise IgcamError(f"{path}: must be new, empty or {what}, but has other files")


def copy_file(source: Path, target: Path, link: bool = False) -> None:
    """Copy a file with its times, atomically, or make a hard link of it where asked and possible.

    Raises:
        IgcamError: The source cannot be read, the disk is full or the folder cannot be written.
    """
    with _temporary(target) as temporary:
        if not (link and _linked(source, temporary)):
            shutil.copy2(source, temporary)
            temporary.chmod(0o644)


def _linked(source: Path, temporary: Path) -> bool:
    temporary.unlink()
    try:
        os.link(source.resolve(), temporary)
    except OSError:  # another disk, or one without links
        return False
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON with an indent of two, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with commas and a header, atomically."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    write_text(path, stream.getvalue())


def read_json(path: str | Path) -> Any:
    """Read a JSON file; IgcamError if it is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise IgcamError(f"{path}: cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise IgcamError(f"{path}: is not JSON: it is nested too deep") from error
    except ValueError as error:
        raise IgcamError(f"{path}: is not JSON: {error}") from error


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write an array as .npy, atomically."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    write_bytes(path, stream.getvalue())


def read_array(path: str | Path, *, mmap: bool = False) -> np.ndarray:
    """Read a .npy file without pickled objects, with `mmap` memory-mapped and read-only.

    Raises:
        IgcamError: The file is missing, truncated or not an array.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except OSError as error:
        raise IgcamError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged headers make numpy raise nearly anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise IgcamError(f"{path}: is not a whole .npy file: {reason}") from error
    if not isinstance(array, np.ndarray):
        raise IgcamError(f"{path}: is not a .npy file but an archive of several")
    return array


def open_memory_map(path: Path, shape: tuple[int, ...], dtype: np.dtype | type = np.float16) -> np.memmap:
    """Create a .npy, under a temporary name, to be filled in place; IgcamError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        array: np.memmap = np.lib.format.open_memmap(path, "w+", dtype, shape)
        # Reserve the space: filling holes of a file on a full disk would end the process.
        with path.open("r+b") as stream:
            start, end = path.stat().st_size - array.nbytes, path.stat().st_size
            stream.seek(start)
            for position in range(start, end, ZEROS):
                stream.write(bytes(min(ZEROS, end - position)))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise IgcamError(f"{path}: cannot be written: {error.strerror or error}") from error
    return array


def write_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically, with a checksum of their values in the metadata."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = {CHECKSUM: str(_checksum(contiguous)), **(metadata or {})}
    write_bytes(path, safetensors.torch.save(contiguous, facts))


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU.

    Raises:
        IgcamError: The file is missing, damaged, or does not have its checksum.
    """
    return read_tensors_and_metadata(path)[0]


def read_tensors_and_metadata(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the file's own metadata besides the tensors of `read_tensors`."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise IgcamError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise IgcamError(f"{path}: is not a whole safetensors file: {error}") from error
    # Files of others have none.
    if CHECKSUM in metadata and metadata[CHECKSUM] != str(_checksum(tensors)):
        raise IgcamError(f"{path}: is damaged: its values do not have the checksum {metadata[CHECKSUM][:20]}")
    return tensors, metadata


def _checksum(tensors: dict[str, Tensor]) -> int:
    found = 0
    for _, tensor in sorted(tensors.items()):
        if tensor.numel() == 0:
            continue
        # A single value may have any stride, which forbids the view as bytes.
        flat = tensor.contiguous().as_strided((tensor.numel(),), (1,))
        found = zlib.crc32(flat.view(torch.uint8).numpy().data, found)
    return found


def digest(source: str | Path | bytes) -> str:
    """Return the SHA-256 of a file's content, or of bytes, in hex."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        with Path(source).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise IgcamError(f"{source}: cannot be read: {error.strerror or error}") from error


def floats(tensors: dict[str, Tensor], name: str, dimensions: int) -> Tensor:
    """Return a float tensor; KeyError if it is missing, ValueError if empty or of another type or dimension."""
    tensor = tensors[name]
    if not tensor.is_floating_point() or tensor.ndim != dimensions or tensor.numel() == 0:
        raise ValueError(f"{name} must be floats of {dimensions} dimensions, is {tensor.dtype} {tuple(tensor.shape)}")
    return tensor


def weight_and_bias(tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return those of a linear head, (C, D) and (C,); KeyError or ValueError if they are missing or do not fit."""
    weight, bias = floats(tensors, "weight", 2), floats(tensors, "bias", 1)
    if len(weight) != len(bias):
        raise ValueError(f"weight is of {len(weight)} classes, bias of {len(bias)}")
    return weight, bias
