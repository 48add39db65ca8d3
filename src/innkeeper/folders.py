"""Where Innkeeper keeps what is its own: running machines in one private folder, what is kept of them in another.

Spec: XDG Base Directory Specification 0.8.
"""

import os
import stat
from pathlib import Path

from innkeeper.errors import HostError


def runtime_folder() -> Path:
    """Where this user's machines are as long as they run. Raises `HostError` if others could write there."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "innkeeper" if base else Path("/tmp") / f"innkeeper-{os.getuid()}"  # noqa: S108 - checked
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise HostError(f"cannot make {folder} for machines' names: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise HostError(f"{folder} is not a private folder of this user; set XDG_RUNTIME_DIR to one")
    return folder


def state_folder() -> Path:
    """`$XDG_STATE_HOME/innkeeper`, made private if missing: definitions, and logs. Raises `HostError`."""
    base = os.environ.get("XDG_STATE_HOME", "")
    parent = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    folder = parent / "innkeeper"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"cannot make {folder} for machines' definitions: {error.strerror}") from error
    return folder
