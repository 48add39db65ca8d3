"""WebSocket: how a browser's viewer reaches a server, its frames around RFB's bytes.

Spec: RFC 6455, server side, subprotocol `binary`. Left out: extensions (compression), text.
A page of any origin can make its reader's browser connect here, so the origin decides who may.
"""

from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from ipaddress import ip_address
from urllib.parse import urlsplit

from innkeeper.display.rfb.channel import Gone, Refused, StreamChannel

ACCEPT_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HEADERS_LIMIT = 8 << 10
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CONTROL_LIMIT = 125
PROTOCOL_ERROR, UNSUPPORTED = 1002, 1003


class WebSocketChannel:
    """The payloads of a WebSocket's frames, one after the other."""

    def __init__(self, stream: StreamChannel) -> None:
        self._stream = stream
        self._rest = 0  # of the current frame's payload
        self._mask = b""
        self._within_message = False

    async def read(self, count: int, /) -> bytes:
        data = bytearray()
        while len(data) < count:
            while not self._rest:
                await self._next_frame()
            size = min(self._rest, count - len(data))
            data += self._unmask(await self._stream.read(size))
            self._rest -= size
        return bytes(data)

    async def read_some(self, limit: int) -> bytes:
        """What has come, as soon as anything has."""
        while not self._rest:
            await self._next_frame()
        data = await self._stream.read_some(min(self._rest, limit))
        self._rest -= len(data)
        return self._unmask(data)

    def close(self, status: int) -> None:
        """Says why this is the end. Nothing may be written afterwards."""
        self._stream.write(header(CLOSE, 2) + status.to_bytes(2))

    def write(self, data: bytes, /) -> None:
        if data:
            self._stream.write(header(BINARY, len(data)))
            self._stream.write(data)

    async def drain(self) -> None:
        await self._stream.drain()

    async def _next_frame(self) -> None:
        first, second = await self._stream.read(2)
        operation, final = first & 0x0F, bool(first & 0x80)
        if first & 0x70 or not second & 0x80:
            self._fail(PROTOCOL_ERROR, "a WebSocket frame without a mask, or with an extension that was not agreed")
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self._stream.read(2 if size == 126 else 8))
        self._mask = await self._stream.read(4)
        if operation & 0x8:
            await self._control(operation, size, final=final)
            return
        if operation == TEXT:
            self._fail(UNSUPPORTED, "a WebSocket frame of text")
        if operation != (CONTINUATION if self._within_message else BINARY):
            self._fail(PROTOCOL_ERROR, f"a WebSocket frame {operation} where none may be")
        self._within_message = not final
        self._rest = size

    async def _control(self, operation: int, size: int, *, final: bool) -> None:
        if size > CONTROL_LIMIT or not final:
            self._fail(PROTOCOL_ERROR, "a WebSocket control frame that is too long or cut")
        payload = self._unmask(await self._stream.read(size))
        if operation == CLOSE:
            self._stream.write(header(CLOSE, len(payload)) + payload)
            raise Gone
        if operation == PING:
            self._stream.write(header(PONG, len(payload)) + payload)
            await self._stream.drain()  # who only pings and never reads waits for themselves
        elif operation != PONG:
            self._fail(PROTOCOL_ERROR, f"a WebSocket frame {operation}, which does not exist")

    def _unmask(self, data: bytes) -> bytes:
        """And turns the mask, so that the next piece of the same frame begins at its place."""
        mask = (self._mask * (len(data) // 4 + 1))[: len(data)]
        turn = len(data) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        return (int.from_bytes(data) ^ int.from_bytes(mask)).to_bytes(len(data))

    def _fail(self, status: int, reason: str) -> None:
        self._stream.write(header(CLOSE, 2) + status.to_bytes(2))
        raise Refused(reason)


def header(operation: int, size: int) -> bytes:
    """A whole message's, from a server: final, without a mask."""
    first = bytes([0x80 | operation])
    if size < 126:
        return first + bytes([size])
    return first + (b"\x7e" + size.to_bytes(2) if size < 1 << 16 else b"\x7f" + size.to_bytes(8))


async def accept(stream: StreamChannel, origins: tuple[str, ...]) -> WebSocketChannel:
    """Answers a browser's request. Raises `Refused` if it is none, or comes from a page that may not."""
    line, headers = parse(await stream.read_line_block(HEADERS_LIMIT))
    check_upgrade(stream, line, headers)
    origin = headers.get("origin")
    if origin is not None and not may_come(origin, headers.get("host", ""), origins):
        _answer(stream, "403 Forbidden")
        raise Refused(f"a page of {origin[:80]!r} may not connect; name it with origin=")
    return switch(stream, headers)


def parse(block: bytes) -> tuple[str, dict[str, str]]:
    """A request's first line, and its headers by their names in small letters; of several of a name the first."""
    line, *lines = block.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for text in lines:
        name, _, value = text.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return line, headers


def check_upgrade(stream: StreamChannel, line: str, headers: dict[str, str]) -> None:
    """Answers what asks for no WebSocket that we speak, and raises `Refused`."""
    key = headers.get("sec-websocket-key", "")
    if not line.endswith(" HTTP/1.1") or headers.get("upgrade", "").lower() != "websocket" or not _is_key(key):
        _answer(stream, "426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
        raise Refused("an HTTP request that asks for no WebSocket")
    if headers.get("sec-websocket-version") != "13":
        _answer(stream, "426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n")
        raise Refused("a WebSocket of another version than 13")


def switch(stream: StreamChannel, headers: dict[str, str]) -> WebSocketChannel:
    """From here on both sides speak in frames."""
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    chosen = "Sec-WebSocket-Protocol: binary\r\n" if "binary" in offered else ""
    key = headers["sec-websocket-key"].encode()
    from hashlib import sha1  # with all of OpenSSL

    proof = b64encode(sha1(key + ACCEPT_KEY, usedforsecurity=False).digest()).decode()
    stream.write(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {proof}\r\n{chosen}\r\n".encode()
    )
    return WebSocketChannel(stream)


def _is_key(key: str) -> bool:
    try:
        return len(b64decode(key, validate=True)) == 16
    except (NoBase64, ValueError):
        return False


def _answer(stream: StreamChannel, status: str, headers: str = "") -> None:
    stream.write(f"HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: 0\r\n\r\n".encode())


def may_come(origin: str, host: str, origins: tuple[str, ...]) -> bool:
    """Whether a page of `origin` may connect to what its browser calls `host`.

    Those of this host may, and those that were named. A page is *not* let in for having the name under which we were
    reached: whoever makes a name of theirs lead to this host would have it. Unless that name is an address.

    >>> may_come("http://localhost:8000", "127.0.0.1:5901", ()), may_come("http://bad.example", "bad.example:5901", ())
    (True, False)
    >>> may_come("https://10.0.0.5", "10.0.0.5:5901", ()), may_come("https://a.example", "", ("https://a.example",))
    (True, True)
    """
    if origin in origins:
        return True
    try:
        page, ours = urlsplit(origin).hostname, urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if page is None:
        return False
    if page == "localhost":
        return True
    try:
        return ip_address(page).is_loopback or page == ours
    except ValueError:
        return False
