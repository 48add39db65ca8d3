"""`inn domtime`: what time it is in a guest, as its agent tells and sets it."""

import argparse
import time

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

NS = 10**9


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    add = parser.add_argument
    add("--now", action="store_true", help="set it to this host's time")
    add("--time", type=int, metavar="SECONDS", help="set it to so many seconds since 1970, in UTC")
    add("--sync", action="store_true", help="set it to what the machine's real-time clock says")
    add("--pretty", action="store_true", help="show it for people")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    if sum((arguments.now, arguments.sync, arguments.time is not None)) > 1:
        raise ConfigError("--now, --time and --sync exclude each other; give one of them")
    agents, name = common.manager(arguments).agents, common.name_of(arguments)
    if arguments.now or arguments.sync or arguments.time is not None:
        agents.set_time(name, arguments.time, sync=arguments.sync)
        return Status.DONE
    seconds, nanoseconds = divmod(agents.time(name), NS)
    if arguments.json:
        common.show_json({"seconds": seconds, "nseconds": nanoseconds})
        return Status.DONE
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) if arguments.pretty else str(seconds)
    print(f"Time: {shown}\n")
    return Status.DONE
