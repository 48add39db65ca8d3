"""New images: qemu-img finds in them what was asked for."""

from pathlib import Path
from typing import Any

import pytest

from innkeeper.errors import ConfigError, ImageError
from innkeeper.storage import ImageOptions, create, info
from tests.storage.qemu import is_clean, needs_qemu, qemu_img, qemu_io, qemu_json

pytestmark = needs_qemu
MIB = 1 << 20


@pytest.mark.parametrize("preallocation", ["off", "falloc", "full"])
def test_a_raw_image_takes_the_space_that_it_is_to_take(tmp_path: Path, preallocation: str) -> None:
    path = tmp_path / "disk.raw"

    create(path, 4 * MIB, options=ImageOptions(preallocation=preallocation))

    assert path.stat().st_size == 4 * MIB
    assert (path.stat().st_blocks * 512 >= 4 * MIB) == (preallocation != "off")
    assert not any(path.read_bytes())


@pytest.mark.parametrize("preallocation", ["off", "metadata", "falloc", "full"])
@pytest.mark.parametrize("cluster_size", [512, 4096, 65536, 2 * MIB])
def test_a_qcow2_image_is_clean_and_writable(tmp_path: Path, preallocation: str, cluster_size: int) -> None:
    path = tmp_path / "disk.qcow2"

    create(
        path,
        9 * MIB + 512,
        image_format="qcow2",
        options=ImageOptions(preallocation=preallocation, cluster_size=cluster_size),
    )

    assert is_clean(path)
    assert qemu_json("info", path)["virtual-size"] == 9 * MIB + 512
    qemu_io(path, f"read -P 0 0 {9 * MIB + 512}", "write -P 7 1M 3M", "read -P 7 1M 3M")
    assert is_clean(path)


@pytest.mark.parametrize(
    "options",
    [
        {"compat": "0.10"},
        {"compat": "0.10", "cluster_size": 512},
        {"lazy_refcounts": True},
        {"compression_type": "zstd"},
        {"extended_l2": True},
        *({"refcount_bits": bits} for bits in (1, 2, 4, 8, 32, 64)),
    ],
    ids=str,
)
def test_qemu_img_says_the_same_of_it_as_we(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "disk.qcow2"

    create(path, 100 * MIB, image_format="qcow2", options=ImageOptions(**options))

    assert is_clean(path)
    assert dict(info(path)) == qemu_json("info", path)


@pytest.mark.parametrize("size", [0, 512, 1 << 40, 8 << 40])
def test_sizes_from_nothing_to_huge(tmp_path: Path, size: int) -> None:
    path = tmp_path / "disk.qcow2"

    create(path, size, image_format="qcow2")

    assert is_clean(path)
    assert qemu_json("info", path)["virtual-size"] == size


def test_an_overlay_has_its_backing_images_size(tmp_path: Path) -> None:
    create(tmp_path / "base.raw", 5 * MIB)
    path = tmp_path / "over.qcow2"

    made = create(path, image_format="qcow2", options=ImageOptions(backing_file="base.raw", backing_fmt="raw"))

    assert made == 5 * MIB
    assert dict(info(path)) == qemu_json("info", path)
    assert qemu_json("info", "--backing-chain", path)[1]["filename"] == str(tmp_path / "base.raw")


def test_what_was_there_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(b"x" * MIB)
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)

    create(link, MIB, image_format="qcow2")

    assert link.is_symlink()
    assert is_clean(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["disk.qcow2", "link"]


@pytest.mark.parametrize(
    ("backing", "sentence"),
    [
        ("absent.raw", "cannot open .*absent.raw"),
        ("disk.qcow2", "cannot be its own backing file"),
        ("nbd:localhost", "backing files are files of this host"),
        (".", "a folder"),
    ],
)
def test_a_backing_file_that_cannot_be(tmp_path: Path, backing: str, sentence: str) -> None:
    path = tmp_path / "disk.qcow2"
    create(path, MIB, image_format="qcow2")
    before = path.read_bytes()

    with pytest.raises(ImageError, match=sentence):
        create(path, MIB, image_format="qcow2", options=ImageOptions(backing_file=backing, backing_fmt="qcow2"))

    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["disk.qcow2"]


def test_a_backing_file_may_be_missing_if_nobody_looks(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    options = ImageOptions(backing_file="later.qcow2", backing_fmt="qcow2")

    create(path, MIB, image_format="qcow2", options=options, open_backing=False)

    assert info(path)["backing-filename"] == "later.qcow2"
    with pytest.raises(ConfigError, match=r"the size of .* is not given"):
        create(path, image_format="qcow2", options=options, open_backing=False)


def test_metadata_is_not_what_a_raw_image_has(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no metadata to preallocate"):
        create(tmp_path / "disk.raw", MIB, options=ImageOptions(preallocation="metadata"))


def test_a_disk_too_large_for_its_clusters_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="use a larger cluster_size"):
        create(tmp_path / "disk.qcow2", 1 << 50, image_format="qcow2", options=ImageOptions(cluster_size=512))

    assert not list(tmp_path.iterdir())


def test_an_image_of_an_own_layout_is_what_qemu_img_makes_of_the_same_options(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.qcow2", tmp_path / "theirs.qcow2"
    create(ours, 50 * MIB, image_format="qcow2", options=ImageOptions(cluster_size=1 << 17, refcount_bits=8))
    qemu_img("create", "-f", "qcow2", "-o", "cluster_size=128k,refcount_bits=8", theirs, "50M")

    differing = {"filename", "actual-size"}
    assert {key: value for key, value in qemu_json("info", ours).items() if key not in differing} == {
        key: value for key, value in qemu_json("info", theirs).items() if key not in differing
    }
