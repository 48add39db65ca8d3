"""The console on a listening Unix socket, private to this user and removed at the end.

One peer at a time, the next waits in line; what the guest sends while nobody is there is dropped.
"""

import os
import socket
import stat
import threading
from contextlib import suppress
from pathlib import Path

from innkeeper.console.base import Leave, Receive
from innkeeper.console.input import CHUNK, Wake
from innkeeper.console.output import Output
from innkeeper.errors import HostError

PATH_LIMIT = 107  # sun_path less its NUL (unix(7))


class UnixConsole:
    """Listens from the moment it is made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = listen(path)
        self._identity = path.stat().st_ino
        self._peer: socket.socket | None = None
        self._wake = Wake()
        self._server: threading.Thread | None = None
        self._output = Output(self._drain)
        self._closed = False

    def start(self, receive: Receive, leave: Leave) -> None:  # noqa: ARG002 - a peer may come back
        self._server = threading.Thread(target=self._serve, args=(receive,), name="console-input", daemon=True)
        self._server.start()

    def write(self, data: bytes, /) -> None:
        self._output.write(data)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._output.close()
        self._wake.set()
        if (peer := self._peer) is not None:
            with suppress(OSError):  # gone by itself
                peer.shutdown(socket.SHUT_RDWR)
        if self._server is not None:
            self._server.join()
        self._output.join()
        self._wake.close()
        self._listener.close()
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._identity:
                self._path.unlink()

    def _serve(self, receive: Receive) -> None:
        while self._wake.wait_for_input(self._listener.fileno()):
            peer, _ = self._listener.accept()
            with peer:
                self._peer = peer
                self._converse(peer, receive)
                self._peer = None

    def _converse(self, peer: socket.socket, receive: Receive) -> None:
        while self._wake.wait_for_input(peer.fileno()):
            try:
                data = peer.recv(CHUNK)
            except OSError:  # the peer broke off
                return
            if not data:
                return
            receive(data)

    def _drain(self, data: bytes) -> None:
        if (peer := self._peer) is not None:
            with suppress(OSError):  # the peer broke off; the serving thread notices by itself
                peer.sendall(data)


def listen(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise HostError(f"console path {path} is too long for a socket; at most {PATH_LIMIT} bytes")
    remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before bind, so that it is never open to others
        listener.bind(os.fspath(path))
        listener.listen(4)
    except OSError as error:
        listener.close()
        raise HostError(f"cannot listen for the console at {path}: {error.strerror}") from error
    return listener


def remove_stale(path: Path) -> None:
    """Removes a socket that nobody listens on any more: a killed run's."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise HostError(f"cannot listen for the console at {path}: something else has that name")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(os.fspath(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return
    except OSError as error:
        raise HostError(f"cannot listen for the console at {path}: {error.strerror}") from error
    raise HostError(f"cannot listen for the console at {path}: another program listens there")
