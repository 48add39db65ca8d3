"""`inn nodecpustats`: what the host's processors spend their time on."""

import argparse
import time

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status

SAMPLE_S = 1.0


def register(parser: argparse.ArgumentParser) -> None:
    operand(
        parser, "cpu", "the number of a processor; without one, all together", required=False, type=int, metavar="N"
    )
    parser.add_argument("--percent", action="store_true", help="of a second, instead of nanoseconds since the start")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    node = common.manager(arguments).node
    found, unit = {kind: float(ns) for kind, ns in node.processors(arguments.cpu).items()}, ""
    if arguments.percent:
        time.sleep(SAMPLE_S)
        later = node.processors(arguments.cpu)
        spent = {kind: later[kind] - found[kind] for kind in later}
        whole = sum(spent.values()) or 1
        found, unit = {"usage": 100 * (1 - (spent["idle"] + spent["iowait"]) / whole)}, "%"
        found |= {kind: 100 * ns / whole for kind, ns in spent.items()}
    if arguments.json:
        common.show_json(found)
    else:
        print(
            "".join(f"{kind + ':':<10} {value:{'10.1f' if unit else '20.0f'}}{unit}\n" for kind, value in found.items())
        )
    return Status.DONE
