"""`inn daemon`: the manager's daemon in the foreground, for a service manager. Nobody else needs it: the first command starts one."""

import argparse
import logging
import sys

from innkeeper.cli.status import Status

UNIT = """\
[Unit]
Description=Innkeeper, the manager of virtual machines
After=network.target

[Service]
ExecStart={python} -m innkeeper.cli {options}daemon --keep
KillMode=process

[Install]
WantedBy={wanted}
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="stay when idle")
    parser.add_argument(
        "--group", metavar="NAME", help="with --system: who else may reach it (default: innkeeper, if there is one)"
    )
    parser.add_argument("--print-unit", action="store_true", help="show a systemd unit that runs this, and do nothing")


def execute(arguments: argparse.Namespace) -> int:
    system: bool = arguments.system
    if arguments.print_unit:
        wanted = "multi-user.target" if system else "default.target"
        print(UNIT.format(python=sys.executable, options="--system " * system, wanted=wanted), end="")
        return Status.DONE
    from innkeeper.manager import daemon

    logging.getLogger().setLevel(logging.INFO)
    idle_s = daemon.FOR_EVER if arguments.keep else daemon.IDLE_S
    daemon.run(system=system, group=arguments.group, idle_s=idle_s, ready=None)
    return Status.DONE
