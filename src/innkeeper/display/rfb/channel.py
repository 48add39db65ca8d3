"""Bytes from and to one peer: exact reads, writes that know whether the peer keeps up, TLS from some point on.

What has come but not been asked for is bounded, and what was written but not been taken as well, if those who write
much `drain` before.
"""

import asyncio
import ssl
from typing import Protocol

READ_AHEAD = 64 << 10
WRITE_BEHIND = 64 << 10
TLS_HANDSHAKE_S = 20.0


class Gone(Exception):  # noqa: N818 - an end, not a mistake
    """The peer has left."""


class Refused(Exception):  # noqa: N818 - what the peer gets for its mistake
    """The peer said what nobody may say, or may not come in: one sentence for the log."""


class Channel(Protocol):
    """A conversation's bytes."""

    async def read(self, count: int, /) -> bytes:
        """Exactly so many. Raises `Gone` if the peer leaves before."""
        ...

    def write(self, data: bytes, /) -> None: ...

    async def drain(self) -> None:
        """Waits while the peer has much left to take. Raises `Gone`."""
        ...


class StreamChannel(asyncio.Protocol):
    """A channel on a socket. `peer` is what failures are counted by."""

    def __init__(self, peer: str = "a peer", *, encrypted: bool = False) -> None:
        self.peer = peer
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._wanted = 0
        self._more: asyncio.Future[None] | None = None
        self._ended = False
        self._full = False
        self._space: asyncio.Future[None] | None = None
        self.encrypted = encrypted

    # ---- asyncio's side -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what stream sockets get
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BEHIND)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._wake(self._more)
        if len(self._buffer) >= max(READ_AHEAD, self._wanted) and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - gone is gone
        self._end()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake(self._space)

    def _end(self) -> None:
        self._ended = True
        self._wake(self._more)
        self._wake(self._space)

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # ---- the conversation's side ----------------------------------------------------------------

    async def read(self, count: int, /) -> bytes:
        await self._have(count)
        return self._take(count)

    async def read_some(self, limit: int) -> bytes:
        """What has come, as soon as anything has. Raises `Gone`."""
        await self._have(1)
        return self._take(min(limit, len(self._buffer)))

    async def read_line_block(self, limit: int) -> bytes:
        """Up to and with the first empty line, as HTTP's headers end. Raises `Refused` beyond `limit`."""
        while (end := self._buffer.find(b"\r\n\r\n", 0, limit)) < 0:
            if len(self._buffer) >= limit:
                raise Refused(f"headers are longer than {limit} bytes")
            await self._have(len(self._buffer) + 1)
        return self._take(end + 4)

    async def _have(self, count: int) -> None:
        self._wanted = count
        while len(self._buffer) < count:
            if self._ended or self._transport is None:
                raise Gone
            self._transport.resume_reading()
            self._more = asyncio.get_running_loop().create_future()
            await self._more

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def write(self, data: bytes, /) -> None:
        if self._transport is not None and not self._ended:
            self._transport.write(data)

    async def drain(self) -> None:
        while self._full and not self._ended:
            self._space = asyncio.get_running_loop().create_future()
            await self._space
        if self._ended:
            raise Gone

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """From here on everything is encrypted.

        Raises `Refused` if the peer cannot agree, or has slipped in what would look as if it came through TLS.
        """
        assert self._transport is not None  # noqa: S101 - connected
        if self._buffer:
            raise Refused("it spoke before TLS began")
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=TLS_HANDSHAKE_S
            )
        except OSError as error:
            raise Refused(f"TLS failed: {error}") from error
        if transport is None:
            raise Gone
        transport.set_write_buffer_limits(high=WRITE_BEHIND)
        self._transport = transport
        self.encrypted = True

    def close(self) -> None:
        """Sends what was written, then ends."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Ends at once."""
        if self._transport is not None:
            self._transport.abort()
