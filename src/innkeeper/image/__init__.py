"""Small guests from Debian packages: fetched and built without privileges."""

from typing import TYPE_CHECKING

from innkeeper.lazy import lazily

if TYPE_CHECKING:
    from innkeeper.image.initramfs import InitramfsRecipe, build_initramfs
    from innkeeper.image.kernel import DEFAULT_PACKAGE, KernelImage, fetch_kernel

__all__ = ["DEFAULT_PACKAGE", "InitramfsRecipe", "KernelImage", "build_initramfs", "fetch_kernel"]

__getattr__ = lazily(
    __name__,
    {
        "DEFAULT_PACKAGE": "innkeeper.image.kernel",
        "InitramfsRecipe": "innkeeper.image.initramfs",
        "KernelImage": "innkeeper.image.kernel",
        "build_initramfs": "innkeeper.image.initramfs",
        "fetch_kernel": "innkeeper.image.kernel",
    },
)
