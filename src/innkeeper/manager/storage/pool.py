"""What a storage pool is: a folder with volumes, under a name."""

import os
from dataclasses import field
from pathlib import Path
from uuid import UUID, uuid4

from innkeeper.errors import ConfigError, HostError
from innkeeper.records import dataclass

DEFAULT = "default"
NAME_LIMIT = 255
MODE = 0o711  # what libvirt gives a folder that it makes


def check_pool_name(name: str) -> str:
    """Raises `ConfigError` unless it can be one: any script, but one line, and no path.

    >>> check_pool_name("虚拟机")
    '虚拟机'
    >>> check_pool_name("../x")
    Traceback (most recent call last):
      ...
    innkeeper.errors.ConfigError: a pool's name is '../x'; it must be at most 255 printable characters without /
    """
    if not name or len(name) > NAME_LIMIT or "/" in name or not name.isprintable() or name != name.strip():
        raise ConfigError(
            f"a pool's name is {brief(name)}; it must be at most {NAME_LIMIT} printable characters without /"
        )
    return name


def check_volume_name(name: str) -> str:
    """Raises `ConfigError` unless it can be a file's in the pool's folder. How long it may be is the file system's to say.

    >>> check_volume_name("..")
    Traceback (most recent call last):
      ...
    innkeeper.errors.ConfigError: a volume's name is '..'; it must be the name of a file, printable and without /
    """
    if name in ("", ".", "..") or "/" in name or not name.isprintable():
        raise ConfigError(f"a volume's name is {brief(name)}; it must be the name of a file, printable and without /")
    return name


def brief(text: str) -> str:
    """As it is shown in an error: not all of it, if it has no end."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One pool of type `dir`. Raises `ConfigError` for what cannot be."""

    name: str
    uuid: UUID = field(default_factory=uuid4)
    path: Path
    mode: int | None = None
    """Of the folder, where it is made."""

    def __post_init__(self) -> None:
        check_pool_name(self.name)
        if not self.path.is_absolute():
            raise ConfigError(f"the folder of pool {self.name} is {str(self.path)!r}; give its whole path, from / on")


def images_folder() -> Path:
    """Of the pool that exists by itself: `$XDG_DATA_HOME/innkeeper/images` (XDG Base Directory Specification 0.8)."""
    base = os.environ.get("XDG_DATA_HOME", "")
    parent = Path(base) if base.startswith("/") else Path.home() / ".local" / "share"
    return parent / "innkeeper" / "images"


def make_folder(path: Path, mode: int) -> None:
    """With those above it. One that is there stays as it is. Raises `HostError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.mkdir()
            path.chmod(mode)
    except FileExistsError as error:
        raise HostError(f"{path} is there and is no folder; give the pool another place") from error
    except OSError as error:
        raise HostError(f"cannot make {path}: {error.strerror}") from error
