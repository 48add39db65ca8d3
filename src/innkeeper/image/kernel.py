"""Debian's kernels, unpacked in the user's cache: the image to boot and its modules."""

from pathlib import Path

from innkeeper.errors import ImageError
from innkeeper.image.packages import Package, PackageClient
from innkeeper.records import dataclass

DEFAULT_PACKAGE = "linux-image-cloud-amd64"
PREFIX = "linux-image-"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelImage:
    """A kernel: `release` is what its `uname -r` says, `modules` its /lib/modules directory."""

    package: str
    version: str
    release: str
    vmlinuz: Path
    modules: Path


def fetch_kernel(name: str = DEFAULT_PACKAGE, client: PackageClient | None = None) -> KernelImage:
    """Fetches the kernel that the package `name` is or, for a metapackage, stands for."""
    client = client or PackageClient()
    package = real_package(client, name)
    root = client.unpack(package)
    images = sorted((root / "boot").glob("vmlinuz-*"))
    if len(images) != 1:
        raise ImageError(f"package {package.name} holds {len(images)} kernels in /boot where one was expected")
    release = images[0].name.removeprefix("vmlinuz-")
    return KernelImage(
        package=package.name,
        version=package.version,
        release=release,
        vmlinuz=images[0],
        modules=modules_directory(root, release),
    )


def real_package(client: PackageClient, name: str) -> Package:
    """Follows a metapackage to the kernel it depends on."""
    package = client.find(name)
    kernels = [dependency for dependency in package.depends if dependency.startswith(PREFIX)]
    return client.find(kernels[0]) if kernels else package


def modules_directory(root: Path, release: str) -> Path:
    for place in ("usr/lib/modules", "lib/modules"):  # since Debian 13, and before
        if (root / place / release).is_dir():
            return root / place / release
    raise ImageError(f"no modules of kernel {release} in {root}")
