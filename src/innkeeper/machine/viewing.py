"""Screens for those who are on this host as this user: opened when somebody wants to look, whatever `--graphics` says.

The private one is a Unix socket beside the control socket; whoever can open it could do so with the machine's memory as well, so it
asks for no password. Viewers that know nothing but TCP get a port of the loopback interface, which other users of the host reach too:
it wants a password that is made up for it.
"""

from __future__ import annotations

import string
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innkeeper.config import GraphicsConfig
from innkeeper.config.graphics import VNC_PASSWORD_LIMIT
from innkeeper.errors import HostError
from innkeeper.machine.control import Command
from innkeeper.machine.desk import Desk

if TYPE_CHECKING:
    from innkeeper.display.rfb import VncServer

ALPHABET = string.ascii_letters + string.digits
SOCKET = "vnc"


class Viewing:
    """Nothing is open before the first one asks; then it stays until `close`."""

    def __init__(self, desk: Desk, name: str, folder: Path | None) -> None:
        """`folder` is where the private socket may be."""
        self._desk, self._name, self._folder = desk, name, folder
        self._servers: dict[str, tuple[VncServer, GraphicsConfig]] = {}
        self._lock = threading.Lock()

    def commands(self) -> dict[str, Command]:
        return {"view": self._view, "view-tcp": self._view_by_tcp}

    def close(self) -> None:
        with self._lock:
            for server, _ in self._servers.values():
                server.close()
            self._servers.clear()

    def _view(self, _asked: Mapping[str, Any]) -> object:
        if self._folder is None:
            raise HostError("a machine without a name shows its screen as --graphics says only; give it a --name")
        path = self._folder / SOCKET
        self._open(SOCKET, GraphicsConfig(socket=path))
        return {"path": str(path)}

    def _view_by_tcp(self, _asked: Mapping[str, Any]) -> object:
        import secrets  # with all of OpenSSL

        password = "".join(secrets.choice(ALPHABET) for _ in range(VNC_PASSWORD_LIMIT))
        server, config = self._open("tcp", GraphicsConfig(listen="127.0.0.1", password=password))
        host, _, port = server.address.rpartition(":")
        return {"host": host, "port": int(port), "password": config.password}

    def _open(self, which: str, config: GraphicsConfig) -> tuple[VncServer, GraphicsConfig]:
        from innkeeper.display.rfb import VncServer  # with all of asyncio

        if self._desk.screen is None:
            raise HostError("the machine has no screen; give it a graphics card: --video vga")
        with self._lock:
            if config.socket is not None and which in self._servers and not config.socket.exists():
                self._servers.pop(which)[0].close()  # somebody has removed the socket
            if which not in self._servers:
                server = VncServer(config, self._desk.screen, self._desk, name=self._name)
                server.start()
                self._servers[which] = server, config
            return self._servers[which]
