"""The manager's daemon: one for a user, or with `--system` for the host. Started by the first client, gone when nobody needs it.

Machines are processes of their own and do not end with it. A conversation is a thread; between conversations one thread waits for the next.
"""

import argparse
import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from innkeeper import __version__
from innkeeper.errors import ConfigError, HostError, InnkeeperError, refused
from innkeeper.folders import runtime_folder, state_folder
from innkeeper.manager.client import socket_of
from innkeeper.manager.wire import Channel, Descriptor, Hangup
from innkeeper.sockets import listen_unix, remove_unix

IDLE_S, FOR_EVER = 60.0, float("inf")
CLIENTS_LIMIT = 64
PATIENCE_S = 10.0  # for a daemon that leaves
LOOK_S = 0.01
CHECK_S = 2.0  # how soon a daemon notices that its socket is gone
SHOWN = 40  # characters around what is wrong
LOCK, LOG, BOOT = "manager.lock", "manager.log", "manager.boot"
LOG_LIMIT = 1 << 20  # bytes of a log that the next daemon goes on with
SYSTEM_FOLDERS = {"XDG_STATE_HOME": "/var/lib", "XDG_DATA_HOME": "/var/lib", "XDG_RUNTIME_DIR": "/run"}
GROUP = "innkeeper"

logger = logging.getLogger(__name__)


class RunsAlready(HostError):  # noqa: N818 - not a mistake
    """Another daemon serves."""


class Daemon:
    """Listens from the moment it is made."""

    def __init__(self, *, lock: int, system: bool, group: int | None, idle_s: float) -> None:
        """`lock` is what `prepare` has taken. Raises `HostError` if it cannot."""
        from innkeeper.manager.launcher import Nursery
        from innkeeper.manager.service import Manager

        self._system, self._idle_s = system, idle_s
        self._held, self._group = lock, group
        self._path = socket_of(system=system)
        self._listen()
        self._nursery = Nursery()
        self._manager = Manager(self._nursery)
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._nudge, self._nudged = socket.socketpair()
        self._beginning = threading.Thread(target=self._begin, name="autostart", daemon=True)

    def _listen(self) -> None:
        self._listener = listen_unix(self._path, "the manager")
        if self._group is not None:
            os.chown(self._path, 0, self._group)
            self._path.chmod(0o660)
        self._identity = self._path.stat().st_ino

    def serve(self) -> None:
        """Until nobody has needed it for a while, its socket has been taken away, or `leave`."""
        self._beginning.start()
        while self._wait():
            connection, _ = self._listener.accept()
            if not self._may_enter(connection):
                connection.close()
                continue
            with self._lock:
                welcome = len(self._clients) < CLIENTS_LIMIT
                if welcome:
                    self._clients.add(connection)
            if welcome:
                threading.Thread(target=self._converse, args=(connection,), name="client", daemon=True).start()
            else:
                turn_away(connection)

    def leave(self) -> None:
        """As soon as nobody is served. From any thread."""
        self._idle_s = 0
        self._nudge.send(b"!")

    def close(self) -> None:
        if self._still_ours():
            remove_unix(self._listener)
        self._nursery.close()

    # ---- waiting --------------------------------------------------------------------------------

    def _wait(self) -> bool:
        """Whether somebody has come."""
        since = time.monotonic()
        while True:
            with self._lock:
                busy = bool(self._clients) or self._beginning.is_alive()
            left_s = FOR_EVER if busy else self._idle_s - (time.monotonic() - since)
            ready, _, _ = select.select([self._listener, self._nudged], [], [], min(max(left_s, 0), CHECK_S))
            if self._listener in ready:
                return True
            if self._nudged in ready:
                self._nudged.recv(4096)  # somebody has left
                since = time.monotonic()
            if not self._path.exists() and still_there(self._held):
                self._listen()  # somebody has removed the socket
            if not self._still_ours() or (not ready and left_s <= 0):
                return False

    def _still_ours(self) -> bool:
        with contextlib.suppress(OSError):
            return self._path.stat().st_ino == self._identity
        return False

    def _begin(self) -> None:
        """Starts what is marked, once after the host's start."""
        seen, boot = state_folder() / BOOT, Path("/proc/sys/kernel/random/boot_id").read_text()
        if not seen.exists() or seen.read_text() != boot:
            seen.write_text(boot)
            try:
                for wrong in self._manager.networks.start_marked():  # before the machines that are on them
                    logger.warning("%s", wrong)
            except Exception:
                logger.exception("networks that are marked to start cannot be")
            self._manager.domains.start_marked()

    # ---- conversations --------------------------------------------------------------------------

    def _may_enter(self, connection: socket.socket) -> bool:
        """This user, root, and of the host's daemon those whom its socket's group lets in."""
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, _ = struct.unpack("3i", credentials)
        return self._system or uid in (os.geteuid(), 0)

    def _converse(self, connection: socket.socket) -> None:
        channel = Channel(connection)
        try:
            channel.send({"innkeeper": __version__})
            while True:
                self._answer(channel, channel.receive())
        except Hangup:
            pass  # they all do
        finally:
            channel.close()
            with self._lock:
                self._clients.discard(connection)
            self._nudge.send(b"!")

    def _answer(self, channel: Channel, asked: dict[str, Any]) -> None:
        name = str(asked.get("call"))
        try:
            if name == "leave":
                self.leave()
                channel.send({"result": None})
                return
            result = self._manager.call(name, list(asked.get("args", [])), dict(asked.get("kwargs", {})))
            if isinstance(result, Iterator):
                channel.send({"parts": True})
                result = send_parts(channel, result)
            if isinstance(result, Descriptor):
                with result:
                    channel.send({"descriptor": True}, result.fileno())
            else:
                channel.send({"result": result})
        except InnkeeperError as error:
            channel.send({"error": str(error), "kind": type(error).__name__})
        except Hangup:
            raise
        except UnicodeEncodeError as error:  # bytes of a command line
            what = error.object[max(0, error.start - SHOWN) : error.start + SHOWN]
            channel.send({"error": f"{what!r} is no text in UTF-8, as names are", "kind": ConfigError.__name__})
        except OSError as error:
            logger.exception("%s fails", name)
            channel.send({"error": str(refused(error)), "kind": HostError.__name__})
        except Exception as error:
            logger.exception("%s fails", name)
            channel.send({"error": f"internal: {type(error).__name__}: {error}; the manager's log says more"})


def turn_away(connection: socket.socket) -> None:
    """Somebody for whom there is no place, and who is told so."""
    why = f"the manager serves {CLIENTS_LIMIT} commands already; try again when one of them has ended"
    with Channel(connection) as channel, contextlib.suppress(Hangup):
        channel.send({"innkeeper": __version__, "refused": why})


def send_parts(channel: Channel, parts: Iterator[Any]) -> Any:
    """What the generator returns at its end. If the client leaves, the generator is closed, and so undone."""
    with contextlib.closing(parts) if hasattr(parts, "close") else contextlib.nullcontext():  # type: ignore[type-var]
        while True:
            try:
                item = next(parts)
            except StopIteration as end:
                return end.value
            channel.send({"item": item})


def group_named(name: str | None) -> int | None:
    """Raises `HostError` if there is no such group; nobody but root is let in if none is named and `innkeeper` does not exist."""
    import grp

    try:
        return grp.getgrnam(name or GROUP).gr_gid
    except KeyError:
        if name is None:
            return None
        raise HostError(f"there is no group {name!r} on this host; groupadd --system {name} makes it") from None


def prepare(*, system: bool) -> int:
    """Folders, log and the lock that there is one daemon; returns the lock. Raises `HostError` if there is one already."""
    os.umask(0o077)
    if system:
        if os.geteuid() != 0:
            raise HostError("the host's manager is root's; run it as root, or without --system for your own machines")
        os.environ.update(SYSTEM_FOLDERS)
    lock = os.open(runtime_folder() / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + PATIENCE_S
    while not locked(lock):
        if answers(socket_of(system=system)) or time.monotonic() > deadline:
            os.close(lock)
            raise RunsAlready("a manager runs already")
        time.sleep(LOOK_S)  # it is about to begin, or to leave
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def still_there(lock: int) -> bool:
    """Whether others who look for the lock find this one."""
    with contextlib.suppress(OSError):
        return (runtime_folder() / LOCK).stat().st_ino == os.fstat(lock).st_ino
    return False


def locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def open_log() -> None:
    path = state_folder() / LOG
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.unlink()
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 2)
    os.close(log)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr, force=True)


def run(*, system: bool, group: str | None, idle_s: float, ready: int | None) -> int:
    """Serves until it is not needed any more. Raises `HostError` if it cannot begin."""
    lock = prepare(system=system)
    try:
        if ready is not None:
            open_log()
        daemon = Daemon(lock=lock, system=system, group=group_named(group) if system else None, idle_s=idle_s)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        logger.info("the manager listens at %s", socket_of(system=system))
        if ready is not None:
            tell(ready, "ready")
        try:
            daemon.serve()
        finally:
            daemon.close()
    finally:
        os.close(lock)
    return 0


def tell(ready: int, word: str) -> None:
    with contextlib.suppress(OSError):  # whoever started us may have left
        os.write(ready, word.encode() + b"\n")
    os.close(ready)


def main() -> int:
    parser = argparse.ArgumentParser(prog="innkeeper.manager.daemon")
    parser.add_argument("--system", action="store_true")
    parser.add_argument("--ready", type=int, required=True)
    parser.add_argument("--idle", type=float, default=float(os.environ.get("INNKEEPER_IDLE_S", IDLE_S)))
    arguments = parser.parse_args()
    try:
        return run(system=arguments.system, group=None, idle_s=arguments.idle, ready=arguments.ready)
    except RunsAlready:
        return 0  # another client was quicker
    except InnkeeperError as error:
        tell(arguments.ready, str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
