"""The manager's daemon, seen by its clients."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.errors import BootError, ConfigError, HostError
from innkeeper.manager import client, connect
from innkeeper.manager.daemon import BOOT, CLIENTS_LIMIT, LOG
from innkeeper.manager.events import Event
from innkeeper.manager.service import Manager
from innkeeper.manager.wire import Channel
from innkeeper.testing.guests import POWER_OFF, SPIN, flat_guest

XML = "<domain type='bt'><name>{}</name><memory unit='MiB'>64</memory><os><type>hvm</type><kernel>{}</kernel></os></domain>"


@pytest.fixture
def manager(user: Path) -> Iterator[Manager]:
    assert user.exists()
    with connect() as manager:
        yield manager


@pytest.fixture
def events(manager: Manager) -> Iterator[Iterator[Event | None]]:
    """What happens from now on."""
    assert manager.domains.all() == []
    with connect() as watcher:
        events = watcher.events.watch()
        assert next(events) is None
        yield events


@pytest.fixture
def endless(user: Path) -> Path:
    """A guest that does nothing, for ever."""
    path = user / "guest"
    path.write_bytes(flat_guest(SPIN))
    return path


def daemon_process(user: Path) -> int:
    return int((user / "run/innkeeper/manager.lock").read_text())


def test_a_machine_is_started_once_seen_and_ended(
    manager: Manager, events: Iterator[Event | None], endless: Path
) -> None:
    manager.domains.define(XML.format("web", endless))
    process = manager.domains.start("web")
    assert [(each["name"], each["state"], each["id"]) for each in manager.domains.all()] == [
        ("web", "running", process)
    ]
    with pytest.raises(HostError, match="runs already"):
        manager.domains.start("web")
    with pytest.raises(HostError, match="inn destroy web"):
        manager.domains.undefine("web", storage=True)
    manager.domains.destroy("web")
    assert manager.domains.state("web") == "shut off"
    seen = []
    while "stopped" not in seen:
        event = next(events)
        seen += [event["what"]] if event is not None else []
    assert seen == ["defined", "started", "stopped"]


def test_a_machine_is_named_by_its_process_too_and_what_befell_it_is_known(manager: Manager, endless: Path) -> None:
    manager.domains.define(XML.format("web", endless))
    assert manager.events.latest("web") is None
    number = str(manager.domains.start("web"))
    latest = manager.events.latest(number)
    assert latest is not None
    assert (latest["what"], latest["detail"]) == ("started", "booted")
    assert manager.domains.info(number)["name"] == "web"
    assert manager.domains.state(number) == "running"
    assert manager.hardware.cards(number) == []
    assert manager.hardware.suspend(number) == "web"
    for wrong in ("1", "00", "-1", "١"):
        with pytest.raises(ConfigError, match="there is no machine"):
            manager.domains.info(wrong)
    assert manager.domains.destroy(number) == "web"
    deadline = time.monotonic() + 10
    while (latest := manager.events.latest("web")) is None or latest["what"] != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(ConfigError, match="there is no machine"):
        manager.domains.state(number)


def test_machines_outlive_a_manager_that_is_killed(manager: Manager, endless: Path, user: Path) -> None:
    manager.domains.define(XML.format("web", endless))
    process = manager.domains.start("web")
    os.kill(daemon_process(user), signal.SIGKILL)
    with pytest.raises(HostError, match="has ended meanwhile"):
        manager.domains.all()
    with connect() as second:
        assert [(each["name"], each["id"]) for each in second.domains.all()] == [("web", process)]
        second.domains.destroy("web")
        assert second.domains.start("web") != process


def test_a_killed_machine_is_seen_to_have_ended(
    manager: Manager, events: Iterator[Event | None], endless: Path
) -> None:
    manager.domains.define(XML.format("web", endless))
    os.kill(manager.domains.start("web"), signal.SIGKILL)
    ended = next(event for event in events if event is not None and event["what"] == "stopped")
    assert ended["detail"] == "its process was killed"
    assert manager.domains.state("web") == "shut off"


@pytest.mark.parametrize("ended_after_s", [0.0, 0.05, 0.3])
def test_a_machine_that_restarts_at_power_off_runs_all_the_time(
    manager: Manager, user: Path, events: Iterator[Event | None], ended_after_s: float
) -> None:
    (user / "guest").write_bytes(flat_guest(POWER_OFF))
    restarts = "<on_poweroff>restart</on_poweroff></domain>"
    manager.domains.define(XML.format("web", user / "guest").replace("</domain>", restarts))
    process = manager.domains.start("web")
    times = 0
    while times < 5:
        event = next(events)
        times += event is not None and event["what"] == "rebooted"
        assert [(each["id"], each["state"]) for each in manager.domains.all()] == [(process, "running")]
        with pytest.raises(HostError, match="runs already"):
            manager.domains.start("web")
    time.sleep(ended_after_s)
    manager.domains.destroy("web", graceful=True)
    assert manager.domains.state("web") == "shut off"


def test_two_clients_that_start_a_machine_at_once_start_it_once(manager: Manager, endless: Path) -> None:
    manager.domains.define(XML.format("web", endless))
    results: list[object] = []

    def start() -> None:
        with connect() as mine:
            try:
                results.append(mine.domains.start("web"))
            except HostError as error:
                results.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(result) for result in results].count(int) == 1


def test_a_machine_that_cannot_start_says_why(manager: Manager, user: Path) -> None:
    manager.domains.define(XML.format("web", user / "none"))
    with pytest.raises(BootError, match=r"cannot read .*/none"):
        manager.domains.start("web")
    assert manager.domains.state("web") == "shut off"


def test_many_clients_at_once_get_one_daemon(user: Path) -> None:
    words = [sys.executable, "-m", "innkeeper.cli", "list", "--all", "--json"]
    clients = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(4)]
    for each in clients:
        output, _ = each.communicate(timeout=60)
        assert json.loads(output) == []
        assert each.returncode == 0
    assert daemon_process(user)


def reached() -> bool:
    try:
        connect().close()
    except HostError:
        return False
    return True


def test_what_is_marked_starts_once_after_the_hosts_start_and_one_that_cannot_stops_no_other(
    manager: Manager, endless: Path, user: Path
) -> None:
    for name in ("a", "b", "c"):
        manager.domains.define(XML.format(name, endless if name != "a" else user / "broken"))
        manager.domains.autostart(name, on=name != "c")
    (user / "broken").write_bytes(b"no kernel")
    assert running_of(manager) == []
    for ran_before, runs in ((True, []), (False, ["b"])):
        os.kill(daemon_process(user), signal.SIGKILL)
        if not ran_before:
            (user / "state/innkeeper" / BOOT).unlink()
        with connect() as again:
            deadline = time.monotonic() + 20
            while running_of(again) != runs or (
                runs and "a is marked to start, and cannot: " not in log_of_manager(user)
            ):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert again.events.latest("a") is None
    with connect() as again:
        again.domains.destroy("b")


def running_of(manager: Manager) -> list[str]:
    return [each["name"] for each in manager.domains.all() if each["state"] == "running"]


def log_of_manager(user: Path) -> str:
    return (user / "state/innkeeper" / LOG).read_text()


def test_who_finds_no_place_is_told_so(manager: Manager) -> None:
    assert manager.domains.all() == []
    others = [client.reach(system=False) for _ in range(CLIENTS_LIMIT - 1)]
    with pytest.raises(HostError, match="the manager serves 64 commands already"):
        connect()
    others[0].close()
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline, "the place is not free again"
        time.sleep(0.01)
    assert manager.domains.all() == []
    for other in others:
        other.close()


def test_a_daemon_leaves_when_nobody_needs_it(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_IDLE_S", "0.2")
    with connect() as manager:
        process = daemon_process(user)
        time.sleep(0.5)
        assert manager.domains.all() == []  # it stays while it is talked to
    deadline = time.monotonic() + 20
    while Path(f"/proc/{process}/cmdline").exists() and time.monotonic() < deadline:
        if not Path(f"/proc/{process}/cmdline").read_bytes():
            break  # it has ended; who reaps it is another matter
        time.sleep(0.02)
    assert not (user / "run/innkeeper/manager").exists()


def test_a_daemon_of_another_version_is_replaced(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect() as first:
        assert first.domains.all() == []
    before = daemon_process(user)
    monkeypatch.setattr(client, "__version__", "another")
    with pytest.raises(HostError, match="does not answer"):
        connect()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(user / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(user / "run"))
    with connect() as again:
        assert again.domains.all() == []
    assert daemon_process(user) != before


def test_what_is_no_call_is_refused_and_the_daemon_goes_on(manager: Manager) -> None:
    with Channel(socket.socket(socket.AF_UNIX)) as channel:
        channel.connection.connect(str(client.socket_of()))
        channel.receive()
        for call, kwargs in (
            ("domains._row", {"name": "x"}),
            ("domains.start_marked", {}),
            ("domains.__init__", {}),
            ("close", {}),
            ("domains.start", {"nme": "x"}),
            ("", {}),
        ):
            channel.send({"call": call, "args": [], "kwargs": kwargs})
            assert channel.receive()["kind"] == "ConfigError"
        channel.connection.sendall(b"[" * 100_000 + b"\n")
        assert channel.connection.recv(1) == b""
    assert manager.domains.all() == []


def test_forgetting_removes_files_even_after_a_kill(manager: Manager, user: Path) -> None:
    from innkeeper.manager import Store

    disk = user / "disk"
    disk.write_bytes(bytes(512))
    manager.domains.define(
        XML.format("web", "/k").replace(
            "</os>", f"</os><devices><disk><source file='{disk}'/><target dev='vda'/></disk></devices>"
        )
    )
    os.kill(daemon_process(user), signal.SIGKILL)
    with Store() as store:  # as a manager does that is killed before it has removed anything
        store.remove("web", debris=[disk])
    with connect() as second:
        assert second.domains.all() == []
    assert not disk.exists()


@pytest.mark.parametrize("name", ["../x", "x" * 10_000, "机器", "a b", ""])
def test_names_that_cannot_be_are_refused(manager: Manager, name: str) -> None:
    with pytest.raises(ConfigError, match=r"a machine's name is|has no <name>"):
        manager.domains.define(XML.format(name, "/k"))
    with pytest.raises(ConfigError, match="there is no machine"):
        manager.domains.start(name)


def test_a_conversation_that_was_broken_off_is_not_gone_on_with(manager: Manager, endless: Path) -> None:
    manager.domains.define(XML.format("web", endless))
    watching = manager.events.watch()
    assert next(watching) is None
    watching.close()
    assert manager.domains.state("web") == "shut off"
    with pytest.raises(ConfigError, match="there is no machine 'nobody'"):
        manager.domains.start("nobody")
    assert [each["name"] for each in manager.domains.all()] == ["web"]
