"""`inn dommemstat`: what a running machine's memory is used for."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.machines.domstats import guest_memory
from innkeeper.cli.parser import refuse
from innkeeper.cli.status import Status

WHEN = "the guest is asked whenever inn dommemstat is, and at no other time"
REFUSED = {"--period SECONDS": WHEN, "--live": WHEN, "--config": WHEN, "--current": WHEN}


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)
    refuse(parser, REFUSED)


def execute(arguments: argparse.Namespace) -> int:
    memory = common.manager(arguments).hardware.figures(common.name_of(arguments), refresh=True)["memory"]
    facts = {"actual": memory["current_kib"], **guest_memory(memory["guest"]), "rss": memory["resident_kib"]}
    if arguments.json:
        common.show_json(facts)
    else:
        print("".join(f"{name} {value}\n" for name, value in facts.items()))
    return Status.DONE
