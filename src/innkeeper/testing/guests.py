"""Guests of a few instructions, as flat multiboot images: one behaviour each.

Code runs in 32-bit protected mode with interrupts off and no IDT worth the name.
"""

import struct

LOAD = 0x10_0000
MAGIC = 0x1BAD_B002
ADDRESSES_GIVEN = 1 << 16
HEADER = struct.Struct("<8I")

SPIN = b"\xeb\xfe"  # jmp $
HALT = b"\xf4"
CRASH = b"\x0f\x0b"  # ud2: nobody handles it, so the processor shuts down
RESET = b"\xb0\xfe\xe6\x64" + SPIN  # the keyboard controller pulses the reset line
POWER_OFF = b"\x66\xba\x04\x06\x66\xb8\x00\x34\x66\xef" + SPIN  # SLP_EN with S5's type to PM1a control


def leave_with(value: int) -> bytes:
    """Writes to the test port that ends a run."""
    return b"\xb0" + bytes((value,)) + b"\xe6\xf4" + SPIN


def say(text: bytes) -> bytes:
    """Writes text to COM1, byte by byte."""
    return b"\x66\xba\xf8\x03" + b"".join(b"\xb0" + bytes((byte,)) + b"\xee" for byte in text)


def flat_guest(code: bytes) -> bytes:
    """An image with `code` at its entry point."""
    end = LOAD + HEADER.size + len(code)
    checksum = -(MAGIC + ADDRESSES_GIVEN) & 0xFFFF_FFFF
    return HEADER.pack(MAGIC, ADDRESSES_GIVEN, checksum, LOAD, LOAD, end, end, LOAD + HEADER.size) + code
