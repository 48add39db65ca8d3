"""`inn blockjob`: how far the work on a disk is; how fast it may be; its end."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from innkeeper.cli.machines import blocking, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError

if TYPE_CHECKING:
    from innkeeper.machine.block_jobs import JobNow


def register(parser: argparse.ArgumentParser) -> None:
    blocking.disk(parser)
    operand(
        parser, "bandwidth", "from now on at most so many MiB a second; 0 for as many as there can be", required=False
    )
    add = parser.add_argument
    add("--info", action="store_true", help="say how far it is, which is done anyway if nothing else is asked for")
    add("--raw", action="store_true", help="all that is known, a line each")
    add("--bytes", action="store_true", help="bandwidths are in bytes a second, not MiB")
    add("--abort", action="store_true", help="end the job; the machine stays on its image")
    add("--async", dest="at_once", action="store_true", help="--abort, without waiting for that")
    add("--pivot", action="store_true", help="--abort, and the machine moves to the other image")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name, path = common.name_of(arguments), arguments.path
    limit = arguments.bandwidth
    modes = [
        arguments.info or arguments.raw,
        arguments.abort or arguments.at_once or arguments.pivot,
        limit is not None,
    ]
    if sum(modes) > 1:
        raise ConfigError("--info, --abort and a bandwidth exclude each other; give one of them")
    blocks = common.manager(arguments).blocks
    if arguments.pivot:
        blocks.pivot(name, path)
    elif arguments.abort or arguments.at_once:
        blocks.abort(name, path, at_once=arguments.at_once)
    elif limit is not None:
        blocks.set_bandwidth(name, path, blocking.bandwidth(arguments))
    else:
        show(arguments, path, blocks.info(name, path))
    return Status.DONE


def show(arguments: argparse.Namespace, path: str, now: JobNow) -> None:
    if arguments.json:
        common.show_json({key: now[key] for key in ("kind", "state", "done", "total", "bandwidth")})
        return
    if now["kind"] is None:
        say(f"No current block job for {path}\n")
        return
    title = blocking.KINDS[now["kind"]]
    limit = now["bandwidth"]
    if arguments.raw:
        shown = limit if arguments.bytes else limit // blocking.MIB
        print(f" type={title}\n bandwidth={shown}\n cur={now['done']}\n end={now['total']}\n")
        return
    line = f"{title}: [{blocking.percent(now):3} %]"
    if limit:
        line += f"    Bandwidth limit: {limit} bytes/s ({limit / blocking.MIB:.3f} MiB/s)"
    print(f"{line}\n")
