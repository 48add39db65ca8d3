"""What running machines say, passed on as events."""

import queue
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
        yield {"what": "stopped", "detail": how, "state": "shut off"}

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
