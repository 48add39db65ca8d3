"""`monitor …`: what gdb passes on in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innkeeper.gdb.target import Target

if TYPE_CHECKING:
    from innkeeper._core import CpuState

HELP = """\
monitor help               this
monitor info registers     the state that gdb's own registers leave out
monitor info vcpus         what each vCPU does
monitor system_reset       reset the machine, as its button does
"""


def answer(target: Target, vcpu: int, words: str) -> str:
    match words.split():
        case ["help"] | []:
            return HELP
        case ["info", "registers"]:
            return registers(target.state(vcpu))
        case ["info", "vcpus"]:
            states = [target.state(index) for index in range(target.vcpus())]
            return "".join(
                f"vCPU {at}: rip {state['rip']:#x}, {state['activity']}\n" for at, state in enumerate(states)
            )
        case ["system_reset"] | ["reset"]:
            target.reset()
            return "the machine is reset when it goes on\n"
        case _:
            return f"no such command: {words.strip()!r}\n{HELP}"


def registers(state: CpuState) -> str:
    values = {key: value for key, value in state.items() if isinstance(value, int)}
    lines = [f"{name} {values[name]:#018x}" for name in ("cr0", "cr2", "cr3", "cr4", "cr8", "efer", "xcr0", "rflags")]
    for name, segment in zip(("es", "cs", "ss", "ds", "fs", "gs"), state["segments"], strict=True):
        words = f"base {segment['base']:#x} limit {segment['limit']:#x} attributes {segment['attributes']:#x}"
        lines.append(f"{name} {segment['selector']:#06x} {words}")
    for name, table in (("gdtr", state["gdtr"]), ("idtr", state["idtr"])):
        lines.append(f"{name} base {table['base']:#x} limit {table['limit']:#x}")
    lines += [f"dr{number} {value:#x}" for number, value in enumerate(state["dr"]) if number not in (4, 5)]
    return "\n".join(lines) + "\n"
