"""RFB within a WebSocket, as browsers speak it: on the same port, with an Origin that is looked at."""

import os
import socket
import ssl
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from tests.display.rfb.client import TIGHT, Client
from tests.display.rfb.conftest import Bench, MakeBench
from tests.display.rfb.test_handshake import certificate

__all__ = ["certificate"]

ENDS = (EOFError, ConnectionResetError, BrokenPipeError)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # and its answer: RFC 6455, 1.3


class Framed:
    """A socket whose bytes travel in WebSocket frames; stands in for one in a `Client`."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = bytearray()
        self.controls: list[tuple[int, bytes]] = []

    def ask(self, headers: dict[str, str]) -> str:
        lines = ["GET /websockify HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = self.connection.recv(1)
            if not piece:
                break
            answer += piece
        return answer.decode()

    def settimeout(self, seconds: float) -> None:
        self.connection.settimeout(seconds)

    def close(self) -> None:
        self.connection.close()

    def sendall(self, data: bytes) -> None:
        """In two frames, the second a continuation with a mask of its own."""
        middle = len(data) // 2
        self.frame(0x02, data[:middle], final=False)
        self.frame(0x00, data[middle:])

    def frame(self, operation: int, data: bytes, *, final: bool = True, masked: bool = True) -> None:
        mask = os.urandom(4)
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2)
        head = bytes([operation | 0x80 * final, size[0] | 0x80 * masked]) + size[1:]
        body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)) if masked else data
        self.connection.sendall(head + (mask if masked else b"") + body)

    def recv(self, count: int) -> bytes:
        while not self._buffer:
            first, second = self._exactly(2)
            size = second
            if second >= 126:
                size = int.from_bytes(self._exactly(2 if second == 126 else 8))
            data = self._exactly(size)
            if first == 0x82:
                self._buffer += data
            else:
                self.controls.append((first, data))
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.connection.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


def browser(bench: Bench, **changes: str | None) -> tuple[Framed, str]:
    """A connection that has asked for a WebSocket, and the answer."""
    headers: dict[str, str | None] = {
        "Host": bench.server.address,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "binary, base64",
        "Origin": "http://localhost:8000",
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    framed = Framed(bench.connect().socket)
    return framed, framed.ask({name: value for name, value in headers.items() if value is not None})


def client_on(framed: Framed) -> Client:
    client = Client(socket.socket())
    client.socket.close()
    client.socket = framed  # type: ignore[assignment]
    return client


def test_a_browser_sees_the_picture(bench: Bench) -> None:
    bench.screen.resize(400, 300)
    bench.screen.draw(0, 0, 400, 300, os.urandom(4 * 400 * 300))
    framed, answer = browser(bench)
    assert answer.startswith("HTTP/1.1 101 ")
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    assert "Sec-WebSocket-Protocol: binary" in answer
    with client_on(framed) as client:
        client.shake_hands()
        client.set_encodings(TIGHT)
        client.update()
        framed.frame(0x9, b"are you there?")
        client.key(0xFF0D, down=True)
        client.update()

        assert framed.controls == [(0x8A, b"are you there?")]
        assert bench.sink.keys[0] == (28, True)
        framed.frame(0x8, struct.pack(">H", 1000))
        with pytest.raises(ENDS):
            client.hear_to_the_end()
        assert framed.controls[-1] == (0x88, struct.pack(">H", 1000))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Origin": "http://bad.example"}, "403"),
        ({"Origin": "http://localhost.bad.example"}, "403"),
        ({"Origin": "null"}, "403"),
        ({"Origin": "http://bad.example", "Host": "bad.example"}, "403"),
        ({"Sec_WebSocket_Version": "8"}, "426"),
        ({"Upgrade": None}, "426"),
        ({"Sec_WebSocket_Key": "short"}, "426"),
        ({"Sec_WebSocket_Key": None}, "426"),
        ({"Origin": None}, "101"),
        ({"Origin": "https://127.0.0.1"}, "101"),
    ],
)
def test_only_pages_of_this_host_may_come(bench: Bench, changes: dict[str, str | None], status: str) -> None:
    _, answer = browser(bench, **changes)

    assert answer.split(" ")[1] == status


def test_other_pages_may_come_when_they_are_named(make_bench: MakeBench) -> None:
    bench = make_bench("vnc,origin=https://good.example")

    assert "101" in browser(bench, Origin="https://good.example")[1]
    assert "403" in browser(bench, Origin="https://good.example.org")[1]


@pytest.mark.parametrize(
    ("operation", "options"),
    [(0x1, {}), (0x0, {}), (0x3, {}), (0x42, {}), (0x9, {"final": False}), (0xB, {}), (0x2, {"masked": False})],
)
def test_frames_that_may_not_be_end_the_conversation(bench: Bench, operation: int, options: dict[str, bool]) -> None:
    framed, _ = browser(bench)
    framed.frame(operation, b"RFB 003.008\n", **options)
    with client_on(framed) as client, pytest.raises(ENDS):
        client.read(1000)

    assert framed.controls[-1][0] == 0x88


def test_headers_without_end_are_not_kept(bench: Bench) -> None:
    connection = bench.connect().socket
    connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000)

    assert connection.recv(1) == b""


def test_tls_around_the_websocket_is_enough(make_bench: MakeBench, certificate: Path) -> None:
    """A page that came by https can only connect by wss; VeNCrypt within it would encrypt twice."""
    bench = make_bench(f"vnc,tls={certificate},password=secret")
    context = ssl.create_default_context(cafile=certificate / "server-cert.pem")
    framed = Framed(context.wrap_socket(bench.connect().socket, server_hostname="localhost"))
    answer = framed.ask(
        {"Host": "localhost", "Upgrade": "websocket", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}
    )
    assert "101" in answer
    with client_on(framed) as client:
        client.shake_hands(kind=2, password="secret")
        client.update()


def test_a_port_for_browsers_takes_its_time_and_nobody_else(make_bench: MakeBench, unused_port: int) -> None:
    bench = make_bench(f"vnc,websocket={unused_port}")
    with socket.create_connection(("127.0.0.1", unused_port)) as connection:
        connection.sendall(b"RFB 003.008\n")
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    framed = Framed(socket.create_connection(("127.0.0.1", unused_port)))
    with client_on(framed) as client:
        headers = {"Upgrade": "websocket", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}
        assert "101" in framed.ask(headers)
        client.shake_hands()
        client.update()
    assert bench.server.address != f"127.0.0.1:{unused_port}"


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
