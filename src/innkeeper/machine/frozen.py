"""Time that stands still with a machine, where the engine can: its guest finds that none has passed."""

from innkeeper.machine.builder import Assembly, without_time


class Frozen:
    """What the clocks of a machine said when it came to stand still."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._clock = assembly.processors.vm.state()["clock"]
        self._elapsed = assembly.board.pm.state()["elapsed_ns"]

    def thaw(self) -> None:
        """They go on from there. Interrupts that came meanwhile wait for the guest."""
        processors, pm = self._assembly.processors, self._assembly.board.pm
        pm.restore(pm.state() | {"elapsed_ns": self._elapsed})
        state = processors.vm.state() | {"clock": self._clock}
        processors.vm.restore(state, [without_time(vcpu.get_state()) for vcpu in processors.vcpus])
