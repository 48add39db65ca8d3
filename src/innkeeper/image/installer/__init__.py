"""A disc with Debian's installer and all that a small Debian is made of: it installs with no network."""

from innkeeper.image.installer.build import build_installer
from innkeeper.image.installer.recipe import InstallerRecipe

__all__ = ["InstallerRecipe", "build_installer"]
