"""What VNC viewers may say: conversations made of right messages with wrong values, then damaged byte by byte.

A conversation must end as one of a viewer that has gone or was sent away, never by another error; what is kept of it
is bounded, and the guest gets only keys and places that exist. A finding prints the seed that repeats it.
"""

import argparse
import asyncio
import random
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

from innkeeper._core import MemoryScreen
from innkeeper.display.rfb import handshake, websocket
from innkeeper.display.rfb.channel import Channel, Gone, Refused, StreamChannel
from innkeeper.display.rfb.security import Policy, Throttle
from innkeeper.display.rfb.session import Display, Session

KEPT_LIMIT = 4 << 20  # bytes of a peer's that may wait to be read
PATIENCE_S = 60.0
INTERESTING = (0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 31, 32, 63, 64, 65, 127, 128, 255, 256, 1023, 32767, 32768, 65535)
ENCODINGS = (0, 1, 5, 6, 7, 16, -223, -224, -239, -258, -307, -308, -312, -313, -314, -0x3F5E1A32, -27, -250)


class Pipe(asyncio.Transport):
    """Takes everything, keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = False
        self.written = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def close(self) -> None: ...


class Guest:
    """Complains of what no keyboard and no pointer does."""

    def key(self, code: int, down: bool, /) -> None:
        assert 1 <= code <= 255
        assert isinstance(down, bool)

    def pointer(self, x: int, y: int, width: int, height: int, buttons: int, /) -> None:
        assert 0 <= x < width
        assert 0 <= y < height
        assert 0 <= buttons < 1 << 9


def number(dice: random.Random, bits: int) -> int:
    value = dice.choice(INTERESTING) if dice.random() < 0.7 else dice.getrandbits(bits)
    return value & ((1 << bits) - 1)


def area(dice: random.Random) -> bytes:
    return struct.pack(">4H", *(number(dice, 16) for _ in range(4)))


def pixel_format(dice: random.Random) -> bytes:
    if dice.random() < 0.7:
        bits, depth, maxima, shifts = dice.choice(
            [(32, 24, (255,) * 3, (16, 8, 0)), (32, 30, (1023,) * 3, (20, 10, 0)), (16, 16, (31, 63, 31), (11, 5, 0)),
             (8, 8, (7, 7, 3), (0, 3, 6)), (32, 24, (255,) * 3, (24, 16, 8)), (32, 0, (0,) * 3, (0,) * 3)]
        )  # fmt: skip
        return struct.pack(">4B3H3B3x", bits, depth, dice.getrandbits(1), 1, *maxima, *shifts)
    return dice.randbytes(16)


def cut_text(dice: random.Random) -> bytes:
    if dice.random() < 0.3:
        data = dice.randbytes(number(dice, 8))
        return struct.pack(">B3xi", 6, len(data)) + data
    text = dice.randbytes(number(dice, 10))
    body = zlib.compress(struct.pack(">I", number(dice, 32) if dice.random() < 0.3 else len(text)) + text)
    data = struct.pack(">I", 1 << dice.randrange(24, 32) | dice.getrandbits(3)) + body
    return struct.pack(">B3xi", 6, -len(data)) + data


def message(dice: random.Random) -> bytes:
    """One that a viewer could send, with values that are often at their limits."""
    kind = dice.choice((0, 2, 3, 3, 3, 4, 5, 6, 150, 248, 251, 255, 255))
    if kind == 0:
        return b"\0\0\0\0" + pixel_format(dice)
    if kind == 2:
        numbers = [dice.choice(ENCODINGS) for _ in range(dice.randrange(12))]
        return struct.pack(f">BxH{len(numbers)}i", 2, len(numbers), *numbers)
    if kind == 3:
        return struct.pack(">BB", 3, dice.getrandbits(1)) + area(dice)
    if kind == 4:
        keysym = dice.choice((number(dice, 32), dice.randrange(0x20, 0x7F), 0xFF00 | dice.getrandbits(8)))
        return struct.pack(">BBxxI", 4, dice.getrandbits(1), keysym)
    if kind == 5:
        return struct.pack(">BB2H", 5, number(dice, 8), number(dice, 16), number(dice, 16))
    if kind == 6:
        return cut_text(dice)
    if kind == 150:
        return struct.pack(">BB", 150, dice.getrandbits(1)) + area(dice)
    if kind == 248:
        payload = dice.randbytes(dice.randrange(65))
        return struct.pack(">B3xIB", 248, dice.getrandbits(1) << 31 | dice.getrandbits(4), len(payload)) + payload
    if kind == 251:
        screens = dice.choice((0, 1, 1, 1, 2, 255))
        return struct.pack(">Bx2HBx", 251, number(dice, 16), number(dice, 16), screens) + dice.randbytes(16 * screens)
    return struct.pack(">BBHII", 255, 0, dice.getrandbits(1), number(dice, 32), number(dice, 9))


def conversation(dice: random.Random, policy: Policy) -> bytes:
    version = dice.choice((b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n", b"RFB 003.008\n", dice.randbytes(12)))
    hello = version
    if version != b"RFB 003.003\n":
        hello += bytes([policy.types(encrypted=False)[0]])
    if policy.username is not None:
        hello += b"\x00\x02" + (256).to_bytes(4)
        hello += struct.pack(">II", 4, 6) + b"annasecret"
    hello += b"\x01"
    said = hello + b"".join(message(dice) for _ in range(dice.randrange(40)))
    return damaged(dice, said) if dice.random() < 0.6 else said


def damaged(dice: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        at = dice.randrange(len(out)) if out else 0
        match dice.randrange(5):
            case 0:
                out[at : at + 1] = bytes([dice.getrandbits(8)])
            case 1:
                out[at : at + 1] = bytes([dice.choice(INTERESTING) & 255])
            case 2:
                del out[at : at + dice.randrange(1, 9)]
            case 3:
                out[at:at] = out[at : at + dice.randrange(1, 33)]
            case _:
                out[at : at + 4] = struct.pack(">I", number(dice, 32))
    return bytes(out)


def in_frames(dice: random.Random, data: bytes) -> bytes:
    out = bytearray(
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    first = True
    while data:
        size = min(dice.choice((1, 2, 12, 100, 125, 126, 1000)), len(data))
        piece, data = data[:size], data[size:]
        if dice.random() < 0.1:
            out += bytes([0x80 | dice.choice((9, 10)), 0x80 | 4]) + dice.randbytes(8)
        mask = dice.randbytes(4)
        head = bytes([(0 if data else 0x80) | (2 if first else 0), 0x80 | min(size, 126)])
        out += head + (size.to_bytes(2) if size >= 126 else b"") + mask
        out += bytes(byte ^ mask[at % 4] for at, byte in enumerate(piece))
        first = False
    return damaged(dice, bytes(out)) if dice.random() < 0.3 else bytes(out)


async def converse(stream: StreamChannel, display: Display, policy: Policy, *, browser: bool) -> str:
    try:
        channel: Channel = await websocket.accept(stream, ()) if browser else stream
        await handshake.shake_hands(channel, stream, policy)
        await Session(channel, display).run()
    except Gone:
        return "gone"
    except Refused as reason:
        return str(reason).split(" ")[0]
    raise AssertionError("a conversation ended without a reason")


async def case(seed: int, workers: ThreadPoolExecutor) -> str:
    """One conversation; how it ended."""
    dice = random.Random(seed)
    screen = MemoryScreen()
    screen.resize(dice.choice((0, 1, 64, 200)), dice.choice((1, 33, 120)))
    texts: list[str] = []
    display = Display(screen.screen, Guest(), "fuzz", lambda: None, workers, texts.append)
    policy = Policy(throttle=Throttle(0.0))
    if dice.random() < 0.2:
        policy = Policy(username="anna", password="secret", throttle=Throttle(0.0))
    browser = dice.random() < 0.25
    said = conversation(dice, policy)
    said = in_frames(dice, said) if browser else said
    stream, pipe = StreamChannel(encrypted=policy.username is not None), Pipe()
    stream.connection_made(pipe)
    talk = asyncio.ensure_future(converse(stream, display, policy, browser=browser))
    while said and not talk.done():
        if not pipe.paused:
            size = dice.choice((1, 7, 100, 4096))
            stream.data_received(said[:size])
            said = said[size:]
        assert len(stream._buffer) < KEPT_LIMIT
        if dice.random() < 0.05:
            screen.resize(dice.randrange(1, 200), dice.randrange(1, 120))
        await asyncio.sleep(0.001 if dice.random() < 0.1 else 0)
    if dice.random() < 0.5:
        await asyncio.sleep(0.003)  # for the updates that it asked for
    stream.eof_received()
    return await asyncio.wait_for(talk, PATIENCE_S)


async def run(seed: int, *, seconds: float | None = None, cases: int | None = None) -> dict[str, int]:
    """Cases from `seed` on; how often they ended how."""
    ends: dict[str, int] = {}
    start, done = time.monotonic(), 0
    with ThreadPoolExecutor(2) as workers:
        while (cases is None or done < cases) and (seconds is None or time.monotonic() - start < seconds):
            try:
                end = await case(seed + done, workers)
            except BaseException:
                print(f"finding: --seed {seed + done} --cases 1", file=sys.stderr)
                raise
            ends[end] = ends.get(end, 0) + 1
            done += 1
    return ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seconds", type=float)
    arguments = parser.parse_args()
    ends = asyncio.run(run(arguments.seed, seconds=arguments.seconds, cases=arguments.cases))
    print(f"rfb: {sum(ends.values())} conversations, no finding; they ended as", ends)
    return 0


if __name__ == "__main__":
    sys.exit(main())
