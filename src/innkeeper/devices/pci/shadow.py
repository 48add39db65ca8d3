"""The RAM behind a PC's adapter area, and the ROM over it: what the 82441FX's PAM registers choose between.

Spec: Intel 82441FX datasheet 290549, 3.2.18 (PAM). A nibble for each 16 KiB piece from C0000, one for all of F0000-FFFFF: bit 0
lets reads reach RAM, bit 1 writes. Reads that do not reach RAM go to the ROM at E0000-FFFFF, or to nobody.
"""

from __future__ import annotations

from innkeeper.bus import Buses
from innkeeper.memory import Ram
from innkeeper.records import dataclass

AREA, AREA_BYTES = 0xC_0000, 0x4_0000
PIECE_BYTES, LAST_PIECE, LAST_BYTES = 0x4000, 0xF_0000, 0x1_0000
ROM_BYTES = 0x2_0000  # at the area's end
READ_RAM, WRITE_RAM = 1, 2
REGISTERS = 7
ALL_ROM, ALL_RAM = bytes(REGISTERS), b"\x30" + b"\x33" * (REGISTERS - 1)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the area with attributes of its own: in which register, and from which bit."""

    gpa: int
    size: int
    register: int
    shift: int

    def attributes(self, pam: bytes) -> int:
        return pam[self.register] >> self.shift & (READ_RAM | WRITE_RAM)


PIECES = (
    *(Piece(AREA + i * PIECE_BYTES, PIECE_BYTES, 1 + i // 2, 4 * (i % 2)) for i in range(12)),
    Piece(LAST_PIECE, LAST_BYTES, 0, 4),
)


def awake(pam: bytes) -> bytes:
    r"""The registers as a BIOS finds them that wakes a guest: its shadow is there, and can be written again.

    It counts processors in its variables there, and afterwards makes them read-only for the guest as it did at its start.

    >>> awake(b"\x10\x11").hex()
    '3011'
    """
    return bytes((pam[0] | (pam[0] & READ_RAM << 4) << 1,)) + pam[1:]


class Shadow:
    """Shows each piece as its attributes say. `rom` ends where the area ends; None where nothing is under the RAM."""

    def __init__(self, buses: Buses, ram: Ram, rom: Ram | None) -> None:
        self._buses = buses
        self._ram = ram
        self._rom = rom
        self._seen: dict[int, int] = {}  # what is shown, by address
        self._pam = ALL_ROM
        buses.unmap_ram(AREA)
        buses.map_mmio(AREA, AREA_BYTES, self)

    def choose(self, pam: bytes) -> None:
        """The registers, from PAM0 on."""
        self._pam = pam
        for piece in PIECES:
            attributes = piece.attributes(pam)
            if self._seen.get(piece.gpa) != attributes:
                self._show(piece, attributes)

    def unplug(self) -> None:
        """The whole area is RAM again, as it was found."""
        for piece in PIECES:
            self._hide(piece)
        self._buses.unmap_mmio(AREA)
        self._buses.map_ram(AREA, self._ram)

    def read(self, _offset: int, size: int, /) -> int:
        return (1 << 8 * size) - 1  # only where neither ROM nor RAM is shown

    def write(self, offset: int, size: int, value: int, /) -> None:
        """A write that found nothing writable: it reaches the RAM under the ROM if it may."""
        for piece in PIECES:
            if piece.gpa <= AREA + offset < piece.gpa + piece.size and piece.attributes(self._pam) & WRITE_RAM:
                self._ram.write(offset, value.to_bytes(size, "little")[: AREA_BYTES - offset])

    def _show(self, piece: Piece, attributes: int) -> None:
        self._hide(piece)
        offset = piece.gpa - AREA
        if attributes & READ_RAM:
            writable = attributes & WRITE_RAM != 0
            self._buses.map_ram(piece.gpa, self._ram, offset=offset, size=piece.size, read_only=not writable)
        elif self._rom is not None and offset >= AREA_BYTES - ROM_BYTES:
            in_rom = self._rom.size - AREA_BYTES + offset
            self._buses.map_ram(piece.gpa, self._rom, offset=in_rom, size=piece.size, read_only=True)
        else:
            return
        self._seen[piece.gpa] = attributes

    def _hide(self, piece: Piece) -> None:
        if self._seen.pop(piece.gpa, None) is not None:
            self._buses.unmap_ram(piece.gpa)
