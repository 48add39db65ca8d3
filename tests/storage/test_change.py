"""Images changed where they are: sequences of operations, ours and qemu-img's mixed, judged by qemu-img after each."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.errors import ImageError
from innkeeper.storage import (
    ImageOptions,
    apply_snapshot,
    check,
    commit,
    create,
    create_snapshot,
    delete_snapshot,
    image_map,
    info,
    rebase,
    resize,
    snapshots,
)
from tests.storage.qemu import is_clean, needs_qemu, qemu_img, qemu_io, qemu_json, raw_of, same

pytestmark = needs_qemu
MIB = 1 << 20
LAYOUTS = {
    "default": "",
    "small clusters": "cluster_size=512",
    "large clusters": "cluster_size=2M",
    "version 2": "compat=v2",
    "extended L2": "extended_l2=on",
    "lazy": "lazy_refcounts=on",
    "narrow refcounts": "refcount_bits=4",
    "wide refcounts": "refcount_bits=64,cluster_size=4k",
}


@pytest.fixture(params=LAYOUTS, name="image")
def make_image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An image of qemu-img's with something in it."""
    path = tmp_path / "image.qcow2"
    options = LAYOUTS[request.param]
    qemu_img("create", "-q", "-f", "qcow2", *(["-o", options] if options else []), path, "6M")
    qemu_io(path, "write -P 1 0 1M", "write -P 2 1500k 700k", "write -P 3 5M 1M")
    return path


def contents(image: Path) -> bytes:
    return raw_of(image, image.with_suffix(".raw"))


def test_snapshots_are_kept_gone_back_to_and_forgotten(image: Path) -> None:
    first = contents(image)
    create_snapshot(image, "first")
    assert is_clean(image)
    qemu_io(image, "write -P 9 0 2M", "write -z 5M 512k")
    second = contents(image)
    create_snapshot(image, "second")
    assert is_clean(image)
    qemu_io(image, "write -P 10 3M 1M", "discard 0 1M")
    assert [each["name"] for each in snapshots(image)] == ["first", "second"]
    assert dict(info(image)) == qemu_json("info", image)

    apply_snapshot(image, "1")
    assert is_clean(image)
    assert contents(image) == first
    apply_snapshot(image, "second")
    assert contents(image) == second
    delete_snapshot(image, "second")
    assert is_clean(image)
    assert contents(image) == second
    apply_snapshot(image, "first")
    delete_snapshot(image, "first")
    assert is_clean(image)
    assert contents(image) == first
    assert snapshots(image) == []


def test_snapshots_of_qemu_img_are_ours_too(image: Path) -> None:
    before = contents(image)
    qemu_img("snapshot", "-c", "theirs", image)
    qemu_io(image, "write -P 7 0 6M")

    apply_snapshot(image, "theirs")
    assert contents(image) == before
    create_snapshot(image, "ours")
    qemu_img("snapshot", "-d", "theirs", image)
    qemu_img("snapshot", "-a", "ours", image)
    assert is_clean(image)
    assert contents(image) == before


def test_no_name_is_used_twice_and_none_is_made_up(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, MIB, image_format="qcow2")
    create_snapshot(path, "one")
    before = path.read_bytes()

    for action, name, sentence in (
        (create_snapshot, "one", 'it has a snapshot "one" already'),
        (create_snapshot, "", "needs a name"),
        (apply_snapshot, "two", 'no snapshot "two"; it has one'),
        (delete_snapshot, "two", "no snapshot"),
    ):
        with pytest.raises(ImageError, match=sentence):
            action(path, name)
    assert path.read_bytes() == before


def test_a_disk_grows_and_shrinks(image: Path) -> None:
    before = contents(image)

    resize(image, 9 * MIB + 512)
    assert is_clean(image)
    assert contents(image) == before + bytes(3 * MIB + 512)
    with pytest.raises(ImageError, match="--shrink"):
        resize(image, 2 * MIB)
    resize(image, 2 * MIB, shrink=True)
    assert is_clean(image)
    assert contents(image) == before[: 2 * MIB]
    resize(image, 300 * MIB)
    assert is_clean(image)
    assert not any(contents(image)[2 * MIB :]), "what was cut off does not come back"


@pytest.mark.parametrize("preallocation", ["metadata", "falloc", "full"])
def test_what_is_added_can_have_its_space_at_once(image: Path, preallocation: str) -> None:
    before = contents(image)

    resize(image, 11 * MIB, preallocation=preallocation)

    assert is_clean(image)
    assert contents(image) == before + bytes(5 * MIB)
    assert image_map(image)[-1]["present"]


@pytest.mark.parametrize("snapshot", [True, False])
def test_growing_an_overlay_does_not_show_its_backing_image(tmp_path: Path, snapshot: bool) -> None:
    base, over = tmp_path / "base.raw", tmp_path / "over.qcow2"
    base.write_bytes(b"\xff" * (4 * MIB))
    for compat in ("0.10", "1.1"):
        qemu_img("create", "-q", "-f", "qcow2", "-o", f"compat={compat}", "-b", base, "-F", "raw", over, 100_352)
        if snapshot and compat == "1.1":
            create_snapshot(over, "small")

        resize(over, 3 * MIB)

        assert is_clean(over)
        assert contents(over) == b"\xff" * 100_352 + bytes(3 * MIB - 100_352)


@pytest.mark.parametrize("preallocation", ["off", "falloc", "full"])
def test_raw_disks_grow_and_shrink_too(tmp_path: Path, preallocation: str) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"x" * MIB)

    resize(path, 3 * MIB, "raw", preallocation=preallocation)
    assert path.read_bytes() == b"x" * MIB + bytes(2 * MIB)
    assert (path.stat().st_blocks * 512 >= 3 * MIB) == (preallocation != "off")
    resize(path, 1000, "raw", shrink=True)
    assert path.read_bytes() == b"x" * 1000


def overlay(base: Path, path: Path, *commands: str, base_format: str = "qcow2", size: str = "") -> Path:
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", base_format, path, *([size] if size else []))
    qemu_io(path, *commands)
    return path


@pytest.mark.parametrize("base_format", ["raw", "qcow2"])
def test_a_commit_moves_what_the_overlay_has(tmp_path: Path, base_format: str) -> None:
    base = tmp_path / "base"
    create(base, 4 * MIB, image_format=base_format)
    qemu_io(base, "write -P 1 0 4M", image_format=base_format)
    over = overlay(
        base, tmp_path / "over.qcow2", "write -P 2 100k 1M", "write -z 2M 1M", base_format=base_format, size="5M"
    )
    qemu_io(over, "write -P 3 4500k 100k")
    before = contents(over)

    commit(over)

    assert is_clean(over)
    assert contents(over) == before
    assert not any(row["present"] and row["depth"] == 0 for row in image_map(over)), "the overlay is empty"
    if base_format == "qcow2":
        assert is_clean(base)
    assert same(base, over)


def test_a_commit_further_down_leaves_the_overlay(tmp_path: Path) -> None:
    base = tmp_path / "base.qcow2"
    create(base, 4 * MIB, image_format="qcow2")
    middle = overlay(base, tmp_path / "middle.qcow2", "write -P 1 0 1M")
    top = overlay(middle, tmp_path / "top.qcow2", "write -P 2 512k 1M")
    before, rows = contents(top), qemu_json("map", top)

    commit(top, base=str(base))

    assert contents(top) == before
    assert qemu_json("map", top) == rows
    assert same(base, top)
    with pytest.raises(ImageError, match=r"not backed by .*other"):
        commit(top, base="other")


def test_a_commit_may_keep_the_overlay(tmp_path: Path) -> None:
    base = tmp_path / "base.qcow2"
    create(base, MIB, image_format="qcow2")
    over = overlay(base, tmp_path / "over.qcow2", "write -P 1 0 64k")
    before = over.read_bytes()

    commit(over, keep=True)

    assert over.read_bytes() == before
    assert same(base, over)
    with pytest.raises(ImageError, match="no backing file to commit to"):
        commit(base)


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_a_rebase_changes_no_byte_of_the_disk(tmp_path: Path, compat: str) -> None:
    old, new, over = tmp_path / "old.raw", tmp_path / "new.qcow2", tmp_path / "over.qcow2"
    old.write_bytes(b"\x01" * MIB + bytes(MIB) + b"\x02" * MIB + bytes(700_416))
    qemu_img("create", "-q", "-f", "qcow2", new, "5M")
    qemu_io(new, "write -P 1 0 1500k", "write -P 5 3M 2M")
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"compat={compat}", "-b", old, "-F", "raw", over, "4900k")
    qemu_io(over, "write -P 7 600k 100k")
    before = contents(over)

    rebase(over, "new.qcow2", backing_format="qcow2")
    assert is_clean(over)
    assert contents(over) == before
    assert dict(info(over)) == qemu_json("info", over)
    assert info(over)["backing-filename"] == "new.qcow2"
    rows = image_map(over, length=600_000)
    assert rows[0]["depth"] == 1, "what is alike is not copied"

    rebase(over, None)
    assert is_clean(over)
    assert contents(over) == before
    assert "backing-filename" not in info(over)


def test_an_unsafe_rebase_writes_the_name_alone(tmp_path: Path) -> None:
    over = tmp_path / "over.qcow2"
    options = ImageOptions(backing_file="absent", backing_fmt="raw")
    create(over, MIB, image_format="qcow2", options=options, open_backing=False)

    for name in ("x" * 1000, "y", "z" * 500, "é" * 400):
        rebase(over, name, backing_format="qcow2", unsafe=True)
        assert qemu_json("info", "-U", over)["backing-filename"] == name
        assert info(over)["backing-filename-format"] == "qcow2"
    with pytest.raises(ImageError, match="the limit is 1023"):
        rebase(over, "x" * 1024, backing_format="qcow2", unsafe=True)


def test_nobody_is_backed_by_themselves(tmp_path: Path) -> None:
    base = tmp_path / "base.qcow2"
    create(base, MIB, image_format="qcow2")
    over = overlay(base, tmp_path / "over.qcow2", "write 0 64k")
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", over, "-F", "qcow2", base)

    for image in (over, base):
        with pytest.raises(ImageError, match="backed by the image itself"):
            image_map(image)
    create(base, MIB, image_format="qcow2")
    with pytest.raises(ImageError, match="is this image or is backed by it"):
        rebase(base, "over.qcow2", backing_format="qcow2")


def steps(rng: random.Random, image: Path) -> Callable[[], object]:
    """One operation that leaves the disk's contents to the model below."""
    names = [each["name"] for each in snapshots(image)]
    choices: list[Callable[[], object]] = [
        lambda: create_snapshot(image, f"s{rng.randrange(10**9)}"),
        lambda: qemu_img("snapshot", "-c", f"q{rng.randrange(10**9)}", image),
        lambda: check(image, repair="all"),
    ]
    if names:
        name = rng.choice(names)
        choices += [lambda: delete_snapshot(image, name), lambda: qemu_img("snapshot", "-d", name, image)]
    return rng.choice(choices)


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_operations_leaves_the_disk_and_a_clean_image(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    image = tmp_path / "image.qcow2"
    options = rng.choice(["cluster_size=512", "cluster_size=4k", "refcount_bits=8", "cluster_size=64k"])
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, image, "3M")
    model = bytearray(3 * MIB)
    for _ in range(12):
        if rng.random() < 0.5:
            at, length, value = 512 * rng.randrange(5000), 512 * rng.randrange(1, 1000), rng.randrange(1, 250)
            qemu_io(image, f"write -P {value} {at} {length}")
            model[at : at + length] = bytes([value]) * length
        elif rng.random() < 0.8:
            steps(rng, image)()
        else:
            size = 512 * rng.randrange(5000, 9000)
            resize(image, size, shrink=True)
            model = model[:size] + bytearray(max(0, size - len(model)))
            resize(image, max(size, 3 * MIB))
            model += bytes(max(0, 3 * MIB - len(model)))
        assert is_clean(image)
        assert contents(image) == bytes(model)
    assert "leaks" not in check(image)
