"""`inn view`: a machine's screen and serial console in a browser, or a file for virt-viewer."""

import argparse
import sys
from pathlib import Path

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.config.graphics import PORT_LIMIT, is_loopback
from innkeeper.errors import ConfigError

HERE = "127.0.0.1"
SHUT_OFF = "shut off"


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument(
        "--listen", metavar="ADDRESS", default=HERE, help="where browsers connect (default: this host alone)"
    )
    parser.add_argument("--port", type=int, default=0, metavar="PORT", help="the port for them (default: a free one)")
    parser.add_argument("--vv", type=Path, metavar="FILE", help="write a file for virt-viewer instead, and return")


def execute(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.port <= PORT_LIMIT:
        raise ConfigError(f"port is {arguments.port}; it must be between 0 and {PORT_LIMIT}")
    name = common.name_of(arguments)
    state = common.manager(arguments).domains.state(name)  # or there is none
    if arguments.vv is None:
        return serve(arguments, name, state, arguments.listen, arguments.port)
    from innkeeper.view.target import Target
    from innkeeper.view.viewers import connection_file, write

    write(arguments.vv, connection_file(name, Target(name, system=arguments.system).place()))
    return Status.DONE


def serve(arguments: argparse.Namespace, name: str, state: str, listen: str = HERE, port: int = 0) -> int:
    """Until ^C."""
    from innkeeper.view.server import ViewServer, run
    from innkeeper.view.target import Target

    def ready(address: str) -> None:
        print(address, flush=True)
        if not is_loopback(listen):
            say(
                f"warning: whoever reaches {listen} and has this address sees and drives {name}, and nothing is "
                "encrypted on the way; ssh -L to 127.0.0.1 is safer",
                file=sys.stderr,
            )
        say("open it in a browser of this host; ^C ends it", file=sys.stderr)
        if state == SHUT_OFF:
            say(f"{name} does not run yet; the page connects when it does", file=sys.stderr)

    run(ViewServer(Target(name, system=arguments.system), listen=listen, port=port).serve(ready))
    return Status.DONE
