"""The map store: activation maps and soft masks of many images in one file, small and safe."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.runs.map_codec import Array, decode_maps, encode_maps

try:
    import fcntl
except ImportError:  # not on Windows, where two writers are the user's to prevent
    fcntl = None  # type: ignore[assignment]

_MAGIC = b"igcam maps 1\n"
_HEAD = struct.Struct("<IHII")
"""Length of the code, length of the name, checksum of both of them, checksum of these three."""


class MapStore:
    r"""Maps by the name of their image, in one file that only grows.

        b"igcam maps 1\n"
        for each image: lengths and checksums (14 bytes), name (UTF-8), code (see `igcam.runs.map_codec`)

    What is appended is in the file when `append` returns, and survives a kill; `flush` makes it survive a power
    cut too. A record that was cut off as it was written is dropped when the file is opened; all before it stay.
    One process may append while others read. Each read checks its checksum.

        with MapStore("maps.store", "a") as store:
            store.append("farm/0001", maps)
        MapStore("maps.store")["farm/0001"]
    """

    def __init__(self, path: str | Path, mode: Literal["r", "a"] = "r", bits: int = 6) -> None:
        """Open a store.

        Args:
            path: The file.
            mode: `r` reads; `a` appends, and begins a store where there is none.
            bits: Bits a value of what is appended, 1 to 8.

        Raises:
            IgcamError: The file is missing, is no store, is damaged before its end, or another process appends.
        """
        if mode not in ("r", "a") or not 1 <= bits <= 8:
            raise ValueError(f"mode must be r or a and bits 1 to 8, got {mode} and {bits}")
        self.path, self.bits = Path(path), bits
        self._locations: dict[str, tuple[int, int, int]] = {}
        self._writes = mode == "a"
        try:
            if self._writes:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, so that a record is one write.
            self._file: BinaryIO = open(self.path, "a+b" if self._writes else "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise IgcamError(f"{path}: cannot be opened: {error.strerror or error}") from error
        try:
            self._lock()
            self._end = self._scan()
            if self._writes:
                self._begin()
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._locations)

    def __iter__(self) -> Iterator[str]:
        return iter(self._locations)

    def __contains__(self, name: object) -> bool:
        return name in self._locations

    def __getitem__(self, name: str) -> Array:
        """Return the maps of an image, float32 (K, h, w).

        Raises:
            KeyError: There are none of this name.
            IgcamError: They are damaged.
        """
        position, length, checksum = self._locations[name]
        code = os.pread(self._file.fileno(), length, position)
        # The checksum covers the name too.
        if zlib.crc32(code, zlib.crc32(name.encode())) != checksum:
            raise IgcamError(f"{self.path}: the maps of '{name}' are damaged")
        try:
            return decode_maps(code)
        except ValueError as error:
            raise IgcamError(f"{self.path}: the maps of '{name}' cannot be read: {error}") from error

    def __enter__(self) -> MapStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, name: str, maps: NDArray[np.floating]) -> None:
        """Add the maps of an image.

        Args:
            name: Not in the store yet.
            maps: Float (K, h, w), finite and at least 0; background first, where there is one.

        Raises:
            ValueError: The name is there, is empty or longer than 65535 bytes, the maps are not so, or the store
                was opened to be read.
            IgcamError: The disk is full; the store is as before.
        """
        label = name.encode()
        if not self._writes or name in self._locations or not 0 < len(label) < 65536:
            raise ValueError(f"name must be new, in a store opened with mode a, and of 1 to 65535 bytes: '{name[:80]}'")
        code = encode_maps(maps, self.bits)
        checksum = zlib.crc32(code, zlib.crc32(label))
        numbers = struct.pack("<IHI", len(code), len(label), checksum)
        self._write(numbers + struct.pack("<I", zlib.crc32(numbers)) + label + code)
        self._locations[name] = (self._end - len(code), len(code), checksum)

    def refresh(self) -> None:
        """Take notice of what another process has appended since."""
        self._end = self._scan(self._end)

    def flush(self) -> None:
        """Wait until all that was appended is on the disk.

        Raises:
            IgcamError: It cannot be written.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise IgcamError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Flush and close; closing twice does nothing."""
        if not self._file.closed:
            try:
                if self._writes:
                    self.flush()
            finally:
                self._file.close()

    def _lock(self) -> None:
        if self._writes and fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise IgcamError(f"{self.path}: another process is appending to it") from error

    def _begin(self) -> None:
        """Cut off what a killed process has left, and write the first line of a new store."""
        try:
            os.ftruncate(self._file.fileno(), self._end)
        except OSError as error:
            raise IgcamError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        if self._end == 0:
            self._write(_MAGIC)

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        except OSError as error:
            os.ftruncate(self._file.fileno(), self._end)
            raise IgcamError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self._end += written

    def _scan(self, position: int = 0) -> int:
        """Find the records from a place on, and return the end of the last whole one."""
        handle, size = self._file.fileno(), os.fstat(self._file.fileno()).st_size
        if position == 0:
            magic = os.pread(handle, len(_MAGIC), 0)
            if magic != _MAGIC:
                if not _MAGIC.startswith(magic):
                    raise IgcamError(f"{self.path}: is not a map store")
                return 0
            position = len(_MAGIC)
        while position + _HEAD.size <= size:
            head = os.pread(handle, _HEAD.size, position)
            length, name_length, checksum, own = _HEAD.unpack(head)
            if zlib.crc32(head[:-4]) != own:
                self._refuse_damage(position, size)
                break
            start = position + _HEAD.size
            end = start + name_length + length
            if end > size:
                break
            name = os.pread(handle, name_length, start).decode(errors="replace")
            # The last record may have its length, but not yet its content, after a power cut.
            if end == size and zlib.crc32(os.pread(handle, end - start, start)) != checksum:
                break
            self._locations[name] = (start + name_length, length, checksum)
            position = end
        return position

    def _refuse_damage(self, position: int, size: int) -> None:
        """Tell damage in the middle from a tail of zeros, which a power cut leaves."""
        while position < size:
            piece = os.pread(self._file.fileno(), 1 << 20, position)
            if piece.strip(b"\0"):
                raise IgcamError(f"{self.path}: is damaged after {len(self._locations)} images, at byte {position}")
            position += len(piece)
