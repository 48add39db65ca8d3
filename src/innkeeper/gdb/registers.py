"""The registers by gdb's names and in its order, and where a vCPU's state has them.

Spec: "Debugging with GDB", appendix G; Intel SDM vol. 1, 13.4 (the XSAVE area). Left out: AVX-512, MPX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper._core import CpuState

GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")
GENERAL_INDEX = {name: at for at, name in enumerate(("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"))} | {
    f"r{number}": number for number in range(8, 16)
}
SEGMENT_INDEX = {"es": 0, "cs": 1, "ss": 2, "ds": 3, "fs": 4, "gs": 5}
CONTROL = {"cr0": "cr0", "cr2": "cr2", "cr3": "cr3", "cr4": "cr4", "cr8": "cr8", "efer": "efer"}
KERNEL_GS_BASE = 0xC000_0102

XSAVE_FCW, XSAVE_FSW, XSAVE_FTW, XSAVE_FOP, XSAVE_FIP, XSAVE_FDP, XSAVE_MXCSR = 0, 2, 4, 6, 8, 16, 24
XSAVE_ST, XSAVE_XMM, XSAVE_HEADER, XSAVE_YMM = 32, 160, 512, 576


@dataclass(frozen=True, slots=True)
class Register:
    """One register: its width in bits, and gdb's type and feature."""

    name: str
    bits: int
    type: str
    feature: str

    @property
    def size(self) -> int:
        return self.bits // 8


def _registers() -> tuple[Register, ...]:
    core, sse, avx = "org.gnu.gdb.i386.core", "org.gnu.gdb.i386.sse", "org.gnu.gdb.i386.avx"
    segments, control = "org.gnu.gdb.i386.segments", "org.innkeeper.i386.control"
    pointers = {"rbp": "data_ptr", "rsp": "data_ptr"}
    made = [Register(name, 64, pointers.get(name, "int64"), core) for name in GENERAL]
    made += [Register(f"r{number}", 64, "int64", core) for number in range(8, 16)]
    made += [Register("rip", 64, "code_ptr", core), Register("eflags", 32, "i386_eflags", core)]
    made += [Register(name, 32, "int32", core) for name in ("cs", "ss", "ds", "es", "fs", "gs")]
    made += [Register(f"st{number}", 80, "i387_ext", core) for number in range(8)]
    made += [Register(name, 32, "int", core) for name in X87_CONTROL]
    made += [Register(f"xmm{number}", 128, "vec128", sse) for number in range(16)]
    made += [Register("mxcsr", 32, "int", sse)]
    made += [Register(name, 64, "int", segments) for name in ("fs_base", "gs_base")]
    made += [Register(f"ymm{number}h", 128, "uint128", avx) for number in range(16)]
    made += [Register(name, 64, "int", control) for name in ("k_gs_base", *CONTROL)]
    return tuple(made)


X87_CONTROL = ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")
REGISTERS = _registers()


def description() -> str:
    """The target description, as XML."""
    lines = ['<?xml version="1.0"?>', '<!DOCTYPE target SYSTEM "gdb-target.dtd">', "<target>"]
    lines.append("<architecture>i386:x86-64</architecture>")
    number = 0
    for feature in dict.fromkeys(register.feature for register in REGISTERS):
        lines.append(f'<feature name="{feature}">')
        lines += TYPES.get(feature, [])
        for register in REGISTERS:
            if register.feature == feature:
                where = f'name="{register.name}" bitsize="{register.bits}" type="{register.type}" regnum="{number}"'
                lines.append(f"<reg {where}/>")
                number += 1
        lines.append("</feature>")
    return "\n".join([*lines, "</target>", ""])


EFLAGS = {
    "CF": 0, "": 1, "PF": 2, "AF": 4, "ZF": 6, "SF": 7, "TF": 8, "IF": 9, "DF": 10, "OF": 11, "NT": 14, "RF": 16,
    "VM": 17, "AC": 18, "VIF": 19, "VIP": 20, "ID": 21,
}  # fmt: skip
VECTORS = (
    ("v4f", "ieee_single", 4),
    ("v2d", "ieee_double", 2),
    ("v16i8", "int8", 16),
    ("v8i16", "int16", 8),
    ("v4i32", "int32", 4),
    ("v2i64", "int64", 2),
)
TYPES = {
    "org.gnu.gdb.i386.core": [
        '<flags id="i386_eflags" size="4">',
        *(f'<field name="{name}" start="{bit}" end="{bit}"/>' for name, bit in EFLAGS.items()),
        "</flags>",
    ],
    "org.gnu.gdb.i386.sse": [
        *(f'<vector id="{name}" type="{type_}" count="{count}"/>' for name, type_, count in VECTORS),
        '<union id="vec128">',
        *(f'<field name="{name}" type="{name}"/>' for name, _, _ in VECTORS),
        '<field name="uint128" type="uint128"/>',
        "</union>",
    ],
}


def read(state: CpuState, register: Register) -> int:
    """Its value. A register that the vCPU does not have is 0."""
    name = register.name
    if name in GENERAL_INDEX:
        value = state["gpr"][GENERAL_INDEX[name]]
    elif name in SEGMENT_INDEX:
        value = state["segments"][SEGMENT_INDEX[name]]["selector"]
    elif name in ("fs_base", "gs_base"):
        value = state["segments"][SEGMENT_INDEX[name[:2]]]["base"]
    elif name == "rip":
        value = state["rip"]
    elif name == "eflags":
        value = state["rflags"] & 0xFFFF_FFFF
    elif name == "k_gs_base":
        value = dict(state["msrs"]).get(KERNEL_GS_BASE, 0)
    elif name in CONTROL:
        value = int(state[CONTROL[name]])  # type: ignore[literal-required]
    else:
        value = _read_xsave(state["xsave"], register)
    return value


def _xsave_place(register: Register) -> tuple[int, int] | None:
    """Offset and size in the XSAVE area."""
    name = register.name
    if name.startswith("st"):
        return XSAVE_ST + 16 * int(name[2:]), 10
    if name.startswith("xmm"):
        return XSAVE_XMM + 16 * int(name[3:]), 16
    if name.startswith("ymm"):
        return XSAVE_YMM + 16 * int(name[3:-1]), 16
    places = {"fctrl": (XSAVE_FCW, 2), "fstat": (XSAVE_FSW, 2), "fop": (XSAVE_FOP, 2), "mxcsr": (XSAVE_MXCSR, 4)}
    places |= {
        "fioff": (XSAVE_FIP, 4),
        "fiseg": (XSAVE_FIP + 4, 2),
        "fooff": (XSAVE_FDP, 4),
        "foseg": (XSAVE_FDP + 4, 2),
    }
    return places.get(name)


def _read_xsave(xsave: bytes, register: Register) -> int:
    if register.name == "ftag":
        return _full_tags(xsave)
    place = _xsave_place(register)
    if place is None or sum(place) > len(xsave):
        return 0
    if register.name.startswith("ymm") and not xsave[XSAVE_HEADER] & 4:
        return 0  # in its initial state, the area holds nothing
    return int.from_bytes(xsave[place[0] : sum(place)], "little")


def _full_tags(xsave: bytes) -> int:
    """The tag word of FNSAVE from the abridged one: empty, or what the number is."""
    top, tags = int.from_bytes(xsave[XSAVE_FSW : XSAVE_FSW + 2], "little") >> 11 & 7, 0
    for physical in range(8):
        at = XSAVE_ST + 16 * ((physical - top) % 8)
        fraction, exponent = (
            int.from_bytes(xsave[at : at + 8], "little"),
            int.from_bytes(xsave[at + 8 : at + 10], "little"),
        )
        exponent &= 0x7FFF
        if not xsave[XSAVE_FTW] >> physical & 1:
            tag = 3
        elif exponent == 0x7FFF or (exponent and not fraction >> 63) or (not exponent and fraction):
            tag = 2
        else:
            tag = 0 if exponent else 1
        tags |= tag << 2 * physical
    return tags


def write(state: CpuState, register: Register, value: int) -> bool:
    """Changes the state; False for a register that cannot be changed from outside."""
    name = register.name
    if name in GENERAL_INDEX:
        state["gpr"][GENERAL_INDEX[name]] = value
    elif name in ("fs_base", "gs_base"):
        state["segments"][SEGMENT_INDEX[name[:2]]]["base"] = value
    elif name == "rip":
        state["rip"] = value
    elif name == "eflags":
        state["rflags"] = value | 2
    elif name == "k_gs_base":
        state["msrs"] = [(index, value if index == KERNEL_GS_BASE else old) for index, old in state["msrs"]]
    elif name in CONTROL:
        state[CONTROL[name]] = value  # type: ignore[literal-required]
    elif (place := _xsave_place(register)) is not None and sum(place) <= len(state["xsave"]):
        area = bytearray(state["xsave"])
        area[place[0] : sum(place)] = value.to_bytes(16, "little")[: place[1]]
        area[XSAVE_HEADER] |= 4 if name.startswith("ymm") else 3
        state["xsave"] = bytes(area)
    else:
        return False  # selectors: a segment is more than its selector
    return True
