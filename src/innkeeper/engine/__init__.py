"""What runs a guest's instructions: one contract, several engines."""

from innkeeper.engine.base import Capability, Engine, Vcpu, Vm
from innkeeper.engine.choose import Choice, choose, kvm_probe
from innkeeper.engine.exits import Debug, Exit, Halt, InternalError, Kicked, Shutdown

__all__ = [
    "Capability",
    "Choice",
    "Debug",
    "Engine",
    "Exit",
    "Halt",
    "InternalError",
    "Kicked",
    "Shutdown",
    "Vcpu",
    "Vm",
    "choose",
    "kvm_probe",
]
