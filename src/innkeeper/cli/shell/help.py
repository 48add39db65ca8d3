"""`help` in `inn virsh`: its commands by groups, or one of them, or one group."""

import argparse
from collections.abc import Iterable

from innkeeper.cli.parser import operand
from innkeeper.cli.shell.commands import GROUPS, Group, command, named
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError
from innkeeper.language import translate

COLUMNS = 30


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "command", "a command, or a group's keyword", required=False)


def execute(arguments: argparse.Namespace) -> int:
    asked = arguments.command
    groups = [group for group in GROUPS if asked in (None, group.keyword)]
    if groups:
        print("\n".join(lines(groups, whole=asked is None)))
    elif (found := command(asked)) is not None:
        print(found.format_help())
    else:
        raise ConfigError(f"there is no command and no group {asked!r}{named(asked)}; help lists all")
    return Status.DONE


def lines(groups: Iterable[Group], *, whole: bool) -> Iterable[str]:
    if whole:
        yield translate("Grouped commands:") + "\n"
    for group in groups:
        yield " " + translate(f"{translate(group.title)} (help keyword '{group.keyword}'):")
        for name, summary in group.verbs.items():
            yield f"    {name:<{COLUMNS}} {translate(summary)}"
        yield ""
