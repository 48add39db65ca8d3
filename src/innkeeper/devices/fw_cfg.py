"""fw_cfg: how firmware and test guests ask the VMM about the machine.

Spec: QEMU's docs/specs/fw_cfg. Offsets: 0 selector (16 bits), 1 data (8 bits), 4 DMA address (two
big-endian halves; writing the second one starts the transfer). Left out: writable files; writes are
refused with the error bit.
"""

import struct
from collections.abc import Callable, Mapping

from innkeeper.bus import Fields, State
from innkeeper.bus.state import number
from innkeeper.memory import GuestMemory

SELECTOR, DATA, DMA_HIGH, DMA_LOW = 0, 1, 4, 8
REGION_BYTES = 12

KEY_SIGNATURE = 0x0000
KEY_ID = 0x0001
KEY_UUID = 0x0002
KEY_RAM_BYTES = 0x0003
KEY_VCPUS = 0x0005
KEY_KERNEL_BYTES, KEY_KERNEL = 0x0008, 0x0011
KEY_INITRD_BYTES, KEY_INITRD = 0x000B, 0x0012
KEY_BOOT_MENU = 0x000E
KEY_MAX_VCPUS = 0x000F
KEY_COMMAND_LINE_BYTES, KEY_COMMAND_LINE = 0x0014, 0x0015
KEY_SETUP_BYTES, KEY_SETUP = 0x0017, 0x0018
KEY_DIRECTORY = 0x0019
KEY_FIRST_FILE = 0x0020
KEY_IRQ0_OVERRIDE = 0x8002
ID_TRADITIONAL, ID_DMA = 1, 2

NAME_BYTES = 56
DMA_SIGNATURE = b"QEMU CFG"
# The control word: 31-16 key to select │ 4 write │ 3 select │ 2 skip │ 1 read │ 0 error
DMA_ERROR, DMA_READ, DMA_SKIP, DMA_SELECT, DMA_WRITE = 1, 2, 4, 8, 16
DMA_REQUEST = struct.Struct(">IIQ")  # control, length, address
CHUNK_BYTES = 1 << 20
STATE = Fields(key=number(0xFFFF), at=number((1 << 32) - 1), dma_high=number((1 << 32) - 1))


def integer(value: int, size: int) -> bytes:
    r"""An item that holds a number.

    >>> integer(2, 2)
    b'\x02\x00'
    """
    return value.to_bytes(size, "little")


Content = bytes | Callable[[], bytes]
"""What an item holds, or what says so each time it is selected; its length never changes."""


class FwCfg:
    """Numbered items and named files, all read-only."""

    def __init__(self, memory: GuestMemory, items: Mapping[int, Content], files: Mapping[str, Content]) -> None:
        self._memory = memory
        self._items: dict[int, Content] = {KEY_SIGNATURE: b"QEMU", KEY_ID: integer(ID_TRADITIONAL | ID_DMA, 4), **items}
        self._add_files(files)
        self._item = b""
        self._key = KEY_SIGNATURE
        self._select(KEY_SIGNATURE)
        self._at = 0
        self._dma_high = 0

    def _add_files(self, files: Mapping[str, Content]) -> None:
        directory = struct.pack(">I", len(files))
        for key, (name, content) in enumerate(sorted(files.items()), KEY_FIRST_FILE):
            self._items[key] = content
            directory += struct.pack(f">IHH{NAME_BYTES}s", len(_bytes(content)), key, 0, name.encode())
        self._items[KEY_DIRECTORY] = directory

    def read(self, offset: int, size: int, /) -> int:
        if offset == DATA:
            return int.from_bytes(self._take(size).ljust(size, b"\0"), "little")
        if offset in (DMA_HIGH, DMA_LOW) and size in (4, 8):
            return int.from_bytes((DMA_SIGNATURE * 2)[offset - DMA_HIGH :][:size], "little")
        return 0

    def write(self, offset: int, size: int, value: int, /) -> None:
        if offset == SELECTOR and size == 2:
            self._select(value)
        elif offset == DMA_HIGH and size == 4:
            self._dma_high = _swapped(value)
        elif offset == DMA_LOW and size == 4:
            address, self._dma_high = self._dma_high << 32 | _swapped(value), 0
            self._transfer(address)

    def state(self) -> State:
        """What the items hold is the board's, and firmware's once it has read it."""
        return STATE.of(self)

    def restore(self, state: State, /) -> None:
        saved = STATE.check(state)
        self._select(saved["key"])
        self._at = min(saved["at"], len(self._item))
        self._dma_high = saved["dma_high"]

    def _select(self, key: int) -> None:
        self._key = key
        self._item = _bytes(self._items.get(key & 0xBFFF, b""))  # bit 14: for writing, which changes nothing here
        self._at = 0

    def _take(self, length: int) -> bytes:
        data = self._item[self._at : self._at + length]
        self._at += len(data)
        return data

    def _transfer(self, address: int) -> None:
        """One DMA request. An address outside RAM is the guest's mistake: it sees the error bit, if anything."""
        try:
            control, length, target = DMA_REQUEST.unpack(self._memory.read(address, DMA_REQUEST.size))
        except ValueError:
            return
        if control & DMA_SELECT:
            self._select(control >> 16)
        answer = self._carry_out(control, length, target)
        self._memory.write(address, answer.to_bytes(4, "big"))

    def _carry_out(self, control: int, length: int, target: int) -> int:
        if control & DMA_READ:
            try:
                self._deliver(length, target)
            except ValueError:
                return DMA_ERROR
        elif control & DMA_SKIP:
            self._at = min(self._at + length, len(self._item))
        elif control & DMA_WRITE:
            return DMA_ERROR
        return 0

    def _deliver(self, length: int, target: int) -> None:
        """Copies `length` bytes, zeroes behind the item's end."""
        while length:
            chunk = min(length, CHUNK_BYTES)
            self._memory.write(target, self._take(chunk).ljust(chunk, b"\0"))
            length -= chunk
            target += chunk


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content()


def _swapped(value: int) -> int:
    return int.from_bytes(value.to_bytes(4, "little"), "big")
