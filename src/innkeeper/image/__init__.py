"""Small guests from Debian packages: fetched and built without privileges."""

from innkeeper.image.initramfs import InitramfsRecipe, build_initramfs
from innkeeper.image.kernel import DEFAULT_PACKAGE, KernelImage, fetch_kernel

__all__ = ["DEFAULT_PACKAGE", "InitramfsRecipe", "KernelImage", "build_initramfs", "fetch_kernel"]
