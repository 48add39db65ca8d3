"""How a machine's run ended."""

from enum import Enum

from innkeeper.records import dataclass

FLIGHT_BLOCKS = 32  # of a vCPU: as many as a reader looks at
FLIGHT_COLUMNS = 4


class OutcomeKind(Enum):
    """The value says it in words."""

    POWERED_OFF = "the guest powered off"
    RESET = "the guest asked for a reset"
    TRIPLE_FAULT = "the guest's processor shut down by a triple fault"
    HALTED = "the guest halted for good: every processor sleeps with interrupts off"
    EXITED = "the test guest ended with a status"
    TIMEOUT = "the time limit passed"
    STOPPED = "the run was stopped from outside"
    SAVED = "the machine was saved to a file"
    FAILED = "the machine itself failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is a test guest's exit status; `error` is what the machine itself failed with.

    `flight_record` is where the last blocks of each vCPU began, oldest first, before a triple fault under
    an engine that traces.
    """

    kind: OutcomeKind
    status: int | None = None
    error: BaseException | None = None
    flight_record: tuple[tuple[int, ...], ...] = ()

    def __str__(self) -> str:
        detail = self.error if self.error is not None else self.status
        return self.kind.value if detail is None else f"{self.kind.value}: {detail}"

    def in_full(self) -> str:
        """With the flight record, if there is one, on lines of its own.

        >>> print(Outcome(OutcomeKind.TRIPLE_FAULT, flight_record=((0x7C00, 0x7C1E),)).in_full())
        the guest's processor shut down by a triple fault
        last blocks of vCPU 0, oldest first:
          0000000000007c00 0000000000007c1e
        """
        lines = [str(self)]
        for vcpu, blocks in enumerate(self.flight_record):
            if blocks:
                last = [f"{rip:016x}" for rip in blocks[-FLIGHT_BLOCKS:]]
                rows = (last[row : row + FLIGHT_COLUMNS] for row in range(0, len(last), FLIGHT_COLUMNS))
                lines += [f"last blocks of vCPU {vcpu}, oldest first:", *(f"  {' '.join(row)}" for row in rows)]
        return "\n".join(lines)
