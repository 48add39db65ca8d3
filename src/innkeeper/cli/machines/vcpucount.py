"""`inn vcpucount`: how many vCPUs a machine has, and may have."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import refuse
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--maximum", action="store_true", help="how many it may have")
    parser.add_argument("--active", action="store_true", help="how many it has")
    parser.add_argument("--live", action="store_true", help="the running machine")
    parser.add_argument("--config", action="store_true", help="the definition")
    parser.add_argument("--current", action="store_true", help="the running machine, or else the definition")
    refuse(parser, {"--guest": "there is no agent in the guest; it is asked by ACPI"})
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    counts = common.manager(arguments).hardware.vcpu_counts(common.name_of(arguments))
    if arguments.maximum and arguments.active:
        raise ConfigError("--maximum and --active are both given; one count at a time")
    if arguments.json:
        common.show_json(counts)
    elif arguments.maximum or arguments.active:
        live = arguments.live or (not arguments.config and counts["live"] is not None)
        found = counts["live"] if live else counts["config"]
        if found is None:
            raise ConfigError("the machine does not run; --config asks for its definition")
        print(f"{found['maximum' if arguments.maximum else 'current']}\n")
    else:
        shown = [
            (which, where, count[which])
            for which in ("maximum", "current")
            for where in ("config", "live")
            if (count := counts[where]) is not None
        ]
        print("".join(f"{which:<12} {where:<12} {number:>3}\n" for which, where, number in shown))
    return Status.DONE
