"""Packets on the wire: `$data#checksum`, acknowledged by `+` until both agree to leave that out.

Spec: "Debugging with GDB", appendix E.1. Left out: run-length encoding of what we send.
"""

from collections.abc import Iterator

ESCAPE, ESCAPED = 0x7D, b"#$}*"
INTERRUPT = b"\x03"
PACKET_LIMIT = 1 << 16  # bytes of data


def encode(data: bytes) -> bytes:
    """A packet of it, escaped.

    >>> encode(b"OK")
    b'$OK#9a'
    """
    body = bytearray()
    for byte in data:
        body += bytes((ESCAPE, byte ^ 0x20)) if byte in ESCAPED else bytes((byte,))
    return b"$" + body + b"#%02x" % (sum(body) & 0xFF)


def unescape(body: bytes) -> bytes:
    """The data of a packet's body."""
    head, *rest = body.split(bytes((ESCAPE,)))
    return head + b"".join(bytes((part[0] ^ 0x20,)) + part[1:] for part in rest if part)


class Decoder:
    """Bytes as they come → packets' data, `INTERRUPT`, and None for a packet that was damaged on its way."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        self._pending += data
        while self._pending:
            if self._pending[0] != ord("$"):
                if self._pending.pop(0) == INTERRUPT[0]:
                    yield INTERRUPT
                continue  # an acknowledgement, or noise
            end = self._pending.find(b"#")
            if end < 0 or len(self._pending) < end + 3:
                if len(self._pending) > PACKET_LIMIT + 4:
                    self._pending.clear()
                    yield None
                return
            body, checksum = bytes(self._pending[1:end]), bytes(self._pending[end + 1 : end + 3])
            del self._pending[: end + 3]
            yield unescape(body) if checksum.lower() == b"%02x" % (sum(body) & 0xFF) else None
