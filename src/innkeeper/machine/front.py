"""How a running machine is reached: by name, by viewers, by its control socket."""

from __future__ import annotations

import base64
import logging
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from innkeeper.config import GraphicsConfig, GraphicsKind, MachineConfig
from innkeeper.display.keys import LARGEST_CODE, Stroke
from innkeeper.errors import HostError
from innkeeper.machine.control import BadRequest, Command, ControlServer
from innkeeper.machine.desk import Desk
from innkeeper.machine.names import Registration
from innkeeper.machine.upkeep import Renew, Upkeep
from innkeeper.machine.viewing import Viewing

if TYPE_CHECKING:
    from innkeeper.display.rfb import VncServer
    from innkeeper.display.terminal import TerminalScreen

STROKES_LIMIT = 100_000
PAUSE_MS_LIMIT = 10_000
DEFAULT_NAME = "innkeeper"

logger = logging.getLogger(__name__)


class Front:
    """Open from the moment it is made; `start` lets others in."""

    def __init__(
        self,
        config: MachineConfig,
        desk: Desk,
        buttons: Mapping[str, Callable[[], None]] | None = None,
        commands: Mapping[str, Command] | None = None,
        renewals: Sequence[Renew] = (),
        registration: Registration | None = None,
    ) -> None:
        """`buttons` are what can be done to the machine as a whole; `commands` what else the control socket takes;
        `renewals` make again what else it has among running machines. `registration` is of its name, if that is held for longer than it runs.

        Raises `InnkeeperError` if the name is taken or something cannot listen; then nothing is held.
        """
        self._config, self._desk = config, desk
        self._buttons, self._commands = dict(buttons or {}), dict(commands or {})
        self._viewers: list[VncServer] = []
        self._controls: list[ControlServer] = []
        self._renewals, self._registration = list(renewals), registration
        self._terminal: TerminalScreen | None = None
        with ExitStack() as name, ExitStack() as held:
            self._open(name, held)
            self._held, self._name = held.pop_all(), name.pop_all()

    def _open(self, name: ExitStack, held: ExitStack) -> None:
        commands: dict[str, Command] = {
            "info": self._info,
            "graphics": self._graphics,
            "screenshot": self._screenshot,
            "text": self._text,
            "strike": self._strike,
        }
        commands |= self._commands
        commands |= {name: self._press(button) for name, button in self._buttons.items()}
        paths = [self._config.control] if self._config.control is not None else []
        folder = None
        if self._config.name is not None:
            registration = self._registration
            if registration is None:
                registration = Registration(self._config.name)
                name.callback(registration.close)
            paths.append(registration.control)
            folder = registration.folder
            self._renewals.insert(0, registration.renew)
        viewing = Viewing(self._desk, self._config.name or DEFAULT_NAME, folder)
        held.callback(viewing.close)
        commands |= viewing.commands()
        for path in paths:
            self._controls.append(ControlServer(path, commands))
            held.callback(self._controls[-1].close)
            self._renewals.append(self._controls[-1].listen_again)
        self._upkeep = Upkeep(self._renewals)
        held.callback(self._upkeep.close)
        for graphics in self._config.graphics:
            if graphics.kind is GraphicsKind.VNC:
                self._viewers.append(self._server(graphics))
                held.callback(self._viewers[-1].close)
        if self._config.on_terminal and self._desk.screen is not None:
            from innkeeper.display.terminal import TerminalScreen

            self._terminal = TerminalScreen(self._desk.screen, self._desk, self._buttons.get("stop", self._desk.close))
            held.callback(self._terminal.close)

    def _server(self, graphics: GraphicsConfig) -> VncServer:
        from innkeeper.display.rfb import VncServer  # with all of asyncio, which a run without viewers can do without

        if self._desk.screen is None:
            raise HostError("the machine has no display for --graphics vnc to show")
        return VncServer(graphics, self._desk.screen, self._desk, name=self._config.name or DEFAULT_NAME)

    def start(self) -> None:
        for viewer in self._viewers:
            viewer.start()
            logger.info("VNC listens at %s", viewer.address)
        for control in self._controls:
            control.start()
        if self._config.name is not None:
            self._upkeep.start()
        if self._terminal is not None:
            self._terminal.start()

    def hang_up(self) -> None:
        """On everybody. The name is still the machine's."""
        self._desk.close()
        self._held.close()

    def close(self) -> None:
        """Once nothing else of the machine is left: whoever waits for its end starts it again."""
        self.hang_up()
        self._name.close()

    @staticmethod
    def _press(button: Callable[[], None]) -> Command:
        return lambda _asked: button()

    # ---- commands -------------------------------------------------------------------------------

    def _info(self, _asked: Mapping[str, Any]) -> object:
        addresses = [viewer.address for viewer in self._viewers]
        return {"name": self._config.name, "process": os.getpid(), "vnc": addresses}

    def _graphics(self, _asked: Mapping[str, Any]) -> object:
        """As `info`, with what it takes to be let in: whoever asks is this machine's user."""
        shown = [graphics for graphics in self._config.graphics if graphics.kind is GraphicsKind.VNC]
        return [
            {
                "type": "vnc",
                "address": viewer.address,
                "socket": graphics.socket is not None,
                "tls": graphics.tls is not None or graphics.anonymous_tls,
                "username": graphics.username,
                "password": graphics.password,
            }
            for graphics, viewer in zip(shown, self._viewers, strict=True)
        ]

    def _screenshot(self, _asked: Mapping[str, Any]) -> object:
        picture = self._desk.picture()
        packed = base64.b64encode(zlib.compress(picture.rgb, 1)).decode()
        return {"width": picture.width, "height": picture.height, "rgb": packed}

    def _text(self, _asked: Mapping[str, Any]) -> object:
        return self._desk.text()

    def _strike(self, asked: Mapping[str, Any]) -> object:
        strokes, pause_ms = asked.get("strokes"), asked.get("pause_ms", 0)
        if not isinstance(strokes, list) or len(strokes) > STROKES_LIMIT:
            raise BadRequest(f"strokes must be a list of at most {STROKES_LIMIT}")
        if not isinstance(pause_ms, int | float) or not 0 <= pause_ms <= PAUSE_MS_LIMIT:
            raise BadRequest(f"pause_ms must be a number from 0 to {PAUSE_MS_LIMIT}")
        self._desk.strike([_stroke(stroke) for stroke in strokes], pause_ms / 1000)
        return len(strokes)


def _stroke(value: object) -> Stroke:
    match value:
        case [int(code), bool(down)] if not isinstance(code, bool) and 1 <= code <= LARGEST_CODE:
            return code, down
    raise BadRequest(f"a stroke must be a key's code from 1 to {LARGEST_CODE}, and whether it goes down; got {value!r}")
