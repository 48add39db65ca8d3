"""Consoles that another program opens: a pseudo-terminal and a Unix socket."""

import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper.console.pty import PtyConsole
from innkeeper.console.unix import PEERS_LIMIT, UnixConsole
from innkeeper.errors import HostError


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def read_some(descriptor: int) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], 10)
    assert ready, "nothing came"
    return os.read(descriptor, 4096)


@pytest.fixture
def pty() -> Iterator[PtyConsole]:
    console = PtyConsole()
    yield console
    console.close()


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[UnixConsole]:
    console = UnixConsole(tmp_path / "console")
    yield console
    console.close()


def connect(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(10)
    peer.connect(str(path))
    return peer


def test_a_pty_carries_both_ways(pty: PtyConsole) -> None:
    received = bytearray()
    pty.start(received.extend, lambda: None)
    peer = os.open(pty.path, os.O_RDWR | os.O_NOCTTY)

    os.write(peer, b"typed")
    until(lambda: bytes(received) == b"typed")
    pty.write(b"said\n")

    assert read_some(peer) == b"said\n"
    os.close(peer)


def test_a_socket_that_was_removed_is_listened_at_again(unix: UnixConsole) -> None:
    received = bytearray()
    unix.start(received.extend, lambda: None)
    early = connect(unix.path)
    early.sendall(b"first")
    until(lambda: bytes(received) == b"first")  # it does not wait to be let in
    unix.listen_again()  # it is there
    unix.path.unlink()
    unix.listen_again()
    late = connect(unix.path)
    for peer, word in ((early, b"early"), (late, b"late")):
        peer.sendall(word)
        until(lambda word=word: bytes(received).endswith(word))  # type: ignore[misc]
        peer.close()
    unix.close()
    assert not unix.path.exists()


def test_a_pty_with_nobody_there_does_not_hold_the_guest(pty: PtyConsole) -> None:
    pty.start(lambda _: None, lambda: None)

    for _ in range(50):
        pty.write(bytes(8192))


def test_a_pty_can_be_opened_again(pty: PtyConsole) -> None:
    received = bytearray()
    pty.start(received.extend, lambda: None)
    for word in (b"first", b"second"):
        peer = os.open(pty.path, os.O_RDWR | os.O_NOCTTY)
        os.write(peer, word)
        until(lambda word=word: bytes(received).endswith(word))  # type: ignore[misc]
        os.close(peer)


def test_a_socket_carries_both_ways(unix: UnixConsole, tmp_path: Path) -> None:
    received = bytearray()
    unix.start(received.extend, lambda: None)
    with connect(tmp_path / "console") as peer:
        peer.sendall(b"typed")
        until(lambda: bytes(received) == b"typed")
        unix.write(b"said\n")

        assert peer.recv(100) == b"said\n"


def test_a_socket_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "console"
    console = UnixConsole(path)
    console.start(lambda _: None, lambda: None)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    console.close()
    assert not path.exists()


def test_all_peers_hear_and_may_type(unix: UnixConsole, tmp_path: Path) -> None:
    received = bytearray()
    unix.start(received.extend, lambda: None)
    with connect(tmp_path / "console") as first, connect(tmp_path / "console") as second:
        for word, peer in ((b"1", first), (b"2", second)):
            peer.sendall(word)
            until(lambda word=word: bytes(received).endswith(word))  # type: ignore[misc]
        unix.write(b"said")
        assert (read_some(first.fileno()), read_some(second.fileno())) == (b"said", b"said")
        first.close()
        second.sendall(b"3")
        until(lambda: bytes(received) == b"123")


def test_who_comes_later_hears_what_was_said_before(unix: UnixConsole, tmp_path: Path) -> None:
    unix.start(lambda _: None, lambda: None)
    unix.write(b"x" * 70_000 + b"\n" + b"y" * 70_000 + b"\nlogin: \x1b[6n")
    until(lambda: unix._said.content().endswith(b"login: "))
    with connect(tmp_path / "console") as first:
        until(lambda: first.recv(1 << 20, socket.MSG_PEEK).endswith(b"login: "))
        until(lambda: len(first.recv(1 << 20)) > 1 << 15)
        unix.write(b"root")
        assert read_some(first.fileno()) == b"root"


def test_one_process_holds_a_console_until_another_forces_it(unix: UnixConsole, tmp_path: Path) -> None:
    received = bytearray()
    unix.start(received.extend, lambda: None)
    unix.hold(os.getpid())
    with connect(tmp_path / "console") as peer:
        peer.sendall(b"1")
        until(lambda: bytes(received) == b"1")
        unix.hold(os.getpid())
        with pytest.raises(HostError, match=f"process {os.getpid()} is connected to the console already; --force"):
            unix.hold(1)
        unix.hold(1, force=True)
        assert peer.recv(100) == b""
    until(lambda: not unix._peers)
    unix.hold(os.getpid())  # process 1 never came


def test_peers_are_limited(unix: UnixConsole, tmp_path: Path) -> None:
    unix.start(lambda _: None, lambda: None)
    peers = [connect(tmp_path / "console") for _ in range(PEERS_LIMIT)]
    until(lambda: len(unix._peers) == PEERS_LIMIT)
    with connect(tmp_path / "console") as late:
        assert late.recv(1) == b""
    for peer in peers:
        peer.close()


def test_a_peer_that_does_not_read_cannot_hold_the_end(unix: UnixConsole, tmp_path: Path) -> None:
    received = bytearray()
    unix.start(received.extend, lambda: None)
    with connect(tmp_path / "console") as peer:
        peer.sendall(b"x")
        until(lambda: bool(received))
        guest = threading.Thread(target=lambda: list(map(unix.write, [bytes(65536)] * 64)))
        guest.start()
        started = time.monotonic()
        unix.close()
        guest.join(10)

        assert not guest.is_alive()
        assert time.monotonic() - started < 8


def test_a_killed_runs_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "console"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))

    UnixConsole(path).close()

    assert not path.exists()


@pytest.mark.usefixtures("unix")
def test_a_name_in_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="another program listens there"):
        UnixConsole(tmp_path / "console")


def test_a_file_in_the_way_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "console"
    path.write_text("precious")

    with pytest.raises(HostError, match="something else has that name"):
        UnixConsole(path)

    assert path.read_text() == "precious"


@pytest.mark.parametrize(("name", "message"), [("x" * 120, "too long"), ("absent/console", "No such file")])
def test_paths_that_cannot_be_sockets(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(HostError, match=message):
        UnixConsole(tmp_path / name)
