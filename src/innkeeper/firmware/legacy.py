"""What a PC's BIOS leaves behind for a kernel that a boot loader starts: interrupt vectors that do
nothing, the BIOS data area, and initialised interrupt controllers with the timer ticking.

Spec: Ralf Brown's lists (INTERRUP.LST, MEMORY.LST); Intel 8259A and 8254 datasheets; Intel
MultiProcessor Specification 1.4, 3.6.2.2 (virtual wire mode). Left out: the BIOS's services.

The chips belong to the engine, so the guest's own processor sets them up: the prelude runs before the
kernel's first instruction.
"""

import struct

from innkeeper.memory import GuestMemory

CODE_SEGMENT, CODE_OFFSET = 0xF000, 0xF000  # behind the ACPI tables
CODE = (CODE_SEGMENT << 4) + CODE_OFFSET
PRELUDE = CODE + 0x100

MASTER_BASE, SLAVE_BASE = 0x08, 0x70
PIC_VECTORS = 8

IGNORE = b"\xcf"  # iret
# push ax; push ds; xor ax, ax; mov ds, ax; inc dword [046C]; pop ds; mov al, 20; out 20, al; pop ax; iret
TICK = bytes.fromhex("50 1e 31c0 8ed8 66ff066c04 1f b020 e620 58 cf")
END_MASTER = bytes.fromhex("50 b020 e620 58 cf")  # push ax; mov al, 20; out 20, al; pop ax; iret
END_SLAVE = bytes.fromhex("50 b020 e6a0 e620 58 cf")  # likewise for both

PORT_WRITES = (
    (0x20, 0x11),  # ICW1: edge-triggered, cascaded, ICW4 follows
    (0xA0, 0x11),
    (0x21, MASTER_BASE),
    (0xA1, SLAVE_BASE),
    (0x21, 0x04),  # the slave is at IR2
    (0xA1, 0x02),
    (0x21, 0x01),  # ICW4: 8086 mode
    (0xA1, 0x01),
    (0x21, 0xFA),  # all masked but the timer and the cascade
    (0xA1, 0xFF),
    (0x43, 0x36),  # counter 0, both bytes, square wave
    (0x40, 0x00),  # 65536 ticks: 18.2 Hz
    (0x40, 0x00),
)
LOCAL_APIC_WRITES = (
    (0xFEE0_00F0, 0x1FF),  # on; spurious vector FF
    (0xFEE0_0350, 0x8700),  # LINT0: whatever the 8259s say
    (0xFEE0_0360, 0x8400),  # LINT1: NMI
)

# Offsets in the BIOS data area.
BDA = 0x400
BDA_EBDA_SEGMENT, BDA_EQUIPMENT, BDA_MEMORY_KIB = 0x0E, 0x10, 0x13
EQUIPMENT_FPU = 1 << 1


def write_bios_state(memory: GuestMemory, extended_bios_data: int) -> None:
    """Puts vectors, their handlers and the BIOS data area into memory."""
    handlers, places = b"", []
    for handler in (IGNORE, TICK, END_MASTER, END_SLAVE):
        places.append(CODE_SEGMENT << 16 | CODE_OFFSET + len(handlers))
        handlers += handler
    ignore, tick, end_master, end_slave = places
    vectors = [ignore] * 256
    vectors[MASTER_BASE : MASTER_BASE + PIC_VECTORS] = [tick] + [end_master] * (PIC_VECTORS - 1)
    vectors[SLAVE_BASE : SLAVE_BASE + PIC_VECTORS] = [end_slave] * PIC_VECTORS
    memory.write(CODE, handlers)
    memory.write(0, struct.pack("<256I", *vectors))
    area = bytearray(0x100)
    struct.pack_into("<H", area, BDA_EBDA_SEGMENT, extended_bios_data >> 4)
    struct.pack_into("<H", area, BDA_EQUIPMENT, EQUIPMENT_FPU)
    struct.pack_into("<H", area, BDA_MEMORY_KIB, extended_bios_data >> 10)
    memory.write(BDA, bytes(area))
    memory.write(extended_bios_data, b"\x01")  # its own size in KiB


def write_prelude(memory: GuestMemory, entry: int, eax: int) -> int:
    """32-bit code that sets up the chips, loads EAX and jumps to `entry`; returns where it is.

    It changes AL on the way and leaves ECX with the entry point.
    """
    code = b"".join(b"\xb0" + bytes((value,)) + b"\xe6" + bytes((port,)) for port, value in PORT_WRITES)
    for address, value in LOCAL_APIC_WRITES:
        code += b"\xc7\x05" + struct.pack("<II", address, value)  # mov dword [address], value
    code += b"\xb8" + struct.pack("<I", eax)
    code += b"\xb9" + struct.pack("<I", entry) + b"\xff\xe1"  # mov ecx, entry; jmp ecx
    memory.write(PRELUDE, code)
    return PRELUDE
