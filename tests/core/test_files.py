from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from igcam.core import files
from igcam.core.errors import IgcamError


def test_bytes_text_and_json_are_read_back(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a" / "b" / "c.bin", b"\0\1")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\0\1"
    files.write_text(tmp_path / "ü.txt", "naïve\n")
    assert (tmp_path / "ü.txt").read_bytes() == "naïve\n".encode()
    content = {"b": [1, 2.5, None], "a": "ä"}
    files.write_json(tmp_path / "x.json", content)
    assert files.read_json(tmp_path / "x.json") == content
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text == json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def test_files_can_be_read_by_everyone_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    files.write_text(tmp_path / "x.txt", "1")
    files.write_text(tmp_path / "x.txt", "2")
    assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]
    assert stat.S_IMODE((tmp_path / "x.txt").stat().st_mode) == 0o644


def test_json_that_is_none_is_refused(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            files.write_json(tmp_path / "x.json", [value])
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x.txt"
    files.write_text(target, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, name, full)
            with pytest.raises(IgcamError) as caught:
                files.write_text(target, "new")
        assert str(caught.value) == f"{target}: cannot be written: No space left on device"
        assert target.read_text() == "old"
        assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IgcamError, match=r"file/x\.txt: cannot be written: "):
        files.write_text(tmp_path / "file" / "x.txt", "")
    with pytest.raises(IgcamError, match="cannot be written: Is a directory"):
        files.write_text(tmp_path, "")


def test_json_that_cannot_be_read_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "latin.json").write_bytes(b'"\xe4"')
    for name, message in (
        ("no.json", "cannot be read: No such"),
        ("bad.json", "is not JSON"),
        ("latin.json", "is not JSON"),
    ):
        with pytest.raises(IgcamError, match=f"{name}: {message}") as caught:
            files.read_json(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8, np.int64, bool])
def test_arrays_are_read_back(tmp_path: Path, dtype: type) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    files.write_array(tmp_path / "x.npy", array[:, ::2])
    for mmap in (False, True):
        read = files.read_array(tmp_path / "x.npy", mmap=mmap)
        assert isinstance(read, np.memmap) == mmap
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, array[:, ::2])
    mapped = files.read_array(tmp_path / "x.npy", mmap=True)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 0


def test_damaged_and_pickled_arrays_are_refused(tmp_path: Path) -> None:
    files.write_array(tmp_path / "x.npy", np.zeros(100))
    whole = (tmp_path / "x.npy").read_bytes()
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name, content in (
        ("cut.npy", whole[:-8]),
        ("empty.npy", b""),
        ("text.npy", b"x"),
        ("pickle.npy", pickle.dumps([1])),
    ):
        (tmp_path / name).write_bytes(content)
    for name in ("cut.npy", "empty.npy", "text.npy", "pickle.npy", "object.npy"):
        for mmap in (False, True):
            with pytest.raises(IgcamError, match=rf"{name}: (is not a whole \.npy file|cannot be read)") as caught:
                files.read_array(tmp_path / name, mmap=mmap)
            assert "\n" not in str(caught.value)
    with pytest.raises(IgcamError, match=r"no\.npy: cannot be read: No such file"):
        files.read_array(tmp_path / "no.npy")
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        files.write_array(tmp_path / "y.npy", np.array([{}], dtype=object))


def test_tensors_are_read_back(tmp_path: Path) -> None:
    tensors = {
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "half": torch.ones(2, dtype=torch.float16),
        "parameter": torch.nn.Parameter(torch.ones(1)),
    }
    files.write_tensors(tmp_path / "x.safetensors", tensors, {"from": "here"})
    read = files.read_tensors(tmp_path / "x.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(read[name], tensor.detach())
        assert read[name].dtype == tensor.dtype


def test_damaged_tensors_are_refused(tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(9)})
    whole = (tmp_path / "x.safetensors").read_bytes()
    for name, content in (("cut", whole[:-4]), ("empty", b""), ("other", pickle.dumps({}))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(IgcamError, match=f"{name}: is not a whole safetensors file"):
            files.read_tensors(tmp_path / name)
    with pytest.raises(IgcamError, match="no: cannot be read"):
        files.read_tensors(tmp_path / "no")


def test_values_that_have_changed_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    tensors = {"b": torch.arange(4.0), "a": torch.tensor([True, False]), "none": torch.zeros(0), "one": torch.tensor(1)}
    files.write_tensors(file, tensors | {"half": torch.ones(3, dtype=torch.bfloat16)})
    assert len(files.read_tensors(file)) == 5
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IgcamError, match=r"x\.safetensors: is damaged: its values do not have the checksum \d+$"):
        files.read_tensors(file)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.from_numpy(np.zeros(0, np.float32)),
        torch.zeros(0, 4, 5, dtype=torch.int64),
        torch.tensor(3.0),
        torch.ones(()).expand(1),
        torch.ones(2, 3).T,
        torch.arange(6.0)[2:4],
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor([True, False]),
    ],
    ids=["empty", "empty-with-sides", "number", "expanded", "transposed", "part", "bfloat16", "bool"],
)
def test_tensors_of_every_form_are_read_as_they_were_written(tensor: torch.Tensor, tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "x.safetensors", {"a": tensor, "b": torch.ones(2)})
    found = files.read_tensors(tmp_path / "x.safetensors")["a"]
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(found, tensor)


def test_files_of_others_have_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(safetensors.torch.save({"a": torch.ones(2)}))
    assert files.read_tensors(tmp_path / "x.safetensors")["a"].tolist() == [1, 1]


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    expected = hashlib.sha256(b"abc").hexdigest()
    assert files.digest(b"abc") == files.digest(tmp_path / "x") == files.digest(str(tmp_path / "x")) == expected
    with pytest.raises(IgcamError, match="no: cannot be read: No such file"):
        files.digest(tmp_path / "no")


def test_several_findings_are_one_error() -> None:
    assert str(IgcamError.from_lines("two:", ["a", "b"])) == "two:\n  a\n  b"


def test_a_table_is_written_with_unix_line_ends(tmp_path: Path) -> None:
    files.write_csv(tmp_path / "t.csv", ["image", "tags"], [["a,b", "fox;owl"], [1, ""]])
    assert (tmp_path / "t.csv").read_bytes() == b'image,tags\n"a,b",fox;owl\n1,\n'


@pytest.mark.parametrize("link", [False, True])
def test_a_file_is_copied_or_linked_whole(tmp_path: Path, link: bool) -> None:
    source, target = tmp_path / "source.bin", tmp_path / "deep" / "target.bin"
    source.write_bytes(b"whole")
    os.utime(source, (1e9, 1e9))
    for _ in range(2):  # the second time the target is there, and may be the same file
        files.copy_file(source, target, link=link)
        assert target.read_bytes() == b"whole"
        assert target.stat().st_mtime == 1e9
        assert os.path.samefile(source, target) == link
        assert [file.name for file in target.parent.iterdir()] == ["target.bin"]


def test_a_file_is_copied_where_the_disk_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("igcam.core.files.os.link", no_links)
    (tmp_path / "source").write_bytes(b"whole")
    files.copy_file(tmp_path / "source", tmp_path / "target", link=True)
    assert (tmp_path / "target").read_bytes() == b"whole"
    with pytest.raises(IgcamError, match=r"target2: cannot be written: No such file"):
        files.copy_file(tmp_path / "nowhere", tmp_path / "target2", link=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["source", "target"]
