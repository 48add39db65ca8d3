"""Where gdb connects: a loopback port or a private Unix socket, one debugger at a time."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from innkeeper.errors import HostError
from innkeeper.gdb.packets import INTERRUPT, Decoder, encode
from innkeeper.gdb.stub import Stub
from innkeeper.gdb.target import Target
from innkeeper.sockets import bind_tcp, listen_unix, remove_unix

Wait = Callable[[socket.socket], bool]

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16


def listen(port: int | None, path: Path | None) -> socket.socket:
    """Raises `HostError` if the place is taken or cannot be had."""
    if path is not None:
        return listen_unix(path, "gdb")
    try:
        return bind_tcp(socket.AF_INET, LOOPBACK, port or 0)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise HostError(f"gdb cannot be served at {LOOPBACK} port {port}: {why}") from error


class GdbServer:
    """Serves a target from a thread of its own, from `start` to `close`."""

    def __init__(self, target: Target, *, port: int | None = None, path: Path | None = None) -> None:
        self._target = target
        self._path = path
        self._listener = listen(port, path)
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="innkeeper-gdb", daemon=True)
        target.watch(self._ring)

    @property
    def port(self) -> int | None:
        return None if self._path is not None else int(self._listener.getsockname()[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._target.watch(None)
        self._closing = True
        self._ring()
        if self._thread.ident is not None:
            self._thread.join()
        if self._path is None:
            self._listener.close()
        else:
            remove_unix(self._listener)
        os.close(self._wake)
        os.close(self._woken)

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # it has been rung already
            os.write(self._wake, b"!")

    def _serve(self) -> None:
        while not self._closing:
            if self._wait(self._listener):
                connection, _ = self._listener.accept()
                with connection:
                    Session(connection, self._target, self._wait, lambda: self._closing).run()

    def _wait(self, readable: socket.socket) -> bool:
        """Until it can be read from: True. False if somebody rang meanwhile, or all is over."""
        ready, _, _ = select.select([readable.fileno(), self._woken], [], [])
        if self._woken in ready:
            os.read(self._woken, 4096)
        return readable.fileno() in ready and not self._closing


class Session:
    """One debugger, from its connection to its end."""

    def __init__(self, connection: socket.socket, target: Target, wait: Wait, closing: Callable[[], bool]) -> None:
        self._connection = connection
        self._target = target
        self._wait = wait
        self._closing = closing
        self._stub = Stub(target)
        self._running = False
        self._over = False

    def run(self) -> None:
        if isinstance(self._connection.getsockname(), tuple):
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        decoder = Decoder()
        try:
            self._target.interrupt()  # gdb wants to find a machine that stands still
            while not (self._over or self._stub.detached or self._closing()):
                if self._wait(self._connection):
                    data = self._connection.recv(CHUNK)
                    if not data:
                        break
                    for packet in decoder.feed(data):
                        self._take(packet)
                self._tell_of_stop()
                if self._target.ended() and not self._running:
                    break
        except OSError:
            pass  # the debugger is gone, however it went
        finally:
            self._stub.leave()

    def _take(self, packet: bytes | None) -> None:
        if packet is None:
            self._connection.sendall(b"-")
            return
        if packet == INTERRUPT:
            if self._running:
                self._target.interrupt()
            return
        if self._stub.acknowledges:
            self._connection.sendall(b"+")
        if not self._running:
            self._target.interrupt()  # in case the end of a reset let it go
        reply = self._stub.answer(packet)
        if reply is None:
            self._running = True
        else:
            self._connection.sendall(encode(reply))

    def _tell_of_stop(self) -> None:
        if not self._running:
            return
        if self._target.ended():
            self._connection.sendall(encode(b"W00"))
            self._over = True
        elif (stopped := self._target.stopped()) is not None:
            self._running = False
            self._connection.sendall(encode(self._stub.stop_reply(stopped)))
