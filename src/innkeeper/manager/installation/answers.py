"""What answers the installer of Debian in a person's place: a preseed file.

Spec: appendix B of Debian's installation guide. It goes into the root of the initial RAM disk, where the installer looks first; the file
holds passwords, and is removed when the installation has ended. Left out: other systems' installers.
"""

import re
import secrets

from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

FAMILIES = ("debian",)
LOGIN = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
TASKS = {"jeos": "", "desktop": "standard, desktop"}
MIRROR = "deb.debian.org"  # which leads to one nearby
HOST_NAME = re.compile(r"[^A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unattended:
    """Raises `ConfigError` for what cannot be."""

    profile: str = "desktop"
    admin_password: str
    login: str | None = None
    user_password: str = ""

    def __post_init__(self) -> None:
        if self.profile not in TASKS:
            raise ConfigError(f"--unattended has profile={self.profile}; it must be {' or '.join(TASKS)}")
        if self.login is not None and not LOGIN.fullmatch(self.login):
            raise ConfigError(
                f"--unattended has user-login={self.login}; it must be at most 31 small letters, digits, _ and -"
            )
        for what, word in (("admin", self.admin_password), ("user", self.user_password)):
            if "\n" in word or "\r" in word or "\0" in word:
                raise ConfigError(f"the {what}'s password has more than one line")


def preseed(unattended: Unattended, name: str) -> str:
    """The answers for an installation on the whole of the first disk."""
    host = HOST_NAME.sub("-", name).strip("-").lower() or "debian"
    lines = [
        "debian-installer/locale string en_US.UTF-8",
        "keyboard-configuration/xkb-keymap select us",
        "netcfg/choose_interface select auto",
        f"netcfg/hostname string {host}",
        f"netcfg/get_hostname string {host}",
        "netcfg/get_domain string unassigned-domain",
        "hw-detect/load_firmware boolean false",
        "cdrom-detect/cdrom_detect boolean true",
        "apt-setup/cdrom/set-first boolean false",
        "apt-setup/use_mirror boolean true",
        "mirror/country string manual",
        f"mirror/http/hostname string {MIRROR}",
        "mirror/http/directory string /debian",
        "mirror/http/proxy string",
        "clock-setup/utc boolean true",
        "time/zone string Etc/UTC",
        "partman-auto/method string regular",
        "partman-auto/choose_recipe select atomic",
        "partman-partitioning/confirm_write_new_label boolean true",
        "partman/choose_partition select finish",
        "partman/confirm boolean true",
        "partman/confirm_nooverwrite boolean true",
        f"passwd/root-password password {unattended.admin_password}",
        f"passwd/root-password-again password {unattended.admin_password}",
        *user_lines(unattended),
        f"tasksel/first multiselect {TASKS[unattended.profile]}",
        "popularity-contest/participate boolean false",
        "pkgsel/upgrade select none",
        "grub-installer/only_debian boolean true",
        "grub-installer/bootdev string default",
        "finish-install/reboot_in_progress note",
    ]
    return "".join(f"{'tasksel' if line.startswith('tasksel/') else 'd-i'} {line}\n" for line in lines)


def user_lines(unattended: Unattended) -> list[str]:
    if unattended.login is None:
        return ["passwd/make-user boolean false"]
    return [
        "passwd/make-user boolean true",
        f"passwd/user-fullname string {unattended.login}",
        f"passwd/username string {unattended.login}",
        f"passwd/user-password password {unattended.user_password}",
        f"passwd/user-password-again password {unattended.user_password}",
    ]


def kernel_words(*, on_serial: bool) -> str:
    """For the installer, and behind the dashes for what it installs: consoles where somebody looks."""
    if on_serial:
        return "auto=true priority=critical DEBIAN_FRONTEND=text console=ttyS0,115200 --- console=ttyS0,115200"
    return "auto=true priority=critical --- console=ttyS0,115200 console=tty0"


def made_up() -> str:
    return secrets.token_urlsafe(9)
