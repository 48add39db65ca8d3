"""A client of the page's server that says what a test wants it to, and the server itself."""

import asyncio
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from innkeeper.view.server import ViewServer
from innkeeper.view.target import Target

KEY = "the-key"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


@contextmanager
def serving(listen: str = "127.0.0.1") -> Iterator[int]:
    """A server for machine one; gives its port."""
    addresses: list[str] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    def tell(address: str) -> None:
        addresses.append(address)
        ready.set()

    task = loop.create_task(ViewServer(Target("one"), listen=listen, key=KEY).serve(tell))

    def work() -> None:
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(20)
    try:
        assert addresses[0].endswith(f"/#key={KEY}")
        yield int(addresses[0].partition("/#")[0].rpartition(":")[2])
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)
        assert not thread.is_alive()


class Client:
    """Says what the test says, byte by byte."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def request(self, method: str, path: str, body: bytes | None = None, /, **headers: str | None) -> tuple[int, bytes]:
        """With the page's headers, unless others are given; None leaves one out."""
        usual: dict[str, str | None] = {"Host": f"127.0.0.1:{self.port}", "Authorization": f"Bearer {KEY}"}
        if body is not None:
            usual |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        said = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in said.items() if value is not None),
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        return self.response()

    def response(self) -> tuple[int, bytes]:
        status = int(self.file.readline().split()[1])
        length = 0
        self.headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(": ")
            self.headers[name] = value
            length = int(value) if name == "Content-Length" else length
        return status, self.file.read(length)

    def upgrade(self, path: str, **headers: str | None) -> int:
        usual: dict[str, str | None] = {
            "Authorization": None, "Origin": f"http://127.0.0.1:{self.port}", "Upgrade": "websocket",
            "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": b64encode(bytes(16)).decode(),
            "Sec-WebSocket-Protocol": f"binary, key.{KEY}",
        }  # fmt: skip
        return self.request(
            "GET", path, None, **usual | {name.replace("_", "-"): value for name, value in headers.items()}
        )[0]

    def send(
        self, operation: int, payload: bytes, *, final: bool = True, size: int | None = None, masked: bool = True
    ) -> None:
        self.socket.sendall(frame(operation, payload, final=final, size=size, masked=masked))

    def frame(self) -> tuple[int, bytes]:
        first, size = self.file.read(2)
        if size >= 126:
            size = int.from_bytes(self.file.read(2 if size == 126 else 8))
        return first & 0xF, self.file.read(size)

    def hears(self, words: bytes) -> None:
        heard = b""
        while words not in heard:
            operation, data = self.frame()
            assert operation == BINARY, (operation, data, heard)
            heard += data

    def has_ended(self) -> bool:
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


def frame(operation: int, payload: bytes, *, final: bool = True, size: int | None = None, masked: bool = True) -> bytes:
    length = len(payload) if size is None else size
    if length < 126:
        sizes = bytes([length | masked << 7])
    else:
        sizes = (
            bytes([126 | masked << 7]) + length.to_bytes(2)
            if length < 1 << 16
            else bytes([127 | masked << 7]) + length.to_bytes(8)
        )
    mask = b"\x11\x22\x33\x44" if masked else bytes(4)
    data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([operation | final << 7]) + sizes + (mask if masked else b"") + data
