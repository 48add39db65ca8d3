"""The console on a listening Unix socket, private to this user and removed at the end.

One peer at a time, the next waits in line; what the guest sends while nobody is there is dropped.
"""

import socket
import threading
from contextlib import suppress
from pathlib import Path

from innkeeper.console.base import Leave, Receive
from innkeeper.console.input import CHUNK, Wake
from innkeeper.console.output import Output
from innkeeper.sockets import listen_unix


class UnixConsole:
    """Listens from the moment it is made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = listen_unix(path, "the console")
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
