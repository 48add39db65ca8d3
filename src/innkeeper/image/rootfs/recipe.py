"""What a bootable Debian disk shall be."""

import re

from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

SIZE_GIB_MINIMUM, SIZE_GIB_LIMIT = 1.0, 65536.0
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE)
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
SUITE = re.compile(r"[a-z][a-z0-9.-]*")

ALWAYS = ("systemd-sysv", "udev", "dbus", "libpam-systemd", "login", "passwd", "iproute2", "initramfs-tools")
NETWORK = ("systemd-resolved",)
BOOT = ("grub2-common", "grub-pc-bin", "grub-efi-amd64-bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class RootfsRecipe:
    """One disk image. Raises `ConfigError` for values that cannot be.

    >>> RootfsRecipe(password="secret", hostname="a b")
    Traceback (most recent call last):
      ...
    innkeeper.errors.ConfigError: hostname is 'a b'; it must be made of letters, digits and hyphens
    """

    password: str  # of root
    suite: str = "bookworm"
    kernel: str = "linux-image-cloud-amd64"
    packages: tuple[str, ...] = ()
    hostname: str = "innkeeper"
    size_gib: float = 4.0
    ssh_keys: tuple[str, ...] = ()  # of those who may log in as root
    cloud_init: dict[str, str] | None = None  # the files of a NoCloud seed: user-data, meta-data …

    def __post_init__(self) -> None:
        if not SIZE_GIB_MINIMUM <= self.size_gib <= SIZE_GIB_LIMIT:
            limits = f"between {SIZE_GIB_MINIMUM:g} and {SIZE_GIB_LIMIT:g}"
            raise ConfigError(f"size is {self.size_gib:g} GiB; it must be {limits}")
        if not HOSTNAME.fullmatch(self.hostname):
            raise ConfigError(f"hostname is {self.hostname!r}; it must be made of letters, digits and hyphens")
        if not SUITE.fullmatch(self.suite):
            raise ConfigError(f"suite is {self.suite!r}; it must be a Debian release, as in bookworm")
        for package in (self.kernel, *self.packages):
            if not PACKAGE.fullmatch(package):
                raise ConfigError(f"package is {package!r}; that is no Debian package's name")
        if not self.password or "\n" in self.password or ":" in self.password:
            raise ConfigError("root's password is empty, or holds a line end or a colon")
        if any("\n" in key.strip() for key in self.ssh_keys):
            raise ConfigError("an SSH key has more than one line; give each key by itself")

    def all_packages(self) -> list[str]:
        """What is to be installed, in no particular order, each once."""
        wanted = [*ALWAYS, *NETWORK, *BOOT, self.kernel, *self.packages]
        wanted += ["openssh-server"] if self.ssh_keys else []
        wanted += ["cloud-init", "cloud-guest-utils"] if self.cloud_init is not None else []
        return list(dict.fromkeys(wanted))
