"""What shall be on an installer's disc."""

import re

from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
NETBOOT = {"bookworm": "debian-installer-12-netboot-amd64"}
"""Releases, and the package that holds the installer's kernel and initial RAM disk."""

REQUIRED = "?and(?priority(required),?not(?section(debian-installer)))"
NAMED = (
    "debconf-i18n",  # without which debconf stumbles over the installer's terminal
    "usr-is-merged",  # debootstrap merges by itself; otherwise all of perl would come along to do it
    "apt",
    "systemd-sysv",
    "udev",
    "dbus",
    "iproute2",
    "kmod",
)
AT_ONCE = ("busybox", "zstd", "initramfs-tools")  # what the installer would add one by one
LATER = ("grub-pc", "grub-efi-amd64-bin", "efibootmgr")
ALONE = ("grub-efi-amd64",)  # which apt puts in grub-pc's place; what it depends on, that one does too


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallerRecipe:
    """Raises `ConfigError` for what cannot be."""

    suite: str = "bookworm"
    kernel: str = "linux-image-cloud-amd64"
    packages: tuple[str, ...] = ()
    preseed: str | None = None  # answers that are on the disc: it then installs without a question

    def __post_init__(self) -> None:
        if self.suite not in NETBOOT:
            raise ConfigError(f"the release is {self.suite!r}; a disc can be made of {', '.join(NETBOOT)}")
        for name in (self.kernel, *self.packages):
            if not NAME.fullmatch(name):
                raise ConfigError(f"{name!r} is not the name of a package")

    def wanted(self) -> list[str]:
        """What apt is asked for; what that depends on comes by itself."""
        return [REQUIRED, *NAMED, *AT_ONCE, *LATER, self.kernel, *self.packages]
