"""Talking with a guest's agent, which is scripted here: it may be slow, confused or mean harm."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from innkeeper.errors import HostError
from innkeeper.machine import agent as module
from innkeeper.machine.agent import Agent, commands
from innkeeper.machine.control import BadRequest

Script = Callable[[dict[str, Any]], bytes]


class Scripted:
    """A channel with an agent behind it; `answers` makes what it says to a command, in a thread as a guest's does."""

    def __init__(self, answers: Script, *, is_open: bool = True, room: int = 1 << 20) -> None:
        self.is_open, self._room, self._answers = is_open, room, answers
        self._asked = bytearray()
        self.agent = Agent(self)

    def send(self, data: bytes, /) -> int:
        taken = data[: self._room]
        self._asked += taken
        while b"\n" in self._asked:
            line, _, rest = bytes(self._asked).partition(b"\n")
            self._asked[:] = rest
            asked = json.loads(line.rpartition(b"\xff")[2])
            threading.Thread(target=self._answer, args=(asked,)).start()
        return len(taken)

    def _answer(self, asked: dict[str, Any]) -> None:
        if asked["execute"] == "guest-sync-delimited":
            self.agent.hear(b'{"return": {}}\n\xff' + line({"return": asked["arguments"]["id"]}))
        else:
            said = self._answers(asked)
            for at in range(0, len(said), 1 << 20):
                self.agent.hear(said[at : at + (1 << 20)])


def line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def test_a_command_is_answered_whatever_was_said_before() -> None:
    scripted = Scripted(lambda asked: line({"return": asked.get("arguments")}), room=7)
    scripted.agent.hear(b"of another conversation")
    assert scripted.agent.ask({"execute": "x", "arguments": {"a": 1}}) == {"a": 1}
    scripted.agent.hear(b"late words\n")
    assert scripted.agent.ask({"execute": "y", "arguments": [2]}) == [2]


def test_complaints_are_told() -> None:
    scripted = Scripted(lambda _: line({"error": {"class": "CommandNotFound", "desc": "no such thing"}}))
    with pytest.raises(HostError, match="the guest agent cannot do x: no such thing"):
        scripted.agent.ask({"execute": "x"})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"{\n", "answer to x is no JSON"),
        (b"[" * 100_000 + b"\n", "answer to x is no JSON"),
        (b"[]\n", "cannot do x: it does not say why"),
        (b'{"error": 5}\n', "cannot do x: it does not say why"),
        (b"a" * ((16 << 20) + 5), "answers with more than"),
        (b"", r"does not answer x within 0\.2 s"),
    ],
)
def test_nonsense_is_an_error(said: bytes, told: str) -> None:
    scripted = Scripted(lambda _: said)
    with pytest.raises(HostError, match=told):
        scripted.agent.ask({"execute": "x"}, patience_s=0.2 if not said else 20)
    good = Scripted(lambda _: line({"return": 1}))
    assert good.agent.ask({"execute": "x"}) == 1


def test_what_ends_the_guest_need_not_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.1)
    scripted = Scripted(lambda _: b"")
    assert scripted.agent.ask({"execute": "guest-shutdown"}) == {}


def test_an_agent_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="the guest agent is not connected"):
        Scripted(lambda _: b"", is_open=False).agent.ask({"execute": "x"})
    monkeypatch.setattr(module, "SYNC_S", 0.1)
    silent = Scripted(lambda _: b"")
    monkeypatch.setattr(silent, "_answer", lambda _: None)
    with pytest.raises(HostError, match=r"does not answer within 0\.1 s; it may be busy, or frozen"):
        silent.agent.ask({"execute": "x"})
    full = Scripted(lambda _: b"", room=0)
    with pytest.raises(HostError, match="takes no commands any more"):
        full.agent.ask({"execute": "x"})


def test_who_waits_is_told_of_the_end() -> None:
    scripted = Scripted(lambda _: b"")
    errors: list[HostError] = []

    def ask() -> None:
        try:
            scripted.agent.ask({"execute": "x"})
        except HostError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.1)
    scripted.agent.close()
    asking.join(20)
    assert "has ended before" in str(errors[0])


def test_the_control_socket_asks_it() -> None:
    scripted = Scripted(lambda _: line({"return": 7}))
    ask = commands(lambda: scripted.agent)["agent"]
    assert ask({"command": {"execute": "x"}, "timeout_s": 5}) == 7
    bads: tuple[dict[str, object], ...] = (
        {},
        {"command": []},
        {"command": {"execute": 5}},
        {"command": {"execute": "x"}, "timeout_s": 0},
    )
    for bad in bads:
        with pytest.raises(BadRequest):
            ask(bad)
    with pytest.raises(HostError, match="the machine has no channel for a guest agent: add <channel"):
        commands(lambda: None)["agent"]({"command": {"execute": "x"}})
