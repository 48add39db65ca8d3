"""Parallel flash with Intel's command set: what UEFI keeps its variables in.

Spec: Intel StrataFlash (J3) datasheet 290667, "Command set": FF read array, 70 read status, 50 clear status, 90 read identifier,
10/40 program, E8 buffered program, 20 erase a block, D0 confirm. While it shows its array it is memory that guests read at
full speed, and only writes come here; in all other modes reads do too. Every operation is done at once. Left out: the CFI
query, block locking, suspending.
"""

from __future__ import annotations

from typing import Protocol

from innkeeper.bus import Buses, Fields, State
from innkeeper.bus.state import ANYTHING, BYTE, data, group, number, optional, sequence
from innkeeper.memory import Ram

READ_ARRAY, READ_ARRAY_AMD = 0xFF, 0xF0
READ_STATUS, CLEAR_STATUS, READ_ID = 0x70, 0x50, 0x90
PROGRAM, PROGRAM_ALTERNATE, BUFFERED, ERASE, CONFIRM = 0x40, 0x10, 0xE8, 0x20, 0xD0
# 7 ready │ 5 erase failed │ 4 program failed
READY, ERASE_FAILED, PROGRAM_FAILED = 0x80, 0x20, 0x10
MANUFACTURER, DEVICE = 0x89, 0x18
BLOCK_BYTES = 0x1000
BUFFER_BYTES = 0x800

STATE = Fields(
    status=BYTE,
    command=optional(BYTE),
    left=number(BUFFER_BYTES),
    buffer=sequence(group(number((1 << 32) - 1), data(most=8)), BUFFER_BYTES),
)
WHOLE = Fields(mode=BYTE, registers=ANYTHING)
MODES = (READ_ARRAY, READ_STATUS, READ_ID)
COMMANDS = (None, PROGRAM, BUFFERED, ERASE)


class Store(Protocol):
    """What keeps the bytes when the machine is gone."""

    content: bytearray

    def write(self, offset: int, data: bytes) -> None: ...
    def sync(self) -> None: ...


class Flash:
    """The chip, from power-on. Its region is as large as the store."""

    def __init__(self, buses: Buses, ram: Ram, store: Store, base: int) -> None:
        self._buses = buses
        self._ram = ram
        self._store = store
        self._base = base
        self._mode = READ_STATUS  # until it is shown below
        self._status = READY
        self._command: int | None = None  # begun, and waiting for more
        self._left = 0  # of a buffer
        self._buffer: list[tuple[int, bytes]] = []
        ram.write(0, bytes(store.content))
        buses.map_mmio(base, ram.size, self)
        self._enter(READ_ARRAY)

    def unplug(self) -> None:
        self._store.sync()
        if self._mode == READ_ARRAY:
            self._buses.unmap_ram(self._base)
        self._buses.unmap_mmio(self._base)

    def memories(self) -> dict[str, Ram]:
        return {"array": self._ram}

    def state(self) -> State:
        return {"mode": self._mode, "registers": STATE.of(self)}

    def restore(self, state: State, /) -> None:
        """The array has been restored already; what keeps it follows."""
        saved = WHOLE.check(state)
        registers = STATE.check(saved["registers"])
        beyond = any(offset + len(written) > self._ram.size for offset, written in registers["buffer"])
        if saved["mode"] not in MODES or registers["command"] not in COMMANDS or beyond:
            raise ValueError("it is of another kind of flash")
        STATE.put(self, saved["registers"])
        self._enter(saved["mode"])
        content = self._ram.read(0, self._ram.size)
        if content != self._store.content:
            self._store.write(0, content)
            self._store.sync()

    def read(self, offset: int, size: int, /) -> int:
        """Comes here while the array is not shown, or just after."""
        if self._mode == READ_ARRAY:
            return int.from_bytes(self._ram.read(offset, min(size, self._ram.size - offset)), "little")
        if self._mode == READ_ID:
            return (MANUFACTURER, DEVICE)[offset & 1] if offset & 0xFF < 2 else 0
        return int.from_bytes(bytes([self._status]) * size, "little")

    def write(self, offset: int, size: int, value: int, /) -> None:
        if self._command is None:
            self._begin(value & 0xFF)
        elif self._command == PROGRAM:
            self._command = None
            self._program(offset, value.to_bytes(size, "little"))
        elif self._command == ERASE:
            self._erase(offset, value & 0xFF)
        else:
            self._fill(offset, size, value)

    def _begin(self, command: int) -> None:
        if command in (READ_ARRAY, READ_ARRAY_AMD, CLEAR_STATUS):
            if command == CLEAR_STATUS:
                self._status = 0
            self._store.sync()
            self._enter(READ_ARRAY)
        elif command in (READ_STATUS, READ_ID):
            self._enter(command)
        elif command in (PROGRAM, PROGRAM_ALTERNATE, ERASE, BUFFERED):
            self._command = PROGRAM if command == PROGRAM_ALTERNATE else command
            self._left, self._buffer = 0, []
            if command == BUFFERED:
                self._status |= READY
            self._enter(READ_STATUS)

    def _enter(self, mode: int) -> None:
        if mode == READ_ARRAY and self._mode != READ_ARRAY:
            self._buses.map_ram(self._base, self._ram, read_only=True)
        elif mode != READ_ARRAY and self._mode == READ_ARRAY:
            self._buses.unmap_ram(self._base)
        self._mode = mode

    def _erase(self, offset: int, value: int) -> None:
        self._command = None
        if value == CONFIRM:
            block = offset - offset % BLOCK_BYTES
            self._put(block, b"\xff" * BLOCK_BYTES)
            self._status |= READY
        else:
            self._status |= READY | ERASE_FAILED | PROGRAM_FAILED  # a wrong sequence

    def _program(self, offset: int, data: bytes) -> None:
        """Clears bits; only erasing sets them."""
        length = min(len(data), self._ram.size - offset)
        before = self._ram.read(offset, length)
        self._put(offset, bytes(old & new for old, new in zip(before, data, strict=False)))
        self._status |= READY

    def _fill(self, offset: int, size: int, value: int) -> None:
        """The count less one, as many writes, then the confirmation."""
        if not self._left and not self._buffer:
            self._left = (value & 0xFFFF) + 1
            if self._left > BUFFER_BYTES:
                self._give_up()
        elif self._left:
            self._buffer.append((offset, value.to_bytes(size, "little")))
            self._left -= 1
        elif value & 0xFF == CONFIRM:
            self._command = None
            for at, data in self._buffer:
                self._program(at, data)
            self._buffer = []
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._command, self._left, self._buffer = None, 0, []
        self._status |= READY | PROGRAM_FAILED

    def _put(self, offset: int, data: bytes) -> None:
        self._ram.write(offset, data)
        self._store.write(offset, data)
