"""What running machines say, passed on as events."""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.manager import watching
from innkeeper.manager.events import Events
from innkeeper.manager.watching import Watch


class Told(Events):
    """Keeps what is published."""

    def __init__(self) -> None:
        super().__init__()
        self.told: queue.Queue[tuple[str, str]] = queue.Queue()

    def publish(self, domain: str, what: str, detail: str = "", *, kind: str = "lifecycle") -> None:
        assert (domain, kind) == ("web", "lifecycle")
        self.told.put((what, detail))


def test_an_end_is_told_at_once_though_the_machine_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has started it between two looks: the name is taken, by another process."""
    process, ends = [1], queue.Queue[str]()

    def listen(path: Path) -> Iterator[dict[str, str]]:
        assert path == Path("control")
        yield {"state": "running"}
        how = ends.get()
        process[0] += 1
        yield {"what": "stopped", "detail": how, "state": "in shutdown"}

    monkeypatch.setattr(watching, "watch", listen)
    monkeypatch.setattr(watching, "control_of", lambda _name: Path("control"))
    monkeypatch.setattr(watching, "running", lambda: ["web"])
    monkeypatch.setattr(watching, "process_of", lambda _name: process[0])
    events = Told()
    watch, begun = Watch(events), time.monotonic()
    watch.begin("web")
    for how in ("first", "second"):  # the second time without anybody having asked for it
        ends.put(how)
        assert events.told.get(timeout=10) == ("stopped", how)
    assert time.monotonic() - begun < watching.PATIENCE_S / 2
    monkeypatch.setattr(watching, "running", list)
    ends.put("last")
    assert events.told.get(timeout=10) == ("stopped", "last")


def test_a_machine_that_its_process_starts_again_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    streams, listening, tries = queue.Queue[list[dict[str, str]]](), threading.Event(), queue.Queue[str]()

    def listen(_path: Path) -> Iterator[dict[str, str]]:
        tries.put("connected")
        yield {"state": "running"}
        yield from streams.get()

    monkeypatch.setattr(watching, "watch", listen)
    monkeypatch.setattr(watching, "listens", lambda path: path == Path("control") and listening.is_set())
    monkeypatch.setattr(watching, "control_of", lambda _name: Path("control"))
    monkeypatch.setattr(watching, "running", lambda: ["web"])
    monkeypatch.setattr(watching, "process_of", lambda _name: 7)
    events = Told()
    watch = Watch(events)
    watch.begin("web")
    assert tries.get(timeout=10) == "connected"
    streams.put([{"what": "rebooted", "detail": "installed", "state": "running"}])
    assert events.told.get(timeout=10) == ("rebooted", "installed")
    assert watch.state("web") == "running"
    with pytest.raises(queue.Empty):  # it does not listen yet
        tries.get(timeout=0.1)
    listening.set()
    assert tries.get(timeout=10) == "connected"
    monkeypatch.setattr(watching, "running", list)
    streams.put([{"what": "stopped", "detail": "the second", "state": "in shutdown"}])
    assert events.told.get(timeout=10) == ("stopped", "the second")
