"""How a machine's run ended."""

from dataclasses import dataclass
from enum import Enum


class OutcomeKind(Enum):
    """The value says it in words."""

    POWERED_OFF = "the guest powered off"
    RESET = "the guest asked for a reset"
    TRIPLE_FAULT = "the guest's processor shut down by a triple fault"
    HALTED = "the guest halted for good: every processor sleeps with interrupts off"
    EXITED = "the test guest ended with a status"
    TIMEOUT = "the time limit passed"
    STOPPED = "the run was stopped from outside"
    FAILED = "the machine itself failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is a test guest's exit status; `error` is what the machine itself failed with."""

    kind: OutcomeKind
    status: int | None = None
    error: BaseException | None = None

    def __str__(self) -> str:
        detail = self.error if self.error is not None else self.status
        return self.kind.value if detail is None else f"{self.kind.value}: {detail}"
