"""Waiting for what happens to things: what `inn event`, `inn net-event` and `inn pool-event` have in common."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError

if TYPE_CHECKING:
    from innkeeper.manager.events import Event
    from innkeeper.manager.service import Manager

Kinds = Mapping[str, str]
"""Kinds of events by their names, and what the manager calls them."""


class OutOfTime(Exception):  # noqa: N818 - what it is
    """The time limit has passed."""


def options(parser: argparse.ArgumentParser, kinds: Kinds) -> None:
    add = parser.add_argument
    add("--event", metavar="KIND", help=f"what to wait for: {', '.join(kinds)}")
    add("--loop", action="store_true", help="go on after the first")
    add("--timeout", type=int, metavar="SECONDS", help="leave after so long")
    add("--timestamp", action="store_true", help="say when it was")
    add("--list", action="store_true", help="list the kinds of events")
    common.as_json(parser)


def listed(arguments: argparse.Namespace, kinds: Kinds) -> bool:
    """Whether the kinds were asked for, which are then told. Raises `ConfigError` for a kind that is none."""
    if arguments.list:
        print("".join(f"{kind}\n" for kind in kinds), end="")
        return True
    if arguments.event is not None and arguments.event not in kinds:
        raise ConfigError(f"event is {arguments.event!r}; it must be of {', '.join(kinds)}")
    return False


def of_things(
    arguments: argparse.Namespace, kinds: Kinds, what: str, wanted: str | None, name_of: Callable[[Manager, str], str]
) -> int:
    """A verb of things other than machines, which have names and UUIDs."""
    if listed(arguments, kinds):
        return Status.DONE
    if arguments.event is None:
        raise ConfigError("nothing says what to wait for; give --event KIND")
    manager = common.manager(arguments)
    name = name_of(manager, wanted) if wanted is not None else None
    return execute(arguments, manager, kinds, what, name)


def execute(arguments: argparse.Namespace, manager: Manager, kinds: Kinds, what: str, wanted: str | None) -> int:
    """Tells what happens to the one that is `wanted`, or to all; `what` each of them is."""
    heard = {heard: kind for kind, heard in kinds.items() if arguments.event in (None, kind)}
    try:
        number = wait(arguments, manager, heard, what, wanted)
    except OutOfTime:
        say("event loop timed out")
        return Status.MISTAKE
    if not arguments.json:
        say(f"events received: {number}\n")
    return Status.DONE


def wait(arguments: argparse.Namespace, manager: Manager, heard: Kinds, what: str, wanted: str | None) -> int:
    """Raises `OutOfTime` at the time limit, if nothing has happened by then."""
    number = 0
    if arguments.timeout is not None:
        signal.signal(signal.SIGALRM, out_of_time)
        signal.alarm(arguments.timeout)
    try:
        for event in manager.events.watch():
            if event is None or event["kind"] not in heard or wanted not in (None, event["domain"]):
                continue
            number += 1
            tell(arguments, event, heard[event["kind"]], what)
            if not arguments.loop:
                break
    except OutOfTime:
        if not number:
            raise
    except KeyboardInterrupt:
        pass  # what ends a loop
    finally:
        signal.alarm(0)
    return number


def out_of_time(_signal: int, _frame: FrameType | None) -> None:
    raise OutOfTime


def tell(arguments: argparse.Namespace, event: Event, kind: str, what: str) -> None:
    moment, name = event["time"], event["domain"]
    if arguments.json:
        common.show_json(
            {
                "time": moment,
                what.rsplit(maxsplit=1)[-1]: name,
                "event": kind,
                "what": event["what"],
                "detail": event["detail"],
            }
        )
        return
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1000):03}: "
    happened = f": {event['what'].capitalize()} {event['detail']}".rstrip() if kind == "lifecycle" else ""
    quoted = f"'{name}'" if what == "domain" else name
    print((when if arguments.timestamp else "") + f"event '{kind}' for {what} {quoted}{happened}", flush=True)
