"""`inn event`: waits for what happens to machines, and says it."""

import argparse
import signal
import time
from types import FrameType

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError

KINDS = ("lifecycle",)


class OutOfTime(Exception):  # noqa: N818 - what it is
    """The time limit has passed."""


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser, required=False)
    add = parser.add_argument
    add("--event", metavar="KIND", help=f"what to wait for: {', '.join(KINDS)}")
    add("--all", action="store_true", help="whatever it is")
    add("--loop", action="store_true", help="go on after the first")
    add("--timeout", type=int, metavar="SECONDS", help="leave after so long")
    add("--timestamp", action="store_true", help="say when it was")
    add("--list", action="store_true", help="list the kinds of events")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.list:
        print("".join(f"{kind}\n" for kind in KINDS), end="")
        return Status.DONE
    if arguments.event is not None and arguments.event not in KINDS:
        raise ConfigError(f"event is {arguments.event!r}; it must be of {', '.join(KINDS)}")
    if arguments.event is None and not arguments.all:
        raise ConfigError("nothing says what to wait for; give --event KIND, or --all")
    wanted = arguments.domain
    try:
        number = wait(arguments, wanted)
    except OutOfTime:
        say("event loop timed out")
        return Status.MISTAKE
    if not arguments.json:
        say(f"events received: {number}\n")
    return Status.DONE


def wait(arguments: argparse.Namespace, wanted: str | None) -> int:
    """Raises `OutOfTime` at the time limit, if nothing has happened by then."""
    number = 0
    manager = common.manager(arguments)
    if wanted is not None:
        manager.domains.state(wanted)  # there is such a machine
    if arguments.timeout is not None:
        signal.signal(signal.SIGALRM, out_of_time)
        signal.alarm(arguments.timeout)
    try:
        for event in manager.events.watch():
            if event is None or wanted not in (None, event["domain"]):
                continue
            number += 1
            tell(arguments, event["time"], event["domain"], event["what"], event["detail"])
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


def tell(arguments: argparse.Namespace, moment: float, domain: str, what: str, detail: str) -> None:
    if arguments.json:
        common.show_json({"time": moment, "domain": domain, "event": "lifecycle", "what": what, "detail": detail})
        return
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1000):03}: "
    said = f"event 'lifecycle' for domain '{domain}': {what.capitalize()} {detail}".rstrip()
    print((when if arguments.timestamp else "") + said, flush=True)
