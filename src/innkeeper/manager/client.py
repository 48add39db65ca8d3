"""Reaching the manager: its daemon is found, or started, and called as if it were here.

`connect()` returns what looks like `innkeeper.manager.service.Manager`: its methods take the same arguments, return the same values,
and raise the same errors; those that yield as they go are generators here too. Imports little: each command waits for it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from innkeeper import __version__, errors
from innkeeper.errors import HostError
from innkeeper.folders import runtime_folder
from innkeeper.manager.wire import Channel, Hangup

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

SOCKET = "manager"
SYSTEM_SOCKET = Path("/run/innkeeper.sock")
TRIES = 5  # a daemon may be about to leave when it is reached


class ManagerUnavailable(HostError):  # noqa: N818 - what has happened
    """The daemon has ended in the middle of a conversation; the next call starts another."""


def socket_of(*, system: bool = False) -> Path:
    return SYSTEM_SOCKET if system else runtime_folder() / SOCKET


def connect(*, system: bool = False) -> Manager:
    """The manager of this user's machines, or of the host's. Raises `HostError` if it cannot be reached."""
    return cast("Manager", Remote(reach(system=system), system=system))


def reach(*, system: bool) -> Channel:
    """Says hello, after starting the daemon if nobody answers."""
    path = socket_of(system=system)
    for _ in range(TRIES):
        channel = greeted(path)
        if channel is not None:
            return channel
        start_daemon(system=system)
    raise HostError(f"the manager does not answer at {path}; its log says why")


def greeted(path: Path) -> Channel | None:
    """A conversation with a daemon of this version; one of another version is asked to leave."""
    connection = socket.socket(socket.AF_UNIX)
    channel = Channel(connection)
    try:
        connection.connect(os.fspath(path))
        greeting = channel.receive()
    except (FileNotFoundError, ConnectionRefusedError, Hangup):
        channel.close()
        return None
    except OSError as error:
        channel.close()
        raise HostError(f"cannot reach the manager at {path}: {error.strerror}") from error
    if greeting.get("innkeeper") != __version__:
        channel.send({"call": "leave", "args": [], "kwargs": {}})
        channel.receive()
        channel.close()
        return None
    if "refused" in greeting:
        channel.close()
        raise HostError(str(greeting["refused"]))
    return channel


def start_daemon(*, system: bool) -> None:
    """Returns when it listens, or when another one was quicker. Raises `HostError` if neither happens."""
    if system and os.geteuid() != 0:
        raise HostError("the host's manager does not run; as root, inn daemon --system starts it")
    import subprocess  # which takes its time, and is seldom needed

    ready, told = os.pipe()
    words = [sys.executable, "-m", "innkeeper.manager.daemon", "--ready", str(told)]
    with open(ready, "rb") as answers:  # noqa: PTH123 - a descriptor
        try:
            daemon = subprocess.Popen(
                words + ["--system"] * system,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[told],
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(told)
        daemon.returncode = 0  # nobody's child: it stays
        answer = answers.readline()
    if answer and answer != b"ready\n":
        raise HostError(answer.decode(errors="replace").strip())


class Remote:
    """The manager as its clients see it: whatever it is asked for is asked of the daemon.

    A conversation that was broken off (an exception in the middle of an answer, a generator that nobody finishes) is never gone on with: the
    daemon is told by the hang-up, and the next call begins a new one.
    """

    def __init__(self, channel: Channel, *, system: bool) -> None:
        self._channel: Channel | None = channel
        self._system = system

    def __getattr__(self, service: str) -> Service:
        return Service(self, service)

    def channel(self) -> Channel:
        """For a call. Raises `HostError` if the daemon cannot be reached."""
        if self._channel is None:
            self._channel = reach(system=self._system)
        return self._channel

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Service:
    """One of the manager's services: its attributes are calls."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote, self._name = remote, name

    def __getattr__(self, method: str) -> Call:
        return Call(self._remote, f"{self._name}.{method}")


class Call:
    """One method of a service."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote, self._name = remote, name

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """What the method returns there. Raises what it raises, and `ManagerUnavailable` if the daemon ends meanwhile."""
        with self._whole() as channel:
            channel.send({"call": self._name, "args": args, "kwargs": kwargs})
            answer = channel.receive()
        return self._parts() if "parts" in answer else self._result(answer)

    @contextmanager
    def _whole(self) -> Iterator[Channel]:
        """Hangs up unless what is said within is said to its end."""
        try:
            yield self._remote.channel()
        except Hangup as error:
            self._remote.close()
            raise ManagerUnavailable(
                f"the manager has ended meanwhile ({error}); inn list says what became of it"
            ) from error
        except BaseException:
            self._remote.close()
            raise

    def _result(self, answer: dict[str, Any]) -> Any:
        if "error" in answer:
            raise error_of(answer)
        return self._remote.channel().descriptor() if "descriptor" in answer else answer.get("result")

    def _parts(self) -> Generator[Any, None, Any]:
        with self._whole() as channel:
            while "item" in (answer := channel.receive()):
                yield answer["item"]
        return self._result(answer)


def error_of(answer: dict[str, Any]) -> errors.InnkeeperError:
    kind = getattr(errors, str(answer.get("kind")), HostError)
    if not (isinstance(kind, type) and issubclass(kind, errors.InnkeeperError)):
        kind = HostError
    return kind(str(answer["error"]))
