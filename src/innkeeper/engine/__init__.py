"""What runs a guest's instructions: one contract, several engines."""

from innkeeper.engine.base import Capability, Engine, Vcpu, Vm
from innkeeper.engine.choose import Choice, Host, bt_unavailable, choose, kvm_probe
from innkeeper.engine.exits import Debug, Exit, Halt, InternalError, Kicked, Shutdown
from innkeeper.engine.soft import Translation

__all__ = [
    "Capability",
    "Choice",
    "Debug",
    "Engine",
    "Exit",
    "Halt",
    "Host",
    "InternalError",
    "Kicked",
    "Shutdown",
    "Translation",
    "Vcpu",
    "Vm",
    "bt_unavailable",
    "choose",
    "kvm_probe",
]
