"""Who may use an image at the same time: ours among themselves, and with QEMU's tools."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper._core import Disk

MIB = 1 << 20
needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img on this host: package qemu-utils")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(MIB)
    return path


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_one_writer_excludes_everybody_and_readers_exclude_writers(path: Path) -> None:
    writer = Disk(path, format="raw")
    for read_only in (False, True):
        with pytest.raises(BlockingIOError, match=r"disk\.raw is locked: .*\(process \d+\)"):
            Disk(path, format="raw", read_only=read_only)
    assert Disk(path, format="raw", read_only=True, lock=False).size == MIB
    writer.close()
    readers = [Disk(path, format="raw", read_only=True) for _ in range(3)]
    with pytest.raises(BlockingIOError, match="stop it, or open the image read-only"):
        Disk(path, format="raw")
    del readers
    Disk(path, format="raw").close()


def test_the_process_that_has_the_image_is_named(path: Path) -> None:
    code = "import sys; from innkeeper._core import Disk; d = Disk(sys.argv[1], format='raw'); print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "1\n"
        with pytest.raises(BlockingIOError, match=rf"process {other.pid}\) writes it"):
            Disk(path, format="raw", read_only=True)
    finally:
        other.communicate("\n", timeout=30)
    Disk(path, format="raw").close()


def test_a_backing_file_may_be_shared_but_not_written(tmp_path: Path, path: Path) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("no qemu-img on this host: package qemu-utils")
    overlays = [tmp_path / f"{name}.qcow2" for name in "ab"]
    for overlay in overlays:
        assert run("qemu-img", "create", "-f", "qcow2", "-b", path, "-F", "raw", overlay).returncode == 0
    disks = [Disk(overlay) for overlay in overlays]
    with pytest.raises(BlockingIOError, match=r"disk\.raw is locked"):
        Disk(path, format="raw")
    del disks
    writer = Disk(path, format="raw")
    with pytest.raises(BlockingIOError, match=r"disk\.raw is locked: .* \(backing chain: .*a\.qcow2 -> .*disk\.raw\)"):
        Disk(overlays[0])
    writer.close()


@needs_qemu
def test_qemu_and_we_respect_each_other(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    assert run("qemu-img", "create", "-f", "qcow2", path, "1M").returncode == 0
    writer = Disk(path)
    for words in (["qemu-io", "-c", "write 0 4k"], ["qemu-img", "info"], ["qemu-img", "check"]):
        answer = run(*words, path)
        assert answer.returncode != 0
        assert "lock" in answer.stdout + answer.stderr
    writer.close()
    reader = Disk(path, read_only=True)
    assert run("qemu-img", "info", path).returncode == 0
    assert "lock" in run("qemu-io", "-c", "write 0 4k", path).stderr
    reader.close()
    qemu = subprocess.Popen(["qemu-io", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        qemu.stdin.write("write 0 4k\n")
        qemu.stdin.flush()
        while "wrote" not in qemu.stdout.readline():
            pass
        with pytest.raises(BlockingIOError, match=rf"qemu-io \(process {qemu.pid}\)"):
            Disk(path)
        with pytest.raises(BlockingIOError, match="writes it"):
            Disk(path, read_only=True)
    finally:
        qemu.communicate("quit\n", timeout=30)
    Disk(path).close()
