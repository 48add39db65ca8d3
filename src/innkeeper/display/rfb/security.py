"""Who may come in: RFB's security types, and how long a wrong password has to wait.

Spec: RFC 6143 7.1.2 and 7.2; rfbproto's VeNCrypt. Left out: client certificates, SASL, RSA-AES, ARD, Tight's own.
"""

import asyncio
import os
import ssl
from collections import OrderedDict
from dataclasses import field
from enum import IntEnum

from innkeeper.display.rfb import des
from innkeeper.display.rfb.channel import Channel, Refused, StreamChannel
from innkeeper.records import dataclass


class SecurityType(IntEnum):
    """What is agreed on first."""

    NONE = 1
    VNC = 2
    VENCRYPT = 19


class SubType(IntEnum):
    """What VeNCrypt agrees on: how to encrypt, and then how to authenticate."""

    PLAIN = 256
    TLS_NONE = 257
    TLS_VNC = 258
    TLS_PLAIN = 259
    X509_NONE = 260
    X509_VNC = 261
    X509_PLAIN = 262


VENCRYPT_VERSION = b"\x00\x02"
NAME_LIMIT = 256  # of a user or password
ACCEPTED, REJECTED = 0, 1
CHALLENGE_BYTES = 16
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 15.0
PEERS_REMEMBERED = 256


class Throttle:
    """Lets a peer try one password after the other, each failure waiting longer than the one before."""

    def __init__(self, first_delay_s: float = FIRST_DELAY_S) -> None:
        self._first_delay_s = first_delay_s
        self._peers: OrderedDict[str, _Tries] = OrderedDict()

    def of(self, peer: str) -> "_Tries":
        tries = self._peers.pop(peer, None) or _Tries(self._first_delay_s)
        self._peers[peer] = tries
        if len(self._peers) > PEERS_REMEMBERED:
            self._peers.popitem(last=False)
        return tries


@dataclass(slots=True)
class _Tries:
    first_delay_s: float
    failures: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def failed(self) -> None:
        """Within one's turn, so that trying many at once gains nothing."""
        delay = min(self.first_delay_s * 2 ** min(self.failures, 10), LONGEST_DELAY_S)
        self.failures += 1
        await asyncio.sleep(delay)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a server asks of everybody."""

    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    anonymous: bool = False
    throttle: Throttle = field(default_factory=Throttle)

    def types(self, *, encrypted: bool) -> list[SecurityType]:
        """The choice for a peer; `encrypted` if it came through TLS already, as browsers do."""
        if (self.tls is not None and not encrypted) or self.username is not None:
            return [SecurityType.VENCRYPT]
        return [SecurityType.NONE if self.password is None else SecurityType.VNC]

    def subtype(self, *, encrypted: bool) -> SubType:
        if encrypted:
            return SubType.PLAIN
        none, vnc, plain = (
            (SubType.TLS_NONE, SubType.TLS_VNC, SubType.TLS_PLAIN)
            if self.anonymous
            else (SubType.X509_NONE, SubType.X509_VNC, SubType.X509_PLAIN)
        )
        if self.username is not None:
            return plain
        return none if self.password is None else vnc


@dataclass(frozen=True, slots=True)
class Visitor:
    """A peer at the door. `stream` is what `channel` stands on: the thing that can begin TLS."""

    channel: Channel
    stream: StreamChannel
    minor: int  # of the protocol's version 3: 3, 7 or 8


async def authenticate(visitor: Visitor, policy: Policy, chosen: SecurityType) -> None:
    """Raises `Refused` unless the peer may come in; it has been told."""
    if chosen is SecurityType.NONE:
        if visitor.minor >= 8:
            _accept(visitor)
    elif chosen is SecurityType.VNC:
        await _check_vnc(visitor, policy)
    else:
        await _vencrypt(visitor, policy)


async def _vencrypt(visitor: Visitor, policy: Policy) -> None:
    channel = visitor.channel
    channel.write(VENCRYPT_VERSION)
    if await channel.read(2) != VENCRYPT_VERSION:
        channel.write(b"\xff")
        raise Refused("VeNCrypt of another version than 0.2")
    offered = policy.subtype(encrypted=visitor.stream.encrypted)
    channel.write(b"\x00\x01" + int(offered).to_bytes(4))
    if int.from_bytes(await channel.read(4)) != offered:
        channel.write(b"\x00")
        raise Refused(f"it does not want {offered.name}, which is all there is")
    if offered is not SubType.PLAIN:
        assert policy.tls is not None  # noqa: S101 - what makes VeNCrypt be offered
        channel.write(b"\x01")
        await channel.drain()
        await visitor.stream.start_tls(policy.tls)
    if offered in (SubType.TLS_NONE, SubType.X509_NONE):
        _accept(visitor)
    elif offered in (SubType.TLS_VNC, SubType.X509_VNC):
        await _check_vnc(visitor, policy)
    else:
        await _check_plain(visitor, policy)


async def _check_vnc(visitor: Visitor, policy: Policy) -> None:
    challenge = os.urandom(CHALLENGE_BYTES)
    visitor.channel.write(challenge)
    answer = await visitor.channel.read(CHALLENGE_BYTES)
    expected = des.answer((policy.password or "").encode(), challenge)
    await _decide(visitor, policy, right=_equal(answer, expected))


def _equal(given: bytes, expected: bytes) -> bool:
    """In a time that says nothing."""
    from hmac import compare_digest  # with all of OpenSSL

    return compare_digest(given, expected)


async def _check_plain(visitor: Visitor, policy: Policy) -> None:
    sizes = await visitor.channel.read(8)
    name_size, password_size = int.from_bytes(sizes[:4]), int.from_bytes(sizes[4:])
    if max(name_size, password_size) > NAME_LIMIT:
        raise Refused(f"a name or password of more than {NAME_LIMIT} bytes")
    name, password = await visitor.channel.read(name_size), await visitor.channel.read(password_size)
    name_right = _equal(name, (policy.username or "").encode())
    password_right = _equal(password, (policy.password or "").encode())
    await _decide(visitor, policy, right=name_right and password_right)


async def _decide(visitor: Visitor, policy: Policy, *, right: bool) -> None:
    tries = policy.throttle.of(visitor.stream.peer)
    async with tries.turn:
        if right:
            tries.failures = 0
        else:
            await tries.failed()
    if right:
        _accept(visitor)
        return
    reason = b"authentication failed"
    visitor.channel.write(REJECTED.to_bytes(4))
    if visitor.minor >= 8:
        visitor.channel.write(len(reason).to_bytes(4) + reason)
    raise Refused("a wrong password")


def _accept(visitor: Visitor) -> None:
    visitor.channel.write(ACCEPTED.to_bytes(4))
