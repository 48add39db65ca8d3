"""Public fakes: whole boards and devices under test without an engine, a host clock or a thread."""

from innkeeper.testing.engine import ScriptedEngine, ScriptedVcpu, ScriptedVm
from innkeeper.testing.wires import FakeClock, FakeIrqLine

__all__ = ["FakeClock", "FakeIrqLine", "ScriptedEngine", "ScriptedVcpu", "ScriptedVm"]
