"""Saving a running machine: everything of it into one file, and back into a machine that is built anew.

The vCPUs stand still, the devices finish what they have begun and pause, then each writes down what it is in the middle of;
clocks, interrupt controllers and vCPUs come last, so that what they hold wins over what devices drive as they are restored.
Left out: what is outside the machine. Connections of a user network end, as when a laptop wakes elsewhere.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from innkeeper.bus import Pausable, Stateful
from innkeeper.config import MachineConfig
from innkeeper.devices.pci import PciFunction
from innkeeper.engine import Capability
from innkeeper.errors import HostError, InnkeeperError
from innkeeper.machine.builder import Assembly, Parts
from innkeeper.machine.frozen import Frozen
from innkeeper.machine.likeness import check_disks, check_same, describe, settle_disks
from innkeeper.machine.outcome import Outcome, OutcomeKind
from innkeeper.machine.state_file import SavedMachine, whole_file, write_end, write_start
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper import _core
    from innkeeper._core import CpuState

RAM = "ram"
CACHED_LIMIT = 64 << 20  # bytes of a file that shall not stay in the host's cache

logger = logging.getLogger(__name__)


def check_savable(config: MachineConfig, parts: Parts, assembly: Assembly) -> None:
    """Raises `HostError` that names what cannot be saved. Nothing has been touched then."""
    if Capability.SAVING not in parts.choice.engine.capabilities:
        name = parts.choice.engine.name
        raise HostError(f"cannot save a machine that engine {name} runs; bt and interp can be saved")
    if config.gdb is not None:
        raise HostError("cannot save a machine that gdb may have stopped; start it without --gdb")
    for name, device in assembly.board.devices_by_name().items():
        what = device.not_saved if isinstance(device, PciFunction) else None
        if what is not None or not isinstance(device, Stateful):
            raise HostError(f"cannot save a machine with {what or name}; start it without that")
    if assembly.board.pm.asleep:
        raise HostError("cannot save a machine whose guest sleeps; press its power button to wake it")


class GuestBusy(HostError):  # noqa: N818 - what it is
    """The guest is in the middle of something that only it can end; in a moment it will have."""


@dataclass(slots=True)
class Progress:
    """Bytes of memory."""

    total: int
    done: int = 0
    begun: float = field(default_factory=time.monotonic)
    aborted: bool = False
    """Somebody does not want it to be saved any more."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Where a machine is to be saved, and what becomes of it."""

    path: Path
    ends: bool = True
    then: Callable[[], None] | None = None
    """Called once the file is complete, while all stands still. If it fails the file is removed, and all was in vain."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What is said of it beside its description."""
    bypass_cache: bool = False
    """The file does not stay in the host's cache."""


class Save:
    """One request to save a machine. `wait` for it; the machine's supervisor does it."""

    def __init__(
        self,
        config: MachineConfig,
        parts: Parts,
        assembly: Assembly,
        wish: Wish,
        describe: Callable[[], Mapping[str, Any]],
        *,
        still: bool = False,
    ) -> None:
        """Of a machine that stands `still` already, and stays so. What `describe` says while it does is written beside it.

        Raises `HostError` if it cannot be saved, or nothing can be written there.
        """
        check_savable(config, parts, assembly)
        path = wish.path
        if not path.parent.is_dir():
            raise HostError(f"cannot save to {path}: there is no folder {path.parent}")
        self._config, self._parts, self._assembly = config, parts, assembly
        self._path, self._wish = path, wish
        self._describe = describe
        self._still = still
        self._result: Future[None] = Future()
        self.progress = Progress(sum(memory.size for memory in _memories(parts, assembly).values()))

    def wait(self) -> None:
        """Returns when the file is complete. Raises `InnkeeperError` if it is not; then the machine runs on."""
        error = self._result.exception()
        self._result = Future()
        try:
            if error is not None:
                raise error
        finally:
            del error  # it knows this frame, and so the whole machine, whose disks would stay locked for it

    def fail(self, why: str) -> None:
        self._result.set_exception(HostError(f"cannot save to {self._path}: {why}"))

    def carry_out(self, over: Callable[[], bool]) -> Outcome | None:
        """The vCPUs stand still. Gives how the machine ends, if it does; `over` says that it shall end in another way."""
        stood: list[Frozen] = []

        def write() -> None:
            pause(self._assembly)  # also what was plugged in while it stood still
            if not self._still:
                stood.append(Frozen(self._assembly))
            self._write(over)

        outcome = self._carry_out(write)
        if self._still:
            return outcome
        if outcome is None:
            for frozen in stood:
                frozen.thaw()
            go_on(self._assembly)
        return outcome

    def _carry_out(self, write: Callable[[], None]) -> Outcome | None:
        try:
            write()
        except BlockingIOError as error:
            self._result.set_exception(GuestBusy(f"cannot save to {self._path}: {error}; try again"))
        except OSError as error:
            self.fail(error.strerror or str(error))
        except InnkeeperError as error:
            self._result.set_exception(error)
        except Exception as error:
            logger.debug("saving fails", exc_info=True)
            self.fail(f"internal: {type(error).__name__}: {error}")
        else:
            logger.info("saved to %s", self._path)
            self._result.set_result(None)
            return Outcome(OutcomeKind.SAVED) if self._wish.ends else None
        return None

    def _write(self, over: Callable[[], bool]) -> None:
        self._write_file(over)
        if self._wish.then is None:
            return
        try:
            self._wish.then()
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise

    def _write_file(self, over: Callable[[], bool]) -> None:
        memories = _memories(self._parts, self._assembly)
        with whole_file(self._path) as file:
            settle_disks(self._parts)
            description = {**self._describe(), "paused": self._still, **self._wish.about}
            head = describe(self._config, self._parts, self._assembly) | {"description": description}
            write_start(file, head, {"memories": list(memories), **state_of(self._assembly)})
            before = 0
            for memory in memories.values():
                memory.save(file.fileno(), self._watch(file.fileno(), before, over))
                before += memory.size
                self.progress.done = before
            write_end(file)
            if self._wish.bypass_cache:
                file.flush()
                leave_cache(file.fileno())

    def _watch(self, descriptor: int, before: int, over: Callable[[], bool]) -> Callable[[int], None]:
        cached = 0

        def watch(done: int) -> None:
            nonlocal cached
            self.progress.done = before + done
            if self._wish.bypass_cache and done - cached >= CACHED_LIMIT:
                leave_cache(descriptor)
                cached = done
            if over():
                raise HostError(f"cannot save to {self._path}: the machine was ended meanwhile")
            if self.progress.aborted:
                raise HostError(f"the machine is not saved to {self._path}: that was aborted, and it goes on")

        return watch


def leave_cache(descriptor: int) -> None:
    """What was written of a file, or read, stays no longer in the host's memory."""
    os.fdatasync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass(frozen=True, slots=True)
class How:
    """How a saved machine is gone on with: its file is removed, somebody has put back what was on its disks, they are elsewhere
    now, the host's cache is left alone.
    """

    consume: bool = False
    vouched: bool = False
    relocated: bool = False
    bypass_cache: bool = False


def restore(saved: SavedMachine, config: MachineConfig, parts: Parts, assembly: Assembly, how: How) -> None:
    """Puts a saved machine into one that was just built, and removes its file if it is consumed by it.

    Raises `InnkeeperError`; it must not run then.
    """
    check_savable(config, parts, assembly)
    here = describe(config, parts, assembly)
    check_same(saved, here)
    if not how.vouched:
        check_disks(saved, here, relocated=how.relocated)
    pause(assembly)
    states = saved.devices()
    memories = _memories(parts, assembly)
    if states.pop("memories", None) != list(memories):
        raise saved.damaged("it has other memories")
    try:
        for name, memory in memories.items():
            where = name
            memory.restore(saved.descriptor)
        saved.end()
        if how.bypass_cache:
            leave_cache(saved.descriptor)
        where = "the state"
        put_state(assembly, states)
    except (ValueError, TypeError, OverflowError) as error:
        raise saved.damaged(f"{where}: {error}") from error
    except OSError as error:
        raise HostError(f"cannot read {saved.path}: {error.strerror or error}") from error
    parts.peripherals.backplane.asked_before(assembly.board.slots.asked())
    if how.consume:
        saved.remove()
    go_on(assembly)


def _memories(parts: Parts, assembly: Assembly) -> dict[str, _core.Memory | _core.Ram]:
    """All memory, by name: the machine's, and that of devices which have some."""
    found: dict[str, Any] = {RAM: parts.memory}
    for name, device in assembly.board.devices_by_name().items():
        memories = getattr(device, "memories", None)
        if memories is not None:
            found |= {f"{name} {which}": memory for which, memory in memories().items()}
    return cast("dict[str, _core.Memory | _core.Ram]", found)


# ---- what it is doing ------------------------------------------------------------------------------


def pause(assembly: Assembly) -> None:
    """Nothing moves any more, once the vCPUs stand still."""
    assembly.clock.hold()
    for device in assembly.board.devices_by_name().values():
        if isinstance(device, Pausable):
            device.pause()


def go_on(assembly: Assembly) -> None:
    for device in assembly.board.devices_by_name().values():
        if isinstance(device, Pausable):
            device.go_on()
    assembly.clock.release()


def state_of(assembly: Assembly) -> dict[str, Any]:
    """Of everything but memory."""
    devices = assembly.board.devices_by_name()
    processors = assembly.processors
    return {
        "devices": {name: device.state() for name, device in devices.items() if isinstance(device, Stateful)},
        "vcpus": [vcpu.get_state() for vcpu in processors.vcpus],
        "engine": processors.vm.state(),
    }


def put_state(assembly: Assembly, states: Mapping[str, Any]) -> None:
    """The same backwards. Raises `ValueError` that says what cannot be."""
    if states.keys() != {"devices", "vcpus", "engine"}:
        raise ValueError("it has other parts")
    saved, devices = states["devices"], assembly.board.devices_by_name()
    if not isinstance(saved, dict) or saved.keys() != devices.keys():
        raise ValueError("it is of other devices")
    for function in assembly.board.pci.functions().values():
        function.switch_off()  # so that none is in the way of another
    for name, device in devices.items():
        try:
            if isinstance(device, Stateful):
                device.restore(saved[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    vcpus = states["vcpus"] if isinstance(states["vcpus"], list) else []
    assembly.processors.vm.restore(states["engine"], [_cpu_state(state) for state in vcpus])


def _cpu_state(saved: object) -> CpuState:
    """A vCPU's state as JSON has it, whose lists the core wants to be tuples. Raises `ValueError`."""
    msrs = saved.get("msrs") if isinstance(saved, dict) else None
    if not isinstance(saved, dict) or not isinstance(msrs, list) or not all(isinstance(msr, list) for msr in msrs):
        raise ValueError("a vCPU's state is none")
    return cast("CpuState", saved | {"msrs": [tuple(msr) for msr in msrs]})
