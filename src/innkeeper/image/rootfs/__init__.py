"""Bootable Debian disks from Debian's packages, without root, without mounting."""

from innkeeper.image.rootfs.build import Progress, build_rootfs
from innkeeper.image.rootfs.recipe import RootfsRecipe

__all__ = ["Progress", "RootfsRecipe", "build_rootfs"]
