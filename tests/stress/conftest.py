"""The stress guest of Debian's cloud kernel, built once."""

from pathlib import Path

import pytest

from innkeeper import ImageError
from innkeeper.image import KernelImage, fetch_kernel

from .image import build_stress_guest, can_compile


@pytest.fixture(scope="session")
def debian() -> KernelImage:
    try:
        return fetch_kernel()
    except ImageError as error:
        pytest.skip(f"no Debian kernel: {error}")


@pytest.fixture(scope="session")
def stress_guest(debian: KernelImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not can_compile():
        pytest.skip("gcc (Debian package gcc, with libc6-dev) builds the programs of the stress guest")
    try:
        return build_stress_guest(debian, tmp_path_factory.mktemp("stress"))
    except ImageError as error:
        pytest.skip(f"no stress guest: {error}")
