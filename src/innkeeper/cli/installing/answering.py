"""`--unattended` and `--cloud-init`: who answers the installer, and who the machine is when it starts."""

import getpass
import os
import sys
from pathlib import Path

from innkeeper.cli.installing.words import taken
from innkeeper.cli.words import say
from innkeeper.config import KeyValues
from innkeeper.errors import ConfigError
from innkeeper.manager.installation.answers import FAMILIES, Unattended, made_up
from innkeeper.manager.installation.seed import Seed
from innkeeper.manager.installation.systems import System

UNATTENDED = ("profile", "admin-password-file", "user-login", "user-password-file", "reg-login", "product-key")
CLOUD_KEYS = (
    "root-password-generate", "root-password-file", "disable", "root-ssh-key", "ssh-key", "clouduser-ssh-key",
    "user-data", "meta-data", "network-config",
)  # fmt: skip
FILE_LIMIT = 1 << 20


def unattended(text: str, system: System | None) -> Unattended:
    """Raises `ConfigError` for a system whose installer cannot be answered."""
    if system is not None and system.family not in FAMILIES:
        raise ConfigError(
            f"--unattended cannot answer the installer of {system.name}; it can that of {', '.join(FAMILIES)}"
        )
    pairs = taken("--unattended", text, *UNATTENDED)
    for key in ("reg-login", "product-key"):
        if key in pairs:
            raise ConfigError(f"--unattended has {key}, which Debian does not ask for; leave it out")
    login = pairs.get("user-login") or (getpass.getuser() if os.geteuid() != 0 else None)
    if login == "root" or (login is None and "user-password-file" in pairs):
        raise ConfigError("--unattended needs a user-login= other than root")
    return Unattended(
        profile=pairs.get("profile", "desktop"),
        admin_password=password("root", pairs.get("admin-password-file")),
        login=login,
        user_password=password(login, pairs.get("user-password-file")) if login is not None else "",
    )


def password(whose: str, file: str | None) -> str:
    """The first line of the file; without one it is made up, and told."""
    if file is not None:
        return first_line(file)
    word = made_up()
    say(f"Password for {whose}: {word}", file=sys.stderr)
    return word


def cloud_init(text: str) -> Seed:
    pairs = KeyValues("--cloud-init", text)
    named = {key: pairs.text(key) for key in CLOUD_KEYS}
    if not text:
        named |= {"root-password-generate": "on", "disable": "on"}
    pairs.finish()
    generates = flag("root-password-generate", named)
    root = password("root", named["root-password-file"]) if generates or named["root-password-file"] else None
    keys = [key for key in (named["root-ssh-key"], named["ssh-key"]) if key is not None]
    return Seed(
        root_password=root,
        expires=generates and named["root-password-file"] is None,
        disable=flag("disable", named),
        root_keys=tuple(whole(key, "root-ssh-key").strip() for key in keys),
        user_keys=(whole(named["clouduser-ssh-key"], "clouduser-ssh-key").strip(),)
        if named["clouduser-ssh-key"]
        else (),
        user_data=optional(named, "user-data"),
        meta_data=optional(named, "meta-data"),
        network_config=optional(named, "network-config"),
    )


def flag(key: str, named: dict[str, str | None]) -> bool:
    value = named[key]
    if value not in (None, "on", "off", "yes", "no"):
        raise ConfigError(f"--cloud-init has {key}={value}; it must be on or off")
    return value in ("on", "yes")


def optional(named: dict[str, str | None], key: str) -> str | None:
    path = named[key]
    return whole(path, key) if path is not None else None


def first_line(path: str) -> str:
    """As it is, spaces included."""
    return whole(path, "a password").partition("\n")[0].removesuffix("\r")


def whole(path: str, what: str) -> str:
    try:
        with Path(path).open() as file:
            words = file.read(FILE_LIMIT + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"cannot read {what} from {path}: {reason}") from error
    if len(words) > FILE_LIMIT:
        raise ConfigError(f"cannot read {what} from {path}: it has more than {FILE_LIMIT} characters")
    return words
