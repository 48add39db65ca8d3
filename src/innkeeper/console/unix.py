"""The console on a listening Unix socket, private to this user and removed at the end.

Everybody who connects sees all that the guest says, from the last of what it said before on, and may type. Who wants to be the only terminal
says so by `hold`, which others can be refused by. What is slow to read holds the guest up, as a serial line does.
"""

import selectors
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path

from innkeeper.console.base import Leave, Receive
from innkeeper.console.input import CHUNK, Wake
from innkeeper.console.output import Output
from innkeeper.console.scrollback import Scrollback
from innkeeper.errors import HostError
from innkeeper.sockets import UnixListener

PEERS_LIMIT = 16
PATIENCE_S = 1.0  # for who has said that it will connect


class UnixConsole:
    """Listens from the moment it is made."""

    def __init__(self, path: Path) -> None:
        self._listening = UnixListener(path, "the console")
        self.path, self.listen_again = path, self._listening.listen_again
        self._said = Scrollback()
        self._peers: dict[socket.socket, int] = {}  # and their processes
        self._holder: int | None = None
        self._opener: int | None = None  # the process that connects for it
        self._expected_until = 0.0
        self._lock = threading.Lock()  # over the last five
        self._wake = Wake()
        self._server: threading.Thread | None = None
        self._output = Output(self._drain)
        self._closed = False

    def start(self, receive: Receive, leave: Leave) -> None:  # noqa: ARG002 - a peer may come back
        self._server = threading.Thread(target=self._serve, args=(receive,), name="console-input", daemon=True)
        self._server.start()

    def write(self, data: bytes, /) -> None:
        self._output.write(data)

    def hold(self, process: int, *, opener: int | None = None, force: bool = False) -> None:
        """Makes a process the one terminal of this console; it connects then, or `opener` does for it. `force` hangs up on everybody.

        Raises `HostError` while another one is.
        """
        now = time.monotonic()
        with self._lock:
            held = self._holder in self._peers.values() or now < self._expected_until
            if self._holder != process and held and not force:
                raise HostError(f"process {self._holder} is connected to the console already; --force takes it over")
            self._holder, self._opener = process, opener
            self._expected_until = 0.0 if opener is None else now + PATIENCE_S
            if force:
                for peer in self._peers:
                    hang_up(peer)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._output.close()
        self._wake.set()
        with self._lock:
            for peer in self._peers:
                hang_up(peer)
        if self._server is not None:
            self._server.join()
        self._output.join()
        self._wake.close()
        self._listening.close()

    def _serve(self, receive: Receive) -> None:
        with selectors.DefaultSelector() as selector:
            listener = self._listening.socket
            selector.register(listener, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while self._wake not in (ready := [key.fileobj for key, _ in selector.select()]):
                for one in ready:
                    if one is listener and listener is not self._listening.socket:  # there is another one
                        selector.unregister(listener)
                        listener.close()
                        listener = self._listening.socket
                        selector.register(listener, selectors.EVENT_READ)
                    elif one is listener:
                        self._welcome(listener, selector)
                    elif isinstance(one, socket.socket):
                        self._hear(one, receive, selector)
        for peer in self._peers:
            peer.close()

    def _welcome(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        peer, _ = listener.accept()
        with self._lock:
            if len(self._peers) >= PEERS_LIMIT:
                peer.close()
                return
            with suppress(OSError):  # it has left again, which is heard next
                peer.sendall(self._said.content())  # fits into an empty socket
            process = process_of(peer)
            if process == self._opener and time.monotonic() < self._expected_until:
                assert self._holder is not None  # noqa: S101 - it has an opener
                process, self._expected_until = self._holder, 0.0
            self._peers[peer] = process
        selector.register(peer, selectors.EVENT_READ)

    def _hear(self, peer: socket.socket, receive: Receive, selector: selectors.BaseSelector) -> None:
        try:
            data = peer.recv(CHUNK)
        except OSError:  # it broke off
            data = b""
        if data:
            receive(data)
            return
        selector.unregister(peer)
        with self._lock:
            del self._peers[peer]
            hang_up(peer)  # wakes who writes to it
        peer.close()

    def _drain(self, data: bytes) -> None:
        with self._lock:
            self._said.add(data)
            peers = list(self._peers)
        for peer in peers:
            with suppress(OSError):  # the peer broke off; the serving thread notices by itself
                peer.sendall(data)


def hang_up(peer: socket.socket) -> None:
    with suppress(OSError):  # gone by itself
        peer.shutdown(socket.SHUT_RDWR)


def process_of(peer: socket.socket) -> int:
    """Of whoever connected, as the kernel knows it (unix(7))."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    process, _, _ = struct.unpack("3i", credentials)
    return int(process)
