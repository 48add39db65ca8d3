"""Writes AML, the byte code of ACPI's definition blocks: just what our DSDT needs.

Spec: ACPI 6.5, chapter 20 ("AML"), and 6.4 for resource descriptors. Terms are bytes; nesting is
concatenation.

>>> name("_ADR", 2).hex(" ")
'08 5f 41 44 52 0a 02'
"""

import struct
from collections.abc import Iterable

ZERO, ONE, NAME, SCOPE, BUFFER, PACKAGE = b"\x00", b"\x01", b"\x08", b"\x10", b"\x11", b"\x12"
BYTE, WORD, DWORD, STRING, QWORD = b"\x0a", b"\x0b", b"\x0c", b"\x0d", b"\x0e"
DEVICE = b"\x5b\x82"
METHOD, REGION, FIELD = b"\x14", b"\x5b\x80", b"\x5b\x81"
STORE, NOTIFY, AND, OR, SHIFT_LEFT, IF, RETURN = b"\x70", b"\x86", b"\x7b", b"\x7d", b"\x79", b"\xa0", b"\xa4"
NO_TARGET = b"\x00"
ARGUMENTS = tuple(bytes((0x68 + index,)) for index in range(7))
LOCALS = tuple(bytes((0x60 + index,)) for index in range(8))
ROOT, DUAL_NAME, MULTI_NAME = b"\\", b"\x2e", b"\x2f"
SPACE_IO = 1
FIELD_DWORDS = 0x03  # accesses of 32 bits, no lock, the other bits of a write are preserved

Data = int | str | bytes
"""A constant: an integer, a string, or AML already written."""


def integer(value: int) -> bytes:
    """The shortest form of a constant."""
    if value < 2:
        return (ZERO, ONE)[value]
    for prefix, code in ((BYTE, "<B"), (WORD, "<H"), (DWORD, "<I"), (QWORD, "<Q")):
        if value < 1 << (8 * struct.calcsize(code)):
            return prefix + struct.pack(code, value)
    raise ValueError(f"{value:#x} has more than 64 bits")


def data(value: Data) -> bytes:
    match value:
        case int():
            return integer(value)
        case str():
            return STRING + value.encode("ascii") + b"\0"
        case bytes():
            return value


def path(text: str) -> bytes:
    r"""A name or a path of names, each padded to four letters.

    >>> path(r"\_SB.PCI0")
    b'\\._SB_PCI0'
    """
    prefix = ROOT if text.startswith("\\") else b""
    segments = [segment.ljust(4, "_").encode("ascii") for segment in text.lstrip("\\").split(".")]
    if any(len(segment) != 4 for segment in segments):
        raise ValueError(f"{text} has a name of more than four letters")
    if len(segments) == 1:
        return prefix + segments[0]
    head = DUAL_NAME if len(segments) == 2 else MULTI_NAME + bytes((len(segments),))
    return prefix + head + b"".join(segments)


def name(text: str, value: Data) -> bytes:
    return NAME + path(text) + data(value)


def package(items: Iterable[Data]) -> bytes:
    content = [data(item) for item in items]
    return _enclosed(PACKAGE, bytes((len(content),)) + b"".join(content))


def buffer(content: bytes) -> bytes:
    return _enclosed(BUFFER, integer(len(content)) + content)


def scope(text: str, *terms: bytes) -> bytes:
    return _enclosed(SCOPE, path(text) + b"".join(terms))


def device(text: str, *terms: bytes) -> bytes:
    return _enclosed(DEVICE, path(text) + b"".join(terms))


# ---- what methods are made of (ACPI 6.5, 20.2.5) ---------------------------------------------------


def method(text: str, arguments: int, *terms: bytes) -> bytes:
    return _enclosed(METHOD, path(text) + bytes((arguments,)) + b"".join(terms))


def serialized(text: str, arguments: int, *terms: bytes) -> bytes:
    """A method that runs once at a time."""
    return _enclosed(METHOD, path(text) + bytes((arguments | 1 << 3,)) + b"".join(terms))


def port_registers(text: str, base: int, names: Iterable[str]) -> bytes:
    """An operation region of ports that begins at `base`, and a register of 32 bits for each name."""
    listed = list(names)
    region = REGION + path(text) + bytes((SPACE_IO,)) + integer(base) + integer(4 * len(listed))
    fields = b"".join(path(each) + _length(32, counts_itself=False) for each in listed)
    return region + _enclosed(FIELD, path(text) + bytes((FIELD_DWORDS,)) + fields)


def call(text: str, *arguments: bytes) -> bytes:
    return path(text) + b"".join(arguments)


def store(value: bytes, target: bytes) -> bytes:
    return STORE + value + target


def shift_left(value: bytes, count: bytes) -> bytes:
    return SHIFT_LEFT + value + count + NO_TARGET


def and_(value: bytes, mask: bytes) -> bytes:
    return AND + value + mask + NO_TARGET


def or_(first: bytes, second: bytes) -> bytes:
    return OR + first + second + NO_TARGET


def return_(value: bytes) -> bytes:
    return RETURN + value


def if_bits(value: bytes, mask: bytes, *terms: bytes) -> bytes:
    """Does the terms if one of the bits is set."""
    return _enclosed(IF, and_(value, mask) + b"".join(terms))


def notify(target: bytes, value: bytes) -> bytes:
    return NOTIFY + target + value


def _enclosed(opcode: bytes, content: bytes) -> bytes:
    return opcode + _length(len(content)) + content


def _length(count: int, *, counts_itself: bool = True) -> bytes:
    """A PkgLength: one byte up to 63, else a nibble and one to three bytes. Most of them count themselves."""
    if count + counts_itself < 1 << 6:
        return bytes((count + counts_itself,))
    for more in (1, 2, 3):
        length = count + (1 + more if counts_itself else 0)
        if length < 1 << (4 + 8 * more):
            return bytes((more << 6 | length & 0xF,)) + (length >> 4).to_bytes(more, "little")
    raise ValueError(f"a term of {count} bytes is too long for AML")


def eisa_id(text: str) -> int:
    """A plug-and-play ID as a number (ACPI 6.5, 19.6.36).

    >>> hex(eisa_id("PNP0501"))
    '0x105d041'
    """
    first, second, third = (ord(letter) - 0x40 for letter in text[:3])
    value = (first << 10 | second << 5 | third) << 16 | int(text[3:], 16)
    return int.from_bytes(value.to_bytes(4, "big"), "little")


# ---- resource descriptors (ACPI 6.5, 6.4) -----------------------------------------------------------

END_TAG = b"\x79\x00"  # checksum 0: not used
DECODES_16_BITS = 1
PRODUCER, CONSUMER = 0, 1  # of what it describes
MINIMUM_FIXED, MAXIMUM_FIXED = 1 << 2, 1 << 3
KIND_MEMORY, KIND_IO, KIND_BUS = 0, 1, 2
ENTIRE_RANGE = 3  # ISA and other I/O addresses alike
READ_WRITE = 1


def resources(*descriptors: bytes) -> bytes:
    return buffer(b"".join(descriptors) + END_TAG)


def ports(base: int, size: int) -> bytes:
    """A device's own ports, at a fixed place."""
    return struct.pack("<BBHHBB", 0x47, DECODES_16_BITS, base, base, 1, size)


def irq(number: int) -> bytes:
    """An ISA interrupt: edge-triggered, active high, not shared."""
    return struct.pack("<BH", 0x22, 1 << number)


def _window(code: str, tag: int, kind: int, specific: int, base: int, end: int) -> bytes:
    flags = PRODUCER | MINIMUM_FIXED | MAXIMUM_FIXED
    body = struct.pack(f"<BBB5{code}", kind, flags, specific, 0, base, end - 1, 0, end - base)
    return struct.pack("<BH", tag, len(body)) + body


def bus_window(first: int, last: int) -> bytes:
    return _window("H", 0x88, KIND_BUS, 0, first, last + 1)


def port_window(base: int, end: int) -> bytes:
    return _window("H", 0x88, KIND_IO, ENTIRE_RANGE, base, end)


def memory_window(base: int, end: int) -> bytes:
    if end > 1 << 32:
        return _window("Q", 0x8A, KIND_MEMORY, READ_WRITE, base, end)
    return _window("I", 0x87, KIND_MEMORY, READ_WRITE, base, end)
