"""Starting machines' processes: by the nursery, which is kept ready as long as the daemon runs."""

import json
import socket
import subprocess
import sys
import threading
from typing import Any, Protocol

from innkeeper import errors
from innkeeper.errors import HostError
from innkeeper.manager.host_files import log_of

LOG_LIMIT = 1 << 20  # bytes of a log that the next start goes on with


class Launcher(Protocol):
    """What starts machines' processes: the nursery, or a fake."""

    def launch(self, name: str, order: dict[str, Any]) -> int:
        """Returns the number of the process once the guest runs. Raises `InnkeeperError` with the reason if it cannot."""
        ...


class Nursery:
    """Started when it is made, and again if it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process, self._orders = spawn()

    def launch(self, name: str, order: dict[str, Any]) -> int:
        log = log_of(name)
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.unlink()
        ours, theirs = socket.socketpair()
        with ours:
            try:
                with log.open("ab") as said, theirs:
                    self._hand([theirs.fileno(), said.fileno()])
            except OSError as error:
                raise HostError(f"cannot start a process for {name}: {error.strerror}") from error
            return converse(ours, name, order)

    def close(self) -> None:
        self._orders.close()
        self._process.kill()  # it holds nothing; its forks are not its children
        self._process.wait()

    def _hand(self, descriptors: list[int]) -> None:
        with self._lock:
            try:
                socket.send_fds(self._orders, [b"!"], descriptors)
            except OSError:  # it was killed
                self.close()
                self._process, self._orders = spawn()
                socket.send_fds(self._orders, [b"!"], descriptors)


def spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        words = [sys.executable, "-m", "innkeeper.manager.nursery"]
        process = subprocess.Popen(words, stdin=theirs.fileno(), cwd="/", start_new_session=True)
    return process, ours


def converse(connection: socket.socket, name: str, order: dict[str, Any]) -> int:
    try:
        connection.sendall(json.dumps(order).encode() + b"\n")
        with connection.makefile("rb") as lines:
            line = lines.readline()
    except OSError:
        line = b""
    if not line:
        raise HostError(f"the process of {name} has ended by itself; {log_of(name)} says why")
    answer = json.loads(line)
    if "error" in answer:
        kind = getattr(errors, answer.get("kind", ""), HostError)
        raise kind(answer["error"])
    return int(answer["process"])
