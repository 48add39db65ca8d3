"""Machines in which the interpreter checks what translated code does, or in which what is rare is frequent."""

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from innkeeper import Machine, MachineConfig, MemoryConsole, Outcome, _core
from innkeeper.config import EngineChoice

MEMORY_MIB = 512


@dataclass(frozen=True, slots=True)
class Way:
    """How translation is driven: `testing` is for `_core.Vm`."""

    name: str
    testing: Mapping[str, Any] = field(default_factory=dict)
    code_cache_mib: int = 64
    kicks: bool = False


def verify(first: int, every: int, *, chained: bool, **more: Any) -> dict[str, Any]:
    """Checks a block's first executions, and then one in so many; if chained, all that one leads to with it."""
    return {"verify": (first, every, chained), **more}


# About a minute in all: what every change is to stand.
SHORT = (
    Way("checked, exact flags", verify(2, 0, chained=False, exact_flags=True)),
    Way("checked, chained", verify(2, 200, chained=True)),
    Way("one TLB entry", {"one_tlb_entry": True}),
    Way("translations dropped every 2000 blocks", {"clear_every": 2000}),
    Way("a code cache of 1 MiB, kicks", code_cache_mib=1, kicks=True),
)
LONG = (
    Way("checked, exact flags", verify(20, 50, chained=False, exact_flags=True)),
    Way("checked", verify(20, 50, chained=False)),
    Way("all checked, chained", verify(1 << 31, 0, chained=True)),
    Way("all checked, chained, exact flags", verify(1 << 31, 0, chained=True, exact_flags=True)),
    Way("checked, chained, kicks", verify(2, 50, chained=True), kicks=True),
    Way("one TLB entry, checked", verify(2, 50, chained=True, one_tlb_entry=True)),
    Way("translations dropped every 100 blocks", {"clear_every": 100}),
    Way("translations dropped every 1000 blocks, checked", verify(1, 100, chained=True, clear_every=1000)),
    Way(
        "everything at once",
        verify(1, 50, chained=True, clear_every=1000, one_tlb_entry=True, exact_flags=True),
        code_cache_mib=1,
        kicks=True,
    ),
)


@contextmanager
def driven(way: Way) -> Iterator[None]:
    """Machines made meanwhile are driven this way."""
    original, made, over = _core.Vm, list[_core.Vm](), threading.Event()

    def make(*arguments: Any, **settings: Any) -> _core.Vm:
        vm = original(*arguments, **settings, testing=dict(way.testing))
        made.append(vm)
        return vm

    def kick() -> None:
        moment = random.Random(1)
        while not over.wait(moment.random() / 200):
            for vm in made:
                vm.vcpu(0).kick()

    kicker = threading.Thread(target=kick, daemon=True)
    _core.Vm = make  # type: ignore[assignment,misc]
    if way.kicks:
        kicker.start()
    try:
        yield
    finally:
        _core.Vm = original  # type: ignore[misc]
        over.set()
        if way.kicks:
            kicker.join()


def boot(way: Way, kernel: Path, initrd: Path, *, append: str, limit_s: float) -> tuple[Outcome, str]:
    """A boot to its end, and what the guest said. Raises `EngineError` with the whole difference if there is one."""
    config = MachineConfig(
        kernel=kernel,
        initrd=initrd,
        append=append,
        memory_mib=MEMORY_MIB,
        engine=EngineChoice.BT,
        code_cache_mib=way.code_cache_mib,
        timeout_s=limit_s,
        no_reboot=True,
    )
    console = MemoryConsole()
    with driven(way), Machine(config, console=console) as machine:
        machine.start()
        return machine.wait(), console.text
