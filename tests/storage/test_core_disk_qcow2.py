"""qcow2 disks against QEMU's own tools: what one writes the other reads, and its check finds nothing."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from innkeeper._core import Disk

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img on this host: package qemu-utils")

MIB = 1 << 20


def qemu(*words: str | Path) -> str:
    answer = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def create(path: Path, options: str, size: int = 8 * MIB, *backing: str) -> Path:
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, *backing, path, str(size))
    return path


def check(path: Path) -> None:
    report = json.loads(qemu("qemu-img", "check", "--output=json", path))
    assert not report.get("corruptions")
    assert not report.get("leaks")
    assert not report.get("check-errors")


def compare(image: Path, model: bytes | bytearray) -> None:
    plain = image.with_suffix(".model")
    plain.write_bytes(model)
    qemu("qemu-img", "compare", "-f", "raw", "-F", "qcow2", plain, image)


OPTIONS = [
    "compat=0.10",
    "compat=1.1",
    "cluster_size=512",
    "cluster_size=2M",
    "refcount_bits=1",
    "refcount_bits=64,cluster_size=4096",
    "compression_type=zstd",
    "lazy_refcounts=on",
    "preallocation=metadata",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k,compression_type=zstd",
    "preallocation=falloc",
]


def scribble(disk: Disk, model: bytearray, seed: int) -> None:
    """Random requests to both."""
    draw = random.Random(seed)
    for _ in range(150):
        offset = draw.randrange(len(model) // 512) * 512
        length = min(draw.choice([512, 4096, 65536, 300 * 512]), len(model) - offset)
        match draw.randrange(6):
            case 0:
                disk.write_zeroes(offset, length, unmap=draw.random() < 0.5)
                model[offset : offset + length] = bytes(length)
            case 1:
                disk.discard(offset, length)
                model[offset : offset + length] = disk.read(offset, length)
            case 2:
                disk.flush()
            case _:
                model[offset : offset + length] = data = draw.randbytes(length)
                disk.write(offset, data)


@pytest.mark.parametrize("options", OPTIONS)
def test_qemu_finds_no_fault_and_the_same_bytes(tmp_path: Path, options: str) -> None:
    path = create(tmp_path / "disk.qcow2", options)
    model = bytearray(8 * MIB)
    for seed in range(3):
        disk = Disk(path, format="qcow2")
        scribble(disk, model, seed)
        assert disk.read(0, len(model)) == model
        disk.close()
        check(path)
        compare(path, model)


def test_what_qemu_writes_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", "cluster_size=4096")
    qemu("qemu-io", "-c", "write -P 7 5000 100000", "-c", "write -z 40k 8k", "-c", "discard 80k 4k", path)
    disk = Disk(path, read_only=True)

    assert disk.format == "qcow2"
    assert disk.read(4096, 4096) == bytes(904) + b"\7" * 3192
    assert disk.read(40 * 1024, 8192) == bytes(8192)
    assert disk.read(80 * 1024, 4096) == bytes(4096)


@pytest.fixture(params=["zlib", "zstd"])
def compressed(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, bytes]:
    text = b"".join(b"%d bottles of beer\n" % number for number in range(300_000))[: 4 * MIB]
    plain = tmp_path / "plain.raw"
    plain.write_bytes(text)
    path = tmp_path / "compressed.qcow2"
    option = f"compression_type={request.param}"
    qemu("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", option, plain, path)
    return path, text


def test_compressed_clusters_are_read_and_written_over(compressed: tuple[Path, bytes]) -> None:
    path, text = compressed
    model = bytearray(text)
    disk = Disk(path, format="qcow2")
    assert disk.read(0, len(text)) == text
    scribble(disk, model, seed=5)
    assert disk.read(0, len(text)) == model
    disk.close()
    check(path)
    compare(path, model)


def test_subclusters_are_read_and_written(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", "extended_l2=on,cluster_size=64k", MIB)
    qemu("qemu-io", "-c", "write -P 7 4k 6k", "-c", "write -z 64k 64k", "-c", "write -P 9 66k 2k", path)
    disk = Disk(path)
    model = bytearray(MIB)
    model[4096 : 4096 + 6144] = b"\7" * 6144
    model[65536 + 2048 : 65536 + 4096] = b"\x09" * 2048

    assert disk.read(0, MIB) == model
    assert disk.extent(4096, MIB - 4096) == (6144, False, True)
    disk.write(512, b"x" * 512)
    model[512:1024] = b"x" * 512
    assert disk.extent(2048, MIB - 2048) == (2048, True, False), "a whole cluster was filled"
    disk.close()
    check(path)
    compare(path, model)


@pytest.mark.parametrize("options", ["compat=1.1", "extended_l2=on"])
def test_a_snapshot_keeps_what_it_had(tmp_path: Path, options: str) -> None:
    path = create(tmp_path / "disk.qcow2", options)
    model = bytearray(8 * MIB)
    disk = Disk(path)
    scribble(disk, model, seed=1)
    disk.close()
    qemu("qemu-img", "snapshot", "-c", "before", path)
    then = bytes(model)
    for seed in (2, 3):
        disk = Disk(path)
        scribble(disk, model, seed)
        disk.close()
        check(path)
    compare(path, model)
    qemu("qemu-img", "snapshot", "-a", "before", path)
    compare(path, then)
    qemu("qemu-img", "snapshot", "-d", "before", path)
    check(path)


@pytest.mark.parametrize("options", ["compat=1.1", "extended_l2=on"])
def test_overlays_show_what_lies_below_and_leave_it_alone(tmp_path: Path, options: str) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(random.Random(9).randbytes(3 * MIB + 512))
    before = base.read_bytes()
    middle = create(tmp_path / "middle.qcow2", "compat=1.1", 6 * MIB, "-b", "base.raw", "-F", "raw")
    qemu("qemu-io", "-c", "write -P 3 1M 64k", "-c", "write -P 4 4M 64k", middle)
    top = create(tmp_path / "top.qcow2", options, 8 * MIB, "-b", str(middle), "-F", "qcow2")
    below = middle.read_bytes()
    model = bytearray(before + bytes(8 * MIB - len(before)))
    model[MIB : MIB + 65536] = b"\3" * 65536
    model[4 * MIB : 4 * MIB + 65536] = b"\4" * 65536
    disk = Disk(top, format="qcow2")
    assert disk.read(0, 8 * MIB) == model
    assert disk.chain == [top, middle, base]
    scribble(disk, model, seed=4)
    disk.close()

    assert base.read_bytes() == before
    assert middle.read_bytes() == below
    check(top)
    compare(top, model)


def test_clusters_that_nobody_needs_are_holes(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", "compat=1.1")
    disk = Disk(path)
    disk.write(0, b"x" * 8 * MIB)
    disk.flush()
    full = path.stat().st_blocks
    disk.discard(0, 8 * MIB)
    disk.flush()

    assert path.stat().st_blocks * 512 < full * 512 - 7 * MIB
    disk.close()
    check(path)
    compare(path, bytes(8 * MIB))


def test_images_that_cannot_be_are_refused_in_one_sentence(tmp_path: Path) -> None:
    overlay = create(tmp_path / "overlay.qcow2", "compat=1.1", MIB)
    qemu("qemu-img", "rebase", "-u", "-F", "raw", "-b", "missing.raw", overlay)
    with pytest.raises(FileNotFoundError, match=r"cannot open .*missing\.raw \(backing chain: .*overlay\.qcow2 -> "):
        Disk(overlay)
    qemu("qemu-img", "rebase", "-u", "-F", "qcow2", "-b", "overlay.qcow2", overlay)
    with pytest.raises(ValueError, match="the chain of backing files is a loop: "):
        Disk(overlay)
    qemu("qemu-img", "rebase", "-u", "-F", "raw", "-b", "nbd://host/disk", overlay)
    with pytest.raises(ValueError, match=r"overlay\.qcow2: its backing file 'nbd://host/disk'|named by nbd:"):
        Disk(overlay)
    assert Disk(overlay, backing=False).read(0, 512) == bytes(512)
    qemu("qemu-img", "rebase", "-u", "-F", "vmdk", "-b", "x.vmdk", overlay)
    with pytest.raises(ValueError, match=r'overlay\.qcow2: format "vmdk" is unknown'):
        Disk(overlay)


def test_an_encrypted_image_is_refused(tmp_path: Path) -> None:
    path = create(tmp_path / "secret.qcow2", "compat=1.1", MIB)
    with path.open("r+b") as file:
        file.seek(32)
        file.write((2).to_bytes(4, "big"))  # LUKS; making a real one takes seconds

    with pytest.raises(ValueError, match=r"secret\.qcow2: the image is encrypted"):
        Disk(path)


def test_an_image_that_was_not_closed_is_counted_anew(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", "lazy_refcounts=on")
    qemu_io = subprocess.Popen(["qemu-io", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert qemu_io.stdin is not None
    assert qemu_io.stdout is not None
    for line in ("write -f -P 5 0 3M\n", "write -P 6 4M 64k\n"):
        qemu_io.stdin.write(line)
        qemu_io.stdin.flush()
        while "wrote" not in qemu_io.stdout.readline():
            assert qemu_io.poll() is None
    qemu_io.kill()
    qemu_io.communicate(timeout=30)
    assert path.read_bytes()[79] & 1, "qemu-io left no mark"
    assert Disk(path, read_only=True).read(0, 4) == b"\5" * 4
    disk = Disk(path)

    assert "was not closed" in disk.warnings[0]
    assert disk.read(3 * MIB - 4, 8) == b"\5" * 4 + bytes(4)
    disk.write(5 * MIB, b"x" * 65536)
    disk.close()
    check(path)


def test_a_disk_that_has_settled_is_closed_without_a_trace(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", "compat=1.1")
    disk = Disk(path, format="qcow2")
    disk.write(MIB, b"x" * MIB)
    disk.flush()
    grown = path.stat().st_size
    disk.settle()
    settled = path.stat()
    assert settled.st_size < grown
    disk.close()
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (settled.st_size, settled.st_mtime_ns)
    check(path)
