"""Where gdb connects: private, taken over from a killed run, gone at the end."""

import socket
import stat
from pathlib import Path

import pytest

from innkeeper.errors import HostError
from innkeeper.gdb import GdbServer

from .test_stub import Still


def test_a_socket_is_private_answers_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "gdb"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()  # as a killed run leaves it
    server = GdbServer(Still(), path=path)
    server.start()
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as gdb:
            gdb.connect(str(path))
            gdb.sendall(b"$qC#b4")
            assert gdb.recv(100).startswith(b"+")
    finally:
        server.close()
    assert not path.exists()


def test_a_port_is_on_the_loopback_interface_and_not_had_twice() -> None:
    server = GdbServer(Still(), port=0)
    try:
        with pytest.raises(
            HostError, match=f"gdb cannot be served at 127.0.0.1 port {server.port}: address already in use"
        ):
            GdbServer(Still(), port=server.port)
    finally:
        server.close()
