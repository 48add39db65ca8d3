"""`Machine`: start it, type at its console, wait for its end.

One thread supervises; each vCPU has a thread of its own that stays inside the engine.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from innkeeper import firmware
from innkeeper.config import MachineConfig
from innkeeper.console import Console, open_console
from innkeeper.console.unix import UnixConsole
from innkeeper.devices.virtio import Balloon
from innkeeper.engine import Choice, Engine, Vm
from innkeeper.firmware import KernelImage
from innkeeper.machine import statistics
from innkeeper.machine.builder import (
    Assembly,
    Outside,
    Parts,
    Processors,
    assemble,
    create_processors,
    prepare,
    wake,
    waking_vector,
)
from innkeeper.machine.checkpoint import Checkpointed
from innkeeper.machine.control import Command
from innkeeper.machine.debugging import make_gate, serve_gdb
from innkeeper.machine.desk import Shown
from innkeeper.machine.front import Front
from innkeeper.machine.happenings import Happenings
from innkeeper.machine.input import Ps2Input
from innkeeper.machine.outcome import Outcome, OutcomeKind
from innkeeper.machine.returning import Returning
from innkeeper.machine.run_loop import BoardRun, Sleep
from innkeeper.machine.serial import SerialLine
from innkeeper.machine.suspending import Suspendable
from innkeeper.machine.timeline import BUILT, ENDED, STARTED, ConsoleTap, Timeline
from innkeeper.platforms import KeptState

if TYPE_CHECKING:
    from innkeeper._core import TracedBlock
    from innkeeper.gdb import GdbServer

RESETS = (OutcomeKind.RESET, OutcomeKind.TRIPLE_FAULT)  # a processor that shut down gets reset on a PC

logger = logging.getLogger(__name__)


class Machine(Shown, Checkpointed, Suspendable, Returning):
    """A machine that can be run once. Leaving a `with` block stops it.

    `console` and `engine` take the place of those that `config` names: fakes in tests, and a
    `MemoryConsole` for a program that talks with its guest. It begins with power-on, or with what `restores` names;
    suspended, if `begins_suspended`.
    """

    def __init__(self, config: MachineConfig, *, console: Console | None = None, engine: Engine | None = None) -> None:
        self.config = config
        self._given_console = console
        self._given_engine = engine
        self._lock = threading.Lock()  # over what a reset replaces
        self._stop_asked, self._resets, self._sleeps = False, 0, 0
        self._ledger: dict[str, Any] = {}
        self._trace: list[TracedBlock] = []
        self._timeline = Timeline()
        self.happenings = Happenings()
        self._deadline: float | None = None
        self._choice: Choice | None = None
        self.balloon: Balloon | None = None  # once started, if the configuration has one
        self._parts: Parts | None = None  # while it runs
        self._console: Console | None = None
        self._tap: ConsoleTap | None = None
        self._assembly: Assembly | None = None
        self._typing = threading.Lock()  # taken before `_lock`; never by those who end the run
        self._typed_meanwhile = bytearray()  # while there is no board to take it
        self._gate = make_gate(config.gdb, reset=self.reset, kill=self.stop)
        self._run = BoardRun(self._gate)
        self._gdb: GdbServer | None = None
        self._front: Front | None = None
        self._outcome: Outcome | None = None
        self._supervisor: threading.Thread | None = None
        self._done = threading.Event()

    # ---- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Builds the board, loads the kernel and lets the guest run.

        Raises `InnkeeperError` if any of it cannot be; then nothing is left behind.
        """
        if self._choice is not None:
            raise RuntimeError("a machine runs once; make another one")
        self._timeline = Timeline()
        config = self.config
        if config.stats is not None:
            statistics.check_writable(config.stats)
        kernel = self._open_kernel()
        self._parts = prepare(config, kernel, self._given_engine, self._saved_layout())
        self._choice = self._parts.choice
        logger.info("engine %s", self._choice.why)
        try:
            self._console = self._given_console or open_console(config.serial)
            self._tap = ConsoleTap(self._console, self._timeline)
            self._desk = self._parts.peripherals.desk
            renewals = [self._console.listen_again] if isinstance(self._console, UnixConsole) else []
            buttons, commands = self._buttons(), self._commands(self._console)
            self._front = Front(config, self._desk, buttons, commands, renewals, self.registration)
            self._build(create_processors(self._parts), kernel, loads=True)
            self._gdb = serve_gdb(config.gdb, self._gate)
            self._console.start(self.write_console, self.stop)
            self.balloon = self._parts.peripherals.balloon
            for port in self._parts.peripherals.consoles:
                port.start(self.stop)
            self._front.start()
        except BaseException:
            self._let_go_of_parts()
            self._let_go_of_console()
            raise
        self._timeline.mark(BUILT)
        if config.timeout_s is not None:
            self._deadline = time.monotonic() + config.timeout_s
        atexit.register(self.close)
        self._supervisor = threading.Thread(target=self._supervise, name="innkeeper-machine", daemon=True)
        self._begin(self._supervisor)

    def wait(self, timeout_s: float | None = None) -> Outcome:
        """How the run ended. Raises `TimeoutError` if it has not within `timeout_s`."""
        if self._supervisor is None:
            raise RuntimeError("the machine was not started")
        if not self._done.wait(timeout_s):
            raise TimeoutError(f"the machine still runs after {timeout_s:g} s")
        assert self._outcome is not None  # noqa: S101 - set before `_done`
        return self._outcome

    def stop(self) -> None:
        """Pulls the plug; returns at once. From any thread, as often as you like."""
        with self._lock:
            self._stop_asked = True
            self._run.end(Outcome(OutcomeKind.STOPPED))

    def close(self) -> None:
        """Stops the machine if it runs, and waits until nothing of it is left."""
        atexit.unregister(self.close)
        if self._supervisor is not None:
            self.stop()
            self._supervisor.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- while it runs --------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._supervisor is not None and not self._done.is_set()

    @property
    def engine_choice(self) -> str:
        """One line: which engine runs the guest, and why."""
        return self._choice.why if self._choice is not None else "not started"

    def write_console(self, data: bytes) -> None:
        """Types at the serial console. Between two boards it waits in the line."""
        with self._typing:
            if self._assembly is not None:
                self._assembly.board.uart.receive(data)
            elif self.running:
                self._typed_meanwhile += data

    def press_power_button(self) -> None:
        """Asks the guest to shut down by itself."""
        with self._lock:
            assembly = self._assembly
        if assembly is not None:
            assembly.board.press_power_button()

    def statistics(self) -> dict[str, Any]:
        """The ledger so far; see `docs/reference/statistics.md`."""
        with self._lock:
            assembly, ledger = self._assembly, self._ledger
        if assembly is not None:
            ledger = statistics.merge((ledger, assembly.processors.vm.statistics()))
        return statistics.report(
            ledger,
            self._timeline.seconds(),
            engine=self._choice.engine.name if self._choice is not None else None,
            why=self.engine_choice,
            outcome=self._outcome.kind.name.lower() if self._outcome is not None else None,
            balloon=self.balloon.report() if self.balloon is not None else None,
            resets=self._resets,
            sleeps=self._sleeps,
        )

    def trace(self) -> list[TracedBlock]:
        """With `MachineConfig.trace`, and once the run has ended: what was executed since the last reset, by block."""
        return self._trace

    @property
    def gdb_port(self) -> int | None:
        """Where gdb is served on the loopback interface, if it is."""
        return self._gdb.port if self._gdb is not None else None

    def reset(self) -> None:
        """Presses the reset button."""
        with self._lock:
            self._run.reset()

    def _buttons(self) -> dict[str, Callable[[], None]]:
        """What the control socket can do to the machine as a whole."""
        return {"power-button": self.press_power_button, "reset": self.reset, "stop": self.stop}

    def _commands(self, console: Console) -> dict[str, Command]:
        """What else can be asked of it there."""
        line = SerialLine(self.config, console, lambda: self._assembly.board.uart if self._assembly else None)
        others = self.live.commands() | self.save_commands() | self.checkpoint_commands() | self.suspend_commands()
        return line.commands() | others | {"watch": lambda _asked: self.happenings.subscribe()}

    # ---- the supervisor -------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Whatever goes wrong, those who wait for the end are told."""
        self._outcome = self._run_boards_or_fail()
        self._tell_of_end()
        for step in (self._wind_up, self._write_statistics):
            try:
                step()
            except Exception as error:
                logger.debug("the supervisor fails", exc_info=True)
                if self._outcome.error is None:
                    self._outcome = Outcome(OutcomeKind.FAILED, error=error)
        self._done.set()

    def _run_boards_or_fail(self) -> Outcome:
        try:
            return self._run_boards()
        except Exception as error:
            logger.debug("the supervisor fails", exc_info=True)
            return Outcome(OutcomeKind.FAILED, error=error)

    def _wind_up(self) -> None:
        assert self._console is not None  # noqa: S101 - started
        self._let_go_of_parts()
        try:
            self._console.close()
        finally:
            self._timeline.mark(ENDED)

    def _write_statistics(self) -> None:
        if self.config.stats is not None:
            statistics.write(self.config.stats, self.statistics())

    def _run_boards(self) -> Outcome:
        """Runs board after board, until something other than a reset or a sleep ends one."""
        while True:
            assembly = self._assembly
            assert assembly is not None  # noqa: S101 - built in `start` or below
            vcpus = assembly.processors.vcpus
            request = self._run.run(vcpus, lambda: self._timeline.mark(STARTED), self._deadline, self._patience)
            if request is Sleep.SUSPEND:
                request = self._sleep()
            request = self._look_back(request, assembly.processors.vm)
            self._take_apart(for_good=request is not Sleep.WAKE)
            if not self._goes_on(request):
                assert isinstance(request, Outcome)  # noqa: S101 - the two kinds of sleep go on
                return request
            if self._stop_asked:
                return Outcome(OutcomeKind.STOPPED)
            if self._is_late():
                return Outcome(OutcomeKind.TIMEOUT)  # however fast a guest resets itself
            self._go_on(request, assembly)

    def _patience(self, request: Outcome | Sleep | None) -> Callable[[], None]:
        goes_on = request is None or self._goes_on(request)
        return self._let_go_if_over if goes_on else self._let_go_of_console

    def _sleep(self) -> Outcome | Sleep:
        """Until the guest is woken, which is a reset if it did not say where it wants to go on."""
        assert self._parts is not None  # noqa: S101 - while it runs
        logger.info("the guest sleeps")
        self.happenings.publish("pmsuspended", "the guest sleeps", state="pmsuspended")
        request = self._run.sleep(self._deadline)
        known = request is not Sleep.WAKE or self._parts.firmware is not None or waking_vector(self._parts)
        return request if known else Outcome(OutcomeKind.RESET)

    def _look_back(self, request: Outcome | Sleep, vm: Vm) -> Outcome | Sleep:
        """Keeps what an engine that traces has to tell, now that its vCPUs stand still."""
        self._trace = vm.trace()
        if request is Sleep.SUSPEND or request is Sleep.WAKE or request.kind is not OutcomeKind.TRIPLE_FAULT:
            return request
        flights = tuple(tuple(blocks) for blocks in vm.flight_record())
        return replace(request, flight_record=flights if any(flights) else ())

    def _goes_on(self, request: Outcome | Sleep) -> bool:
        return isinstance(request, Sleep) or (request.kind in RESETS and not self.config.no_reboot)

    def _go_on(self, request: Outcome | Sleep, before: Assembly) -> None:
        """The next board: with the same memory after a sleep, from the start after a reset."""
        assert self._parts is not None  # noqa: S101 - while it runs
        if request is Sleep.WAKE:
            logger.info("the guest wakes")
            self.happenings.publish("started", "the guest wakes")
            self._sleeps += 1
            wake(self._parts, before.processors)
            self._build(before.processors, None, before.board.kept_over_sleep())
        else:
            logger.info("%s", request.in_full() if isinstance(request, Outcome) else request)
            self._resets += 1
            self.happenings.publish("rebooted", str(request))
            kept, kernel = before.board.kept_over_reset(), self._open_kernel()  # again, not kept: it may be large
            self._build(create_processors(self._parts), kernel, kept, loads=True)

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _let_go_of_parts(self) -> None:
        """The guest's memory, and what its devices have on the host; its name at last."""
        with ExitStack() as last:
            if self._front is not None:
                last.callback(self._front.close)
                self._front.hang_up()
            self._let_go_of_devices()

    def _let_go_of_devices(self) -> None:
        if self._gate is not None:
            self._gate.end()
        if self._gdb is not None:
            self._gdb.close()
        self._take_apart()
        self.live.jobs.close()
        self._suspension = None  # it knows the board, and so the disks
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.close()

    def _let_go_of_console(self) -> None:
        """A vCPU may be waiting for a reader that does not read: that must not keep the run from ending."""
        if self._console is not None:
            self._console.close()

    def _let_go_if_over(self) -> None:
        if self._stop_asked or self._is_late():
            self._let_go_of_console()

    def _open_kernel(self) -> KernelImage | None:
        """What is started without firmware."""
        kernel = self.config.kernel if self.config.started_by is None else None
        return firmware.open_kernel(kernel) if kernel is not None else None

    def _build(
        self, processors: Processors, kernel: KernelImage | None, kept: KeptState | None = None, *, loads: bool = False
    ) -> None:
        """Builds a board that starts `kernel` or firmware, or unless it `loads` leaves memory and processors as they are."""
        assert self._parts is not None  # noqa: S101 - `start` has them
        assert self._tap is not None  # noqa: S101 - likewise
        run = BoardRun(self._gate, self._parts.peripherals.sockets)
        assembly = assemble(self.config, self._parts, processors, Outside(self._tap, run), kept)
        try:
            if loads:
                self._fill(kernel, self._parts, assembly)
        except BaseException:
            assembly.take_apart()
            raise
        if self._gate is not None:
            self._gate.attach(processors.vcpus, self._parts.memory)
        with self._typing, self._lock:
            self._run, self._assembly = run, assembly
            self._parts.peripherals.desk.plug(Ps2Input(assembly.board.i8042))
            assembly.board.uart.receive(bytes(self._typed_meanwhile))
            self._typed_meanwhile.clear()
            self._parts.peripherals.sockets.begin(run)
            if self._stop_asked:
                run.end(Outcome(OutcomeKind.STOPPED))

    def _take_apart(self, *, for_good: bool = True) -> None:
        """Ends a board, and with it its processors if `for_good`; their ledger stays."""
        with self._typing, self._lock:
            assembly, self._assembly = self._assembly, None
            if self._desk is not None:
                self._desk.plug(None)
            if assembly is not None and for_good:
                self._ledger = statistics.merge((self._ledger, assembly.processors.vm.statistics()))
        if assembly is not None:
            assembly.take_apart()
