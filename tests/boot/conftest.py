"""Debian's kernel and small archives for it, fetched and built once, as `inn image` does it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest

from innkeeper import ImageError
from innkeeper.config import EngineChoice
from innkeeper.image import DEFAULT_PACKAGE, InitramfsRecipe, KernelImage, build_initramfs, fetch_kernel
from innkeeper.testing.guests import flat_guest
from tests.engines import SOFTWARE, skip_unless_available


class Initramfs(Protocol):
    """Makes an archive whose init does the usual, then `commands`; with modules of Debian's cloud kernel or another."""

    def __call__(
        self,
        commands: str,
        kernel: KernelImage | None = None,
        *,
        modules: tuple[str, ...] = ("virtio_net",),
    ) -> Path: ...


Flat = Callable[[bytes], Path]

SHELL = "cd /root; setsid cttyhack sh -l; poweroff -f"


def fetched(package: str) -> KernelImage:
    """The kernel of a Debian package; skips the test if this host cannot get it."""
    try:
        return fetch_kernel(package)
    except ImageError as error:
        pytest.skip(f"no Debian kernel (package {package}): {error}")


@pytest.fixture(scope="session", params=SOFTWARE, ids=str)
def engine(request: pytest.FixtureRequest) -> EngineChoice:
    """Each of our engines in turn."""
    choice = EngineChoice(request.param)
    skip_unless_available(choice)
    return choice


@pytest.fixture(scope="session")
def debian() -> KernelImage:
    return fetched(DEFAULT_PACKAGE)


@pytest.fixture(scope="session")
def initramfs(debian: KernelImage, tmp_path_factory: pytest.TempPathFactory) -> Initramfs:
    folder = tmp_path_factory.mktemp("initramfs")

    @cache
    def build(
        commands: str,
        kernel: KernelImage | None = None,
        *,
        modules: tuple[str, ...] = ("virtio_net",),
    ) -> Path:
        number = sum(1 for _ in folder.iterdir())
        init = folder / f"{number}.init"
        init.write_text(f"#!/bin/sh\n. /etc/innkeeper/setup\n{commands}\n")
        recipe = InitramfsRecipe(init=init, modules=modules, modules_directory=(kernel or debian).modules)
        try:
            return build_initramfs(recipe, folder / f"{number}.cpio.gz")
        except ImageError as error:
            pytest.skip(f"no initramfs: {error}")

    return build


@pytest.fixture
def flat(tmp_path: Path) -> Flat:
    """Makes a kernel file of a few instructions."""

    def write(code: bytes) -> Path:
        path = tmp_path / "kernel"
        path.write_bytes(flat_guest(code))
        return path

    return write
