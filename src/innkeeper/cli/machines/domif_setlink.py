"""`inn domif-setlink`: plugs a network card's cable in, or pulls it."""

import argparse

from innkeeper.cli.machines import changing, common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    changing.operand(parser, "interface", "its MAC address, or its interface on the host")
    changing.operand(parser, "state", "up or down")
    changing.flags(parser)


def execute(arguments: argparse.Namespace) -> int:
    card, state = changing.word(arguments, "interface"), changing.word(arguments, "state")
    if state not in ("up", "down"):
        raise ConfigError(f"state is {state!r}; it must be up or down")
    name, flags = common.name_of(arguments), changing.flags_of(arguments)
    common.manager(arguments).hardware.set_link(name, card, flags, up=state == "up")
    say("Device updated successfully\n")
    return Status.DONE
