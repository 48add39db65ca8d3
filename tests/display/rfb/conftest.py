"""A screen in memory, a server before it, and viewers."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from innkeeper._core import MemoryScreen
from innkeeper.config import GraphicsConfig
from innkeeper.display.rfb import VncServer
from tests.display.rfb.client import Client


class Sink:
    """Remembers what viewers did."""

    def __init__(self) -> None:
        self.keys: list[tuple[int, bool]] = []
        self.pointers: list[tuple[int, int, int, int, int]] = []

    def key(self, code: int, down: bool, /) -> None:
        self.keys.append((code, down))

    def pointer(self, x: int, y: int, width: int, height: int, buttons: int, /) -> None:
        self.pointers.append((x, y, width, height, buttons))


class Bench:
    """A server of a memory screen."""

    def __init__(self, config: GraphicsConfig) -> None:
        self.screen, self.sink = MemoryScreen(), Sink()
        self.screen.resize(96, 80)
        self.texts: list[str] = []
        self.server = VncServer(config, self.screen.screen, self.sink, name="bench", take_text=self.texts.append)
        self.server.start()
        self._connections: list[socket.socket] = []

    def connect(self) -> Client:
        """A viewer that has said nothing yet."""
        address = self.server.address
        if address.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            connection = socket.create_connection((host.strip("[]"), int(port)))
        self._connections.append(connection)
        return Client(connection)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self.server.close()


class MakeBench(Protocol):
    """Gives a bench; None is `vnc` on the first free port."""

    def __call__(self, options: str = "vnc") -> Bench: ...


@pytest.fixture
def make_bench() -> Iterator[MakeBench]:
    with ExitStack() as held:

        def make(options: str = "vnc") -> Bench:
            bench = Bench(GraphicsConfig.parse(options))
            held.callback(bench.close)
            return bench

        yield make


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


@pytest.fixture
def viewer(bench: Bench) -> Iterator[Client]:
    """One that has been let in."""
    with bench.connect() as client:
        client.shake_hands()
        yield client


def wait_for(condition: Callable[[], bool], patience_s: float = 10.0) -> None:
    """Polls something that another thread brings about."""
    import time

    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.002)
