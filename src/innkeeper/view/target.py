"""The machine that is looked at, by way of the manager. All of this may wait; none of it is for an event loop's thread."""

from typing import Any, TypedDict

from innkeeper.display.keys import typing
from innkeeper.errors import ConfigError
from innkeeper.manager.client import connect
from innkeeper.manager.wire import Descriptor

SHUT_OFF = "shut off"
PATIENCE_S = 5.0
TYPING_PAUSE_MS = 15
CONSOLE_ADVICE = (
    "The guest does not use its serial port so far: give its kernel console=ttyS0, and run "
    "systemctl enable --now serial-getty@ttyS0 in it."
)


class ConsoleState(TypedDict):
    """Whether it can be shown, and what to tell those who see nothing on it."""

    reachable: bool
    advice: str | None


class State(TypedDict):
    """What the page is told of a machine."""

    name: str
    running: bool
    screen: bool
    console: ConsoleState


class Target:
    """A machine by its name; it may end and start again. Each question is a conversation with the manager of its own."""

    def __init__(self, name: str, *, system: bool = False) -> None:
        self.name, self._system = name, system

    def state(self) -> State:
        """Raises `HostError` if the machine runs and does not answer."""
        nothing = ConsoleState(reachable=False, advice=None)
        if not self.runs():
            return State(name=self.name, running=False, screen=False, console=nothing)
        line = self._ask("console", patience_s=PATIENCE_S)
        reachable = line["path"] is not None
        advice = None if line["listens"] else CONSOLE_ADVICE
        if not reachable:
            advice = (
                f"The serial console is {line['kind']} of its inn run; --console pty or unix:PATH there brings it here."
            )
        console = ConsoleState(reachable=reachable, advice=advice)
        return State(name=self.name, running=True, screen=line["screen"], console=console)

    def runs(self) -> bool:
        """False also for one that was not kept and has ended."""
        with connect(system=self._system) as manager:
            try:
                return manager.domains.state(self.name) != SHUT_OFF
            except ConfigError:
                return False

    def screen(self) -> Descriptor:
        """A socket that speaks RFB and asks for no password. Raises `HostError` if the machine has none."""
        with connect(system=self._system) as manager:
            return manager.domains.screen(self.name)

    def console(self) -> Descriptor:
        """A socket or a pseudo-terminal, beside those who hold it. Raises `HostError` if there is none."""
        with connect(system=self._system) as manager:
            return manager.domains.line(self.name)

    def type(self, text: str) -> None:
        """Raises `InnkeeperError` for what a US keyboard lacks."""
        self._ask("strike", strokes=typing(text), pause_ms=TYPING_PAUSE_MS)

    def place(self) -> Any:
        """A port of the loopback interface for viewers, as `innkeeper.view.viewers.Place`."""
        return self._ask("view-tcp", patience_s=PATIENCE_S)

    def _ask(self, do: str, **values: object) -> Any:
        with connect(system=self._system) as manager:
            return manager.domains.control(self.name, do, values)
