"""Files are written whole, under names that nobody plants, and only where a file may be."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hwgpt_gym.files import check_destination, new_folder, replacing, take_folder, write_text

posix = pytest.mark.skipif(os.name != "posix", reason="devices, pipes and permissions are those of POSIX")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "first")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "first"
    write_text(path, "second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_do_not_collide(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(25):
            write_text(path, json.dumps([number] * 5_000))
            assert len(set(json.loads(path.read_text()))) == 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_has_the_suffix_and_is_not_there_before(tmp_path: Path) -> None:
    with replacing(tmp_path / "picture.png") as first, replacing(tmp_path / "picture.png") as second:
        assert first.suffix == second.suffix == ".png"
        assert first != second
        assert first.stat().st_size == 0
    with replacing(tmp_path / f"{'n' * 250}.png") as temporary:  # As long as file systems allow.
        temporary.write_text("")


@posix
def test_permissions_stay(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = tmp_path / "file"
        write_text(path, "")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        write_text(path, "again")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


@posix
def test_libraries_that_make_files_of_their_own_leave_the_usual_permissions(tmp_path: Path) -> None:
    def write(name: str, mode: int) -> int:
        with replacing(tmp_path / name) as temporary:
            temporary.unlink()
            temporary.touch()
            temporary.chmod(mode)
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    (tmp_path / "usual").touch()
    assert write("other", 0o600) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


@posix
def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to(target)
    for text in ("made", "replaced"):
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text


@posix
def test_devices_and_pipes_are_written_to(tmp_path: Path) -> None:
    write_text(os.devnull, "nothing")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(30)
    assert read == ["through"]
    assert pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_errors_name_the_target(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "file.txt", tmp_path):
        with pytest.raises(OSError, match=str(path)) as caught:
            write_text(path, "text")
        assert caught.value.filename == str(path)
    with pytest.raises(OSError, match="No space left"):
        write_text("/dev/full", "text")
    write_text(tmp_path / "made" / "file.txt", "text", parents=True)


def test_destinations_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    assert check_destination(path, (".csv",)) == path
    assert not path.exists()
    for wrong, message in (
        (tmp_path / "file.txt", "must end in .csv"),
        (tmp_path / "missing" / "file.csv", "no folder that exists"),
    ):
        with pytest.raises(ValueError, match=f"--csv .*{message}"):
            check_destination(wrong, (".csv",), name="--csv")
    with pytest.raises(ValueError, match="is a folder"):
        check_destination(tmp_path)
    if sys.platform == "linux":
        assert check_destination(os.devnull, (".csv",)) == Path(os.devnull)
        with pytest.raises(ValueError, match="cannot be written"):
            check_destination("/proc/file.csv")
    assert not list(tmp_path.iterdir())


def test_folders_are_claimed_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: new_folder(tmp_path / "runs", "run"), range(40)))
    assert len(set(folders)) == 40
    assert take_folder(tmp_path / "a" / "b") == take_folder(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "file").touch()
    with pytest.raises(ValueError, match=r"--output must be a new or an empty folder, .* holds 'file'"):
        take_folder(tmp_path / "a" / "b", name="--output")
    with pytest.raises(ValueError, match="cannot be made"):
        take_folder(tmp_path / "a" / "b" / "file")
