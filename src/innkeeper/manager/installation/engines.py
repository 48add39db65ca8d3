"""Whether the host can run a machine as it is asked to, said before anything is made."""

from innkeeper.config import EngineChoice, MachineConfig
from innkeeper.errors import EngineUnavailable


def check(machine: MachineConfig) -> None:
    """Raises `EngineUnavailable` if the host's KVM is asked for and cannot run the machine."""
    if machine.engine is not EngineChoice.KVM:
        return  # software runs everything
    from innkeeper.engine import choose  # with the extension
    from innkeeper.machine.builder import NEEDS

    try:
        engine = choose(machine.engine, frozenset()).engine
    except EngineUnavailable as error:
        raise EngineUnavailable(f"{error}; {ADVICE}") from error
    protocol = "linux" if machine.started_by is None else str(machine.started_by.kind)
    if missing := sorted(capability.value for capability in NEEDS[protocol] - engine.capabilities):
        raise EngineUnavailable(f"this host's KVM cannot run the machine: it lacks {', '.join(missing)}; {ADVICE}")


ADVICE = "--virt-type=auto takes the fastest engine that can"
