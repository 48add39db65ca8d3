"""passt, where it is installed: a program of its own that translates addresses, spoken to by a private socket.

Spec: passt(1). It gives the guest the host's own address, and ends with the connection.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from innkeeper.config import ForwardConfig
from innkeeper.errors import HostError

PROGRAM = "passt"
PACKAGE = "passt"
PATIENCE_S = 10.0
UNPRIVILEGED = "nobody"


class Passt:
    """A running passt, and our end of the connection to it."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket, version: str) -> None:
        self._process = process
        self._connection = connection
        self.version = version

    def take_socket(self) -> int:
        """The descriptor, which is the caller's from now on."""
        return self._connection.detach()

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def find() -> str | None:
    return shutil.which(PROGRAM)


def start(forwards: tuple[ForwardConfig, ...]) -> Passt:
    """Raises `HostError`."""
    program = find()
    if program is None:
        raise HostError(f"{PROGRAM} is not installed; install the package {PACKAGE}, or use backend=builtin")
    with tempfile.TemporaryDirectory(prefix="innkeeper-passt-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, UNPRIVILEGED)  # passt becomes that user before it makes its socket
        path = Path(folder) / "socket"
        command = [program, "--foreground", "--one-off", "--quiet", "--socket", str(path), *ports(forwards)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            connection = connect(process, path)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stderr is not None:
                process.stderr.close()
    return Passt(process, connection, version(program))


def ports(forwards: tuple[ForwardConfig, ...]) -> list[str]:
    """The options that forward; without any, passt forwards nothing."""
    options = ["--tcp-ports", "none"] if not any(not it.udp for it in forwards) else []
    options += ["--udp-ports", "none"] if not any(it.udp for it in forwards) else []
    for it in forwards:
        options += ["--udp-ports" if it.udp else "--tcp-ports", f"{it.host}/{it.port}:{it.guest_port}"]
    return options


def connect(process: subprocess.Popen[bytes], path: Path) -> socket.socket:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            if process.poll() is not None:
                said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
                last = said.splitlines()[0] if said else f"status {process.returncode}"
                raise HostError(f"{PROGRAM} did not start: {last}; use backend=builtin instead") from error
            if time.monotonic() > deadline:
                raise HostError(f"{PROGRAM} did not answer within {PATIENCE_S:g} s; use backend=builtin") from error
            time.sleep(0.005)
        else:
            return connection


def version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    return said.stdout.splitlines()[0] if said.stdout else PROGRAM
