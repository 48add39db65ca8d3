"""VM exits that the machine must decide. Port and MMIO accesses are not among them: the engine calls
the device and goes on.
"""

from innkeeper.records import dataclass


@dataclass(frozen=True, slots=True)
class Halt:
    """Every vCPU is halted and nothing can wake one of them."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Triple fault: the processor has shut down (Intel SDM vol. 3, 6.15)."""


@dataclass(frozen=True, slots=True)
class Kicked:
    """`kick` was called."""


@dataclass(frozen=True, slots=True)
class Debug:
    """What a debugger waits for: "breakpoint", "step", or "read" or "write" and the address watched."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class InternalError:
    """The engine met something that it cannot do. Never a guest's mistake."""

    detail: str


Exit = Halt | Shutdown | Kicked | Debug | InternalError

_PLAIN: dict[str, Exit] = {"halt": Halt(), "shutdown": Shutdown(), "kicked": Kicked()}


def from_core(kind: str, detail: str) -> Exit:
    """The core's (kind, detail) as an exit.

    >>> from_core("internal-error", "no such thing")
    InternalError(detail='no such thing')
    """
    if kind == "debug":
        return Debug(detail)
    return _PLAIN.get(kind) or InternalError(detail if kind == "internal-error" else f"unknown exit {kind}: {detail}")
