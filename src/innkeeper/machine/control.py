"""The control socket of a running machine, and those who call it: `inn screenshot`, `inn send-key`, `inn type`.

A private Unix socket of this user's. One JSON object a line, in order, each answered by one:
`{"version": 1, "do": "strike", …}` by `{"version": 1, "ok": …}` or `{"version": 1, "error": "a sentence"}`.
Who asks to watch gets a line for each thing that happens from then on.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from innkeeper.errors import HostError, InnkeeperError, refused
from innkeeper.machine.happenings import Subscription
from innkeeper.sockets import UnixListener

VERSION = 1
LINE_LIMIT = 8 << 20
CALLERS_LIMIT = 16
ANSWER_S = 1.0
PATIENCE_S = 600.0  # for an answer: text is typed slowly

Command = Callable[[Mapping[str, Any]], object]

logger = logging.getLogger(__name__)


class ControlServer:
    """Listens from the moment it is made; answers once started. Each caller has a thread."""

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        """Raises `HostError` if it cannot listen there."""
        self._commands = commands
        self._listening = UnixListener(path, "the control socket")
        self.listen_again = self._listening.listen_again
        self._callers: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Hangs up on everybody. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._thread.is_alive():
            self._listening.socket.shutdown(socket.SHUT_RDWR)  # wakes who accepts
            self._thread.join()
        self._listening.close()
        with self._lock:
            callers = dict(self._callers)
        for caller in callers:
            with suppress(OSError):
                caller.shutdown(socket.SHUT_RD)
        for caller, thread in callers.items():
            thread.join(ANSWER_S)  # its last answer may be on its way
            with suppress(OSError):
                caller.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept(self) -> None:
        while True:
            listener = self._listening.socket
            try:
                caller, _ = listener.accept()
            except OSError:
                if listener is self._listening.socket:
                    return  # closed
                listener.close()  # there is another one
                continue
            with self._lock:
                welcome = not self._closed and len(self._callers) < CALLERS_LIMIT and is_ours(caller)
                if welcome:
                    thread = threading.Thread(target=self._converse, args=(caller,), name="control-caller", daemon=True)
                    self._callers[caller] = thread
            if welcome:
                thread.start()
            else:
                caller.close()

    def _converse(self, caller: socket.socket) -> None:
        try:
            with caller, caller.makefile("rb") as lines:
                while line := lines.readline(LINE_LIMIT + 1):
                    answer = {"version": VERSION} | self._answer(line)
                    feed = answer.get("ok")
                    if isinstance(feed, Subscription):
                        tell_on(caller, feed)
                        return
                    caller.sendall(json.dumps(answer).encode() + b"\n")
                    if len(line) > LINE_LIMIT:
                        return
        except OSError:
            pass  # it has hung up
        finally:
            with self._lock:
                del self._callers[caller]

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            asked = request_of(line)
            command = self._commands.get(asked["do"])
            if command is None:
                known = ", ".join(sorted(self._commands))
                return {"error": f"this machine cannot do {asked['do']!r}; it can do {known}"}
            return {"ok": command(asked)}
        except (InnkeeperError, BadRequest) as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": str(refused(error))}
        except Exception as error:
            logger.debug("a control command fails", exc_info=True)
            return {"error": f"internal: {type(error).__name__}: {error}"}


def tell_on(caller: socket.socket, feed: Subscription) -> None:
    """Until the caller leaves. Raises `OSError`."""
    with feed:
        caller.sendall(json.dumps({"version": VERSION, "ok": feed.state}).encode() + b"\n")
        while not select.select([caller], [], [], 0)[0]:
            for what in feed.take():
                caller.sendall(json.dumps({"version": VERSION, "event": what}).encode() + b"\n")
            select.select([caller.fileno(), feed.fileno()], [], [])


class BadRequest(Exception):  # noqa: N818 - what it is
    """A request that is none."""


def request_of(line: bytes) -> dict[str, Any]:
    """Raises `BadRequest` unless it is one of ours.

    >>> request_of(b'{"version": 1, "do": "info"}')["do"]
    'info'
    """
    if len(line) > LINE_LIMIT:
        raise BadRequest(f"the request is longer than {LINE_LIMIT} bytes")
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the request is no JSON: {error}") from error
    if not isinstance(asked, dict) or not isinstance(asked.get("do"), str):
        raise BadRequest("the request says not what to do")
    if asked.get("version") != VERSION:
        raise BadRequest(f"the request has version {asked.get('version')!r}; this machine speaks version {VERSION}")
    return asked


def is_ours(connection: socket.socket) -> bool:
    """Whether the peer belongs to this user. The socket's mode says so already; a descriptor may be passed on."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())


def ask(path: Path, do: str, *, patience_s: float = PATIENCE_S, **values: object) -> Any:
    """One request to a machine, and its answer. Raises `HostError` if there is no machine, or with its complaint."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(patience_s)
            connection.connect(os.fspath(path))
            connection.sendall(json.dumps({"version": VERSION, "do": do, **values}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except OSError as error:
        raise HostError(
            f"cannot reach a machine at {path}: {error.strerror or error}; inn destroy {path.parent.name} ends it all the same"
        ) from error
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise HostError(f"the machine at {path} has hung up without an answer") from error
    if "error" in answer:
        raise HostError(answer["error"])
    return answer["ok"]


def listens(path: Path) -> bool:
    """Whether there is a machine, if it cannot answer yet."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        try:
            connection.connect(os.fspath(path))
        except OSError:
            return False
    return True


def watch(path: Path) -> Iterator[dict[str, str]]:
    """First a machine's state, as `{"state": …}`, then what happens, until it hangs up. Raises `HostError` if there is no machine."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(PATIENCE_S)
            connection.connect(os.fspath(path))
            connection.sendall(json.dumps({"version": VERSION, "do": "watch"}).encode() + b"\n")
            connection.settimeout(None)
        except OSError as error:
            raise HostError(f"cannot reach a machine at {path}: {error.strerror or error}") from error
        with connection.makefile("rb") as lines, suppress(OSError, ValueError):
            for line in lines:
                message = json.loads(line)
                if "error" in message:
                    raise HostError(message["error"])
                yield message["event"] if "event" in message else {"state": message["ok"]}
