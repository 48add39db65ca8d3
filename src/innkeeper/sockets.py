"""Sockets on which this process listens: TCP, and Unix sockets that belong to one user."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from innkeeper.errors import HostError

BACKLOG = 16
PATH_LIMIT = 107  # sun_path less its NUL (unix(7))


def bind_tcp(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    """Raises `OSError`."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def listen_unix(path: Path, what: str) -> socket.socket:
    """On a socket that only this user may open. Raises `HostError`."""
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise HostError(f"path {path} of {what} is too long for a socket; at most {PATH_LIMIT} bytes")
    _remove_stale(path, what)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before bind, so that it is never open to others
        listener.bind(os.fspath(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise HostError(f"cannot listen for {what} at {path}: {error.strerror}") from error
    return listener


def remove_unix(listener: socket.socket) -> None:
    """Closes it, and takes its name away."""
    name = listener.getsockname()
    listener.close()
    with suppress(FileNotFoundError):
        Path(name).unlink()


class UnixListener:
    """Such a socket, which can be made again if somebody removes it. Its owner serves `socket`, whichever that is."""

    def __init__(self, path: Path, what: str) -> None:
        """Raises `HostError` if it cannot listen there."""
        self.path, self._what = path, what
        self.socket = listen_unix(path, what)
        self._identity = path.stat().st_ino

    def listen_again(self) -> None:
        """If somebody has removed it: `socket` is another one, and who waits at the one before is woken to close it.

        Raises `HostError` if it cannot.
        """
        if self._is_there():
            return
        lost, self.socket = self.socket, listen_unix(self.path, self._what)
        self._identity = self.path.stat().st_ino
        lost.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Takes its name away too, unless that is somebody else's by now."""
        self.socket.close()
        if self._is_there():
            self.path.unlink(missing_ok=True)

    def _is_there(self) -> bool:
        with suppress(OSError):
            return self.path.stat().st_ino == self._identity
        return False


def _remove_stale(path: Path, what: str) -> None:
    """Removes a socket that nobody listens on any more: a killed run's."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise HostError(f"cannot listen for {what} at {path}: something else has that name")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(os.fspath(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return
    except OSError as error:
        raise HostError(f"cannot listen for {what} at {path}: {error.strerror}") from error
    raise HostError(f"cannot listen for {what} at {path}: another program listens there")
