"""Kernel modules: dependencies read from small ELF objects made here."""

import lzma
import struct
from pathlib import Path

import pytest

from innkeeper.errors import ImageError
from innkeeper.image.modules import ModuleTree, dependency_file, needs, read_module, soft_needs


def elf_with(information: bytes) -> bytes:
    """A 64-bit ELF object whose only named content is .modinfo."""
    names = b"\0.modinfo\0.shstrtab\0"
    information_at, names_at = 64, 64 + len(information)
    table_at = names_at + len(names)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, 62, 1, 0, 0, table_at, 0, 64, 0, 0, 64, 3, 2)
    sections = [
        bytes(64),
        struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, information_at, len(information), 0, 0, 1, 0),
        struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, names_at, len(names), 0, 0, 1, 0),
    ]
    return header + information + names + b"".join(sections)


def module_needing(*names: str) -> bytes:
    return elf_with(b"license=GPL\0depends=" + ",".join(names).encode() + b"\0name=x\0")


@pytest.fixture
def tree(tmp_path: Path) -> ModuleTree:
    kernel = tmp_path / "kernel/drivers"
    kernel.mkdir(parents=True)
    (kernel / "virtio-net.ko").write_bytes(module_needing("virtio", "failover"))
    (kernel / "failover.ko.xz").write_bytes(lzma.compress(module_needing("virtio")))
    (kernel / "virtio.ko").write_bytes(module_needing())
    (kernel / "lost.ko").write_bytes(module_needing("nowhere"))
    (kernel / "loop-a.ko").write_bytes(module_needing("loop_b"))
    (kernel / "loop-b.ko").write_bytes(module_needing("loop_a"))
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    return ModuleTree(tmp_path)


def test_what_is_needed_comes_first(tree: ModuleTree) -> None:
    assert [name for name, _ in tree.closure(["virtio-net"])] == ["virtio", "failover", "virtio_net"]


def test_dashes_and_underscores_are_the_same(tree: ModuleTree) -> None:
    assert tree.closure(["virtio_net"]) == tree.closure(["virtio-net"])


def test_what_is_built_in_needs_no_file(tree: ModuleTree) -> None:
    assert tree.closure(["ext4"]) == []


def test_a_circle_ends(tree: ModuleTree) -> None:
    assert {name for name, _ in tree.closure(["loop_a"])} == {"loop_a", "loop_b"}


@pytest.mark.parametrize(("name", "message"), [("absent", "no module absent in"), ("lost", "no module nowhere, which")])
def test_a_missing_module_is_named(tree: ModuleTree, name: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        tree.closure([name])


def test_modules_dep_lists_each_with_all_it_needs(tree: ModuleTree) -> None:
    assert dependency_file(tree, tree.closure(["virtio-net"])) == (
        "kernel/drivers/virtio.ko:\n"
        "kernel/drivers/failover.ko: kernel/drivers/virtio.ko\n"
        "kernel/drivers/virtio-net.ko: kernel/drivers/failover.ko kernel/drivers/virtio.ko\n"
    )


def test_compressed_modules_are_read_plain(tree: ModuleTree) -> None:
    (_, path) = tree.closure(["failover"])[1]

    assert read_module(path).startswith(b"\x7fELF")


def test_soft_dependencies_that_come_before_count() -> None:
    assert soft_needs(elf_with(b"softdep=pre: crc32c crypto-x post: later\0")) == ["crc32c", "crypto_x"]


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x02\x01", b"MZ" * 100, module_needing()[:80]])
def test_a_broken_object_is_an_error_not_a_crash(data: bytes) -> None:
    with pytest.raises(ImageError, match="ELF object"):
        needs(data)
