"""Viewers of the host's desktop: the file by which virt-viewer's remote-viewer is told where to connect.

Spec: remote-viewer(1), "Connection file". The viewer removes a file once it has read it.
"""

import os
from pathlib import Path
from typing import TypedDict

from innkeeper.errors import HostError


class Place(TypedDict):
    """A machine's port for viewers, and the password that it wants."""

    host: str
    port: int
    password: str


def connection_file(name: str, place: Place) -> str:
    """What remote-viewer reads.

    >>> print(connection_file("web", {"host": "127.0.0.1", "port": 5901, "password": "secret"}), end="")
    [virt-viewer]
    type=vnc
    host=127.0.0.1
    port=5901
    password=secret
    title=web
    delete-this-file=1
    """
    return (
        f"[virt-viewer]\ntype=vnc\nhost={place['host']}\nport={place['port']}\npassword={place['password']}\n"
        f"title={name}\ndelete-this-file=1\n"
    )


def write(path: Path, text: str) -> None:
    """For this user alone, from the first moment. Raises `HostError`."""
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from error
