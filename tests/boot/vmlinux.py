"""The ELF kernel inside a bzImage, for protocols that start ELF files.

Spec: Linux Documentation/arch/x86/boot.rst (payload_offset, payload_length), lz4_Block_format.md. Left out:
bzip2, lzma, lzo and zstd payloads.
"""

import gzip
import lzma
import struct

SETUP_SECTORS, PAYLOAD = 0x1F1, 0x248
LZ4_LEGACY, XZ, GZIP = b"\x02\x21\x4c\x18", b"\xfd7zXZ", b"\x1f\x8b"


class PackingError(Exception):
    """The payload is packed in a way that this module does not know."""


def extract(bzimage: bytes) -> bytes:
    protected = (bzimage[SETUP_SECTORS] + 1) * 512
    offset, length = struct.unpack_from("<II", bzimage, PAYLOAD)
    packed = bzimage[protected + offset : protected + offset + length - 4]  # less the unpacked size at its end
    if packed.startswith(LZ4_LEGACY):
        return unlz4(packed)
    if packed.startswith(XZ):
        return lzma.decompress(packed)
    if packed.startswith(GZIP):
        return gzip.decompress(packed)
    raise PackingError(f"the kernel's payload begins with {packed[:4].hex(' ')}")


def unlz4(packed: bytes) -> bytes:
    """Unpacks the legacy frame: blocks of up to 8 MiB, each with its packed size before it."""
    unpacked = []
    at = len(LZ4_LEGACY)
    while at < len(packed):
        (size,) = struct.unpack_from("<I", packed, at)
        at += 4
        unpacked.append(unlz4_block(packed[at : at + size]))
        at += size
    return b"".join(unpacked)


def unlz4_block(packed: bytes) -> bytes:
    out = bytearray()
    at, end = 0, len(packed)
    while True:
        token = packed[at]
        at += 1
        literals = token >> 4
        if literals == 15:
            literals, at = extended(literals, packed, at)
        out += packed[at : at + literals]
        at += literals
        if at >= end:
            return bytes(out)
        distance = packed[at] | packed[at + 1] << 8
        length, at = token & 15, at + 2
        if length == 15:
            length, at = extended(length, packed, at)
        length += 4
        start = len(out) - distance
        if distance >= length:
            out += out[start : start + length]
        else:  # a match may run into what it makes
            out += (out[start:] * (length // distance + 1))[:length]


def extended(length: int, packed: bytes, at: int) -> tuple[int, int]:
    """A length whose nibble was full goes on in bytes, up to the first that is not 255."""
    while packed[at] == 255:
        length += 255
        at += 1
    return length + packed[at], at + 1
