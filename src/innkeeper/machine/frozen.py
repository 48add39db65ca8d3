"""Time that stands still with a machine, where the engine can: its guest finds that none has passed."""

from innkeeper.machine.builder import Assembly


class Frozen:
    """What the clocks of a machine said when it came to stand still."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._clock = assembly.processors.vm.state()["clock"]
        self._elapsed = assembly.board.pm.state()["elapsed_ns"]

    def thaw(self) -> None:
        """They go on from there. Interrupts that came meanwhile, or come now, wait for the guest."""
        pm = self._assembly.board.pm
        pm.restore(pm.state() | {"elapsed_ns": self._elapsed})
        self._assembly.processors.vm.rewind(self._clock)
