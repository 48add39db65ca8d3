"""From the first byte to the first picture: what a peer speaks, who it is, and whether it shares the screen.

Spec: RFC 6143 7.1 and 7.3.1; versions 3.3, 3.7 and 3.8.
"""

import asyncio
import re
import socket

from innkeeper.display.rfb.channel import TLS_HANDSHAKE_S, Channel, Gone, Refused, StreamChannel
from innkeeper.display.rfb.security import Policy, SecurityType, Visitor, authenticate

VERSION = b"RFB 003.008\n"
SPOKEN = re.compile(rb"RFB (\d{3})\.(\d{3})\n")
# A browser speaks at once, a VNC viewer waits for us to. Only a network takes time.
FIRST_WORD_S, FIRST_WORD_HERE_S = 0.15, 0.01
GET, TLS_RECORD = ord("G"), 0x16


async def connect(connection: socket.socket, policy: Policy, *, browser: bool) -> tuple[StreamChannel, bool]:
    """A channel on a new connection, and whether a WebSocket is to be spoken on it: the peer's first byte says so.

    RFB's viewers keep silent at first, browsers do not. `browser` if nobody else may come here. Raises `Refused` and
    `Gone`.
    """
    peer = peer_of(connection)
    patience_s = FIRST_WORD_HERE_S if connection.family == socket.AF_UNIX else FIRST_WORD_S
    first = await first_byte(connection, None if browser else patience_s)
    context = policy.tls if first == TLS_RECORD and not policy.anonymous else None
    if browser and context is None and first != GET:
        raise Refused("it speaks no HTTP on a port that is for browsers")
    stream = StreamChannel(peer, encrypted=context is not None)
    timeout = None if context is None else TLS_HANDSHAKE_S
    try:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: stream, connection, ssl=context, ssl_handshake_timeout=timeout
        )
    except OSError as error:
        raise Refused(f"TLS failed: {error}") from error
    return stream, context is not None or first == GET


def peer_of(connection: socket.socket) -> str:
    """Raises `Gone` for one that has left already."""
    try:
        name = connection.getpeername()
    except OSError as error:
        raise Gone from error
    return str(name[0]) if isinstance(name, tuple) else "a local viewer"


async def first_byte(connection: socket.socket, patience_s: float | None) -> int | None:
    """The peer's first byte, which stays to be read; None if it keeps silent. Raises `Gone` at its end."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        async with asyncio.timeout(patience_s):
            await readable.wait()
        data = connection.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return None
    except OSError as error:
        raise Gone from error
    finally:
        loop.remove_reader(connection)
    if not data:
        raise Gone
    return data[0]


async def shake_hands(channel: Channel, stream: StreamChannel, policy: Policy) -> bool:
    """Lets a peer in, or raises `Refused`. Gives whether it shares the screen with others."""
    channel.write(VERSION)
    spoken = SPOKEN.fullmatch(await channel.read(len(VERSION)))
    if spoken is None:
        raise Refused("it does not speak RFB")
    visitor = Visitor(channel, stream, version(int(spoken[1]), int(spoken[2])))
    offered = policy.types(encrypted=stream.encrypted)
    if visitor.minor == 3:
        chosen = _decide_for(channel, offered)
    else:
        channel.write(bytes([len(offered), *offered]))
        number = (await channel.read(1))[0]
        if number not in offered:
            refuse(channel, visitor.minor, "no such security type")
            raise Refused(f"it wants security type {number}, which was not offered")
        chosen = SecurityType(number)
    await authenticate(visitor, policy, chosen)
    return (await channel.read(1))[0] != 0


def version(major: int, minor: int) -> int:
    """The minor version to speak: unknown ones are those that they extend.

    >>> [version(*spoken) for spoken in ((3, 3), (3, 5), (3, 7), (3, 8), (3, 889), (4, 1))]
    [3, 3, 7, 8, 8, 8]
    """
    if (major, minor) >= (3, 8):
        return 8
    return 7 if (major, minor) == (3, 7) else 3


def _decide_for(channel: Channel, offered: list[SecurityType]) -> SecurityType:
    """Version 3.3 has no choice, and knows nothing of VeNCrypt."""
    chosen = offered[0]
    if chosen is SecurityType.VENCRYPT:
        reason = b"this server wants VeNCrypt, which needs RFB 3.7"
        channel.write(bytes(4) + len(reason).to_bytes(4) + reason)
        raise Refused("it speaks RFB 3.3, and only VeNCrypt is offered")
    channel.write(int(chosen).to_bytes(4))
    return chosen


def refuse(channel: Channel, minor: int, reason: str) -> None:
    """A SecurityResult of failure."""
    channel.write((1).to_bytes(4))
    if minor >= 8:
        channel.write(len(reason).to_bytes(4) + reason.encode())
