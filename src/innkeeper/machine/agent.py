r"""Talking with QEMU's guest agent, a program in the guest, over a channel: JSON both ways, a line each.

Spec: the QEMU Guest Agent Protocol Reference. Each conversation begins with `guest-sync-delimited`, whose answer follows a byte FFh, so that what was left
of another one is passed over. One question at a time. What an agent says is a guest's: it is bounded, and checked by whoever asked.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from innkeeper.errors import HostError
from innkeeper.machine.control import BadRequest, Command

NAME = "org.qemu.guest_agent.0"
DELIMITER = b"\xff"
LIMIT = 16 << 20  # bytes of an answer
SYNC_S = 5.0  # for an agent to say that it is there
PATIENCE_S = 60.0
LONGEST_S = 24 * 3600.0
SEND_S = 0.005  # until there is room again
SILENT_S = 3.0  # after which a command that ends the guest has been obeyed
SILENT = frozenset(["guest-shutdown", "guest-suspend-disk", "guest-suspend-ram", "guest-suspend-hybrid"])
"""What is answered only if it fails."""


class Channel(Protocol):
    """`_core.VirtioChannel`, or a fake."""

    @property
    def is_open(self) -> bool: ...
    def send(self, data: bytes, /) -> int: ...


class Ended(HostError):  # noqa: N818 - what it is
    """The machine has ended."""


class Agent:
    """The agent of one machine, if it has one. Methods raise `HostError`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(int(time.time()))
        self._alone = threading.Lock()
        self._changed = threading.Condition()
        self._heard = bytearray()
        self._listens = self._ended = False

    def hear(self, data: bytes) -> None:
        """What the guest says, from any thread. Nobody waits for more than an answer's length."""
        with self._changed:
            if self._listens:
                self._heard += data[: max(0, LIMIT + 1 - len(self._heard))]
                self._changed.notify_all()

    def close(self) -> None:
        """Whoever waits is told."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def connected(self) -> bool:
        """Whether a program in the guest has the channel open."""
        return self._channel.is_open

    def ask(self, command: Mapping[str, Any], *, patience_s: float = PATIENCE_S) -> Any:
        """What the agent answers to a command, `{"execute": …, "arguments": …}`."""
        if not self.connected:
            raise HostError(
                "the guest agent is not connected: install qemu-guest-agent in the guest, and see to it that it runs"
            )
        with self._alone:
            try:
                self._sync()
                self._send(json.dumps(command).encode() + b"\n", patience_s)
                silent = command.get("execute") in SILENT
                try:
                    line = self._line(min(patience_s, SILENT_S) if silent else patience_s)
                except Ended:
                    if silent:
                        return {}
                    raise
                except TimeoutError:
                    if silent:
                        return {}
                    raise HostError(
                        f"the guest agent does not answer {command.get('execute')} within {patience_s:g} s"
                    ) from None
                return answer_of(line, str(command.get("execute")))
            finally:
                with self._changed:
                    self._listens = False
                    self._heard.clear()

    # ---- parts ----------------------------------------------------------------------------------

    def _sync(self) -> None:
        """Passes over whatever is left of another conversation."""
        number = next(self._numbers)
        with self._changed:
            self._heard.clear()
            self._listens = True
        asked = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
        # The delimiter ends whatever somebody before has sent in part.
        self._send(DELIMITER + json.dumps(asked).encode() + b"\n", SYNC_S)
        deadline = time.monotonic() + SYNC_S
        while True:
            try:
                self._until(DELIMITER, deadline)
                line = self._line(deadline - time.monotonic())
            except TimeoutError:
                raise HostError(
                    f"the guest agent does not answer within {SYNC_S:g} s; it may be busy, or frozen with the guest"
                ) from None
            try:
                if json.loads(line).get("return") == number:
                    return
            except (ValueError, AttributeError, RecursionError):
                continue  # of another conversation

    def _send(self, data: bytes, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while data:
            data = data[self._channel.send(data) :]
            if data and (not self.connected or time.monotonic() > deadline):
                raise HostError("the guest agent takes no commands any more")
            if data:
                time.sleep(SEND_S)

    def _line(self, patience_s: float) -> bytes:
        """Raises `TimeoutError`."""
        return self._until(b"\n", time.monotonic() + patience_s)

    def _until(self, mark: bytes, deadline: float) -> bytes:
        """What is heard up to a mark, which is passed over."""
        with self._changed:
            while mark not in self._heard:
                if len(self._heard) > LIMIT:
                    raise HostError(f"the guest agent answers with more than {LIMIT} bytes")
                left = deadline - time.monotonic()
                if self._ended:
                    raise Ended("the machine has ended before its guest agent answered")
                if left <= 0:
                    raise TimeoutError
                self._changed.wait(left)
            found, _, rest = bytes(self._heard).partition(mark)
            self._heard[:] = rest
            return found


def answer_of(line: bytes, what: str) -> Any:
    """What an answer says. Raises `HostError` with an agent's complaint."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise HostError(f"the guest agent's answer to {what} is no JSON") from error
    if isinstance(answer, dict) and "return" in answer:
        return answer["return"]
    error_part = answer.get("error") if isinstance(answer, dict) else None
    why = error_part.get("desc") if isinstance(error_part, dict) else None
    raise HostError(f"the guest agent cannot do {what}: {why if isinstance(why, str) else 'it does not say why'}")


def commands(agent: Callable[[], Agent | None]) -> dict[str, Command]:
    """For the control socket."""

    def ask(asked: Mapping[str, Any]) -> Any:
        command, patience_s = asked.get("command"), asked.get("timeout_s", PATIENCE_S)
        if not isinstance(command, dict) or not isinstance(command.get("execute"), str):
            raise BadRequest("command must be a JSON object that says what to execute")
        if not isinstance(patience_s, int | float) or not 0 < patience_s <= LONGEST_S:
            raise BadRequest(f"timeout_s is {patience_s!r}; it must be above 0 and at most {LONGEST_S:g}")
        found = agent()
        if found is None:
            raise HostError(
                "the machine has no channel for a guest agent: add <channel type='unix'><target type='virtio' "
                f"name='{NAME}'/></channel> to its devices, and start it again"
            )
        return found.ask(command, patience_s=patience_s)

    return {"agent": ask}
