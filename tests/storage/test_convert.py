"""Copies of disks: the same bytes, whatever way they went, to qemu-img as to us."""

import random
from pathlib import Path

import pytest

from innkeeper.errors import ConfigError, ImageError
from innkeeper.storage import Conversion, ImageOptions, compare, convert, create, image_map, info
from tests.storage.qemu import is_clean, needs_qemu, qemu_img, qemu_io, qemu_json, raw_of, same

pytestmark = needs_qemu
MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Noise, text, zeroes that were written, holes, and an end within a cluster."""
    path = tmp_path / "disk.raw"
    noise = random.Random(4)
    with path.open("wb") as file:
        for offset, data in (
            (0, noise.randbytes(200_000)),
            (MIB, b"the same again and again " * 40_000),
            (3 * MIB + 5000, noise.randbytes(100)),
            (4 * MIB, bytes(MIB)),
            (7 * MIB - 1, b"!"),
        ):
            file.seek(offset)
            file.write(data)
        file.truncate(9 * MIB + 1536)
    return path


LAYOUTS = [
    ImageOptions(),
    ImageOptions(cluster_size=512),
    ImageOptions(cluster_size=2 * MIB),
    ImageOptions(compat="0.10"),
    ImageOptions(refcount_bits=1),
    ImageOptions(refcount_bits=64, cluster_size=4096),
    ImageOptions(extended_l2=True),
    ImageOptions(compression_type="zstd"),
    ImageOptions(compression_type="zstd", cluster_size=4096),
]


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
@pytest.mark.parametrize("compress", [False, True])
def test_there_and_back(disk: Path, tmp_path: Path, options: ImageOptions, compress: bool) -> None:
    packed, back = tmp_path / "disk.qcow2", tmp_path / "back.raw"

    convert(disk, packed, Conversion(image_format="qcow2", options=options, compress=compress))
    convert(packed, back, Conversion(source_format="qcow2"))

    assert is_clean(packed)
    assert same(disk, packed)
    assert back.read_bytes() == disk.read_bytes()
    assert back.stat().st_blocks * 512 < 3 * MIB, "holes stay holes"
    assert packed.stat().st_size < 5 * MIB or options.cluster_size == 2 * MIB


@pytest.mark.parametrize("preallocation", ["metadata", "falloc", "full"])
@pytest.mark.parametrize("sparse_size", [0, 4096])
def test_preallocated_copies(disk: Path, tmp_path: Path, preallocation: str, sparse_size: int) -> None:
    target = tmp_path / "disk.qcow2"

    convert(
        disk,
        target,
        Conversion(image_format="qcow2", options=ImageOptions(preallocation=preallocation), sparse_size=sparse_size),
    )

    assert is_clean(target)
    assert same(disk, target)
    check = qemu_json("check", target)
    assert check["allocated-clusters"] == check["total-clusters"]


def test_nothing_is_left_out_if_so_asked(disk: Path, tmp_path: Path) -> None:
    target = tmp_path / "full.raw"

    convert(disk, target, Conversion(sparse_size=0))

    assert target.read_bytes() == disk.read_bytes()
    assert target.stat().st_blocks * 512 >= disk.stat().st_size


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("compress", [False, True])
def test_the_disk_does_not_depend_on_threads(disk: Path, tmp_path: Path, threads: int, compress: bool) -> None:
    copy = tmp_path / "copy.qcow2"
    how = Conversion(
        image_format="qcow2", options=ImageOptions(cluster_size=512), compress=compress, sparse_size=0, threads=threads
    )

    convert(disk, copy, how)

    assert is_clean(copy)
    assert same(disk, copy)


@pytest.mark.parametrize("words", ["", "-c", "-c -o compression_type=zstd", "-o compat=v2 -c", "-o extended_l2=on"])
def test_what_qemu_img_made_is_read_right(disk: Path, tmp_path: Path, words: str) -> None:
    theirs = tmp_path / "theirs.qcow2"
    qemu_img("convert", "-O", "qcow2", *words.split(), disk, theirs)

    convert(theirs, tmp_path / "back.raw", Conversion())

    assert (tmp_path / "back.raw").read_bytes() == disk.read_bytes()
    assert compare(theirs, disk) is None


def test_a_chain_is_made_one_image(disk: Path, tmp_path: Path) -> None:
    over, top = tmp_path / "over.qcow2", tmp_path / "top.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", over, "12M")
    qemu_io(over, "write -P 1 100k 300k", "write -z 1M 64k", "write -P 2 11M 1M")
    qemu_img("create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "-b", over, "-F", "qcow2", top, "11M")
    qemu_io(top, "write -P 3 130k 4k", "write -z 202k 30k", "write -P 4 5M 70k")

    convert(top, tmp_path / "flat.qcow2", Conversion(image_format="qcow2"))

    assert is_clean(tmp_path / "flat.qcow2")
    assert same(top, tmp_path / "flat.qcow2")
    assert "backing-filename" not in info(tmp_path / "flat.qcow2")
    assert image_rows(top) == qemu_json("map", top)


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_a_copy_keeps_to_its_backing_image(disk: Path, tmp_path: Path, compat: str) -> None:
    over, copy = tmp_path / "over.qcow2", tmp_path / "copy.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", over)
    qemu_io(over, "write -P 9 64k 64k", "write -z 1M 128k", "write -P 0 1280k 64k")

    convert(
        over,
        copy,
        Conversion(
            image_format="qcow2", options=ImageOptions(compat=compat, backing_file=str(disk), backing_fmt="raw")
        ),
    )

    assert is_clean(copy)
    assert same(over, copy)
    assert copy.stat().st_size < MIB, "what the backing image has is left out"


def test_a_snapshot_is_copied_as_it_was(disk: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    qemu_img("convert", "-O", "qcow2", disk, image)
    qemu_img("snapshot", "-c", "before", image)
    qemu_io(image, "write -P 5 0 1M")

    convert(image, tmp_path / "before.raw", Conversion(snapshot="before"))

    assert (tmp_path / "before.raw").read_bytes() == disk.read_bytes()
    assert raw_of(image, tmp_path / "qemu.raw", "-l", "before") == disk.read_bytes()
    with pytest.raises(ImageError, match='no snapshot "after"; it has before'):
        convert(image, tmp_path / "x.raw", Conversion(snapshot="after"))


def test_an_image_is_not_copied_onto_itself(disk: Path, tmp_path: Path) -> None:
    over = tmp_path / "over.qcow2"
    create(over, image_format="qcow2", options=ImageOptions(backing_file=str(disk), backing_fmt="raw"))

    for target in (over, disk):
        with pytest.raises(ImageError, match="onto itself"):
            convert(over, target, Conversion(image_format="qcow2"))


def test_raw_images_are_not_compressed(disk: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be compressed"):
        convert(disk, tmp_path / "x.raw", Conversion(compress=True))


def test_whoever_watches_sees_the_end_and_can_stop_it(disk: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def watch(done: int, total: int) -> None:
        seen.append((done, total))

    convert(disk, tmp_path / "a.qcow2", Conversion(image_format="qcow2"), watch)
    assert seen[-1] == (disk.stat().st_size, disk.stat().st_size)

    def enough(_done: int, _total: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        convert(slow(tmp_path), tmp_path / "b.qcow2", Conversion(image_format="qcow2", sparse_size=0), progress=enough)
    assert not (tmp_path / "b.qcow2").exists()
    assert not list(tmp_path.glob(".*"))


def slow(tmp_path: Path) -> Path:
    """A disk whose copy takes longer than a look at it."""
    path = tmp_path / "slow.raw"
    create(path, 1 << 30)
    return path


def image_rows(path: Path) -> list[dict[str, object]]:
    """Our map in the words of qemu-img 7.2, which says nothing of compression and files."""
    hidden = ("compressed", "filename")
    return [{name: value for name, value in row.items() if name not in hidden} for row in image_map(path)]
