"""The initramfs: what is in it, and that the same recipe gives the same bytes."""

import gzip
from pathlib import Path

import pytest

from innkeeper.errors import ImageError
from innkeeper.image.initramfs import InitramfsRecipe, build_initramfs


def names(data: bytes) -> list[str]:
    """Every name in a newc archive, read without the writer's help."""
    found: list[str] = []
    at = 0
    while not found or found[-1] != "TRAILER!!!":
        size, name_size = (int(data[at + place : at + place + 8], 16) for place in (54, 94))
        found.append(data[at + 110 : at + 109 + name_size].decode())
        at = ((at + 110 + name_size + 3) // 4 * 4 + size + 3) // 4 * 4
    return found[:-1]


def test_the_least_guest(busybox: Path, tmp_path: Path) -> None:
    output = build_initramfs(InitramfsRecipe(busybox=busybox), tmp_path / "out.cpio.gz")

    found = names(gzip.decompress(output.read_bytes()))

    assert {"init", "bin/busybox", "bin/sh", "bin/ls", "dev/console", "etc/modules", "proc", "sys"} <= set(found)


def test_the_same_recipe_gives_the_same_bytes(busybox: Path, tmp_path: Path) -> None:
    recipe = InitramfsRecipe(busybox=busybox)

    first = build_initramfs(recipe, tmp_path / "first").read_bytes()
    busybox.touch()
    second = build_initramfs(recipe, tmp_path / "second").read_bytes()

    assert first == second


def test_without_an_output_the_cache_names_it_by_content(
    busybox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    first = build_initramfs(InitramfsRecipe(busybox=busybox))
    again = build_initramfs(InitramfsRecipe(busybox=busybox))
    other = build_initramfs(InitramfsRecipe(busybox=busybox, init=busybox))

    assert first == again
    assert other != first
    assert first.parent == tmp_path / "cache/innkeeper/initramfs"


def test_files_and_directories_go_where_they_are_sent(busybox: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    (tools / "deep").mkdir(parents=True)
    (tools / "deep/script").write_text("x")
    (tools / "alias").symlink_to("deep/script")
    init = tmp_path / "my-init"
    init.write_text("#!/bin/sh\necho mine\n")
    recipe = InitramfsRecipe(busybox=busybox, init=init, files=((tools, "/opt/tools/"), (init, "/copy")))

    data = gzip.decompress(build_initramfs(recipe, tmp_path / "out").read_bytes())

    assert {"opt/tools/deep/script", "opt/tools/alias", "copy"} <= set(names(data))
    assert data.count(b"echo mine") == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modules": ("ext4",)}, "not from which kernel"),
        ({"init": Path("/absent")}, "cannot read /absent: no such file"),
        ({"init": Path("/")}, "cannot read /: not a regular file"),
        ({"files": ((Path("/absent"), "/x"),)}, "cannot read /absent: no such file"),
        ({"files": ((Path("/etc/hostname"), "x"),)}, "must be an absolute path"),
    ],
)
def test_mistakes_are_named(busybox: Path, tmp_path: Path, values: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        build_initramfs(InitramfsRecipe(busybox=busybox, **values), tmp_path / "out")  # type: ignore[arg-type]


def test_a_busybox_that_does_not_run_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "busybox"
    broken.write_text("not a program")

    with pytest.raises(ImageError, match="does not list its applets"):
        build_initramfs(InitramfsRecipe(busybox=broken), tmp_path / "out")
