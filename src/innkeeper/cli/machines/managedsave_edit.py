"""`inn managedsave-edit`: the XML of a machine that goes on with its next start, in an editor."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.editing import edit
from innkeeper.cli.machines import common, saving
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    saving.going_on(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    saves, name, paused = common.manager(arguments).saves, common.name_of(arguments), saving.paused(arguments)
    if edit(saves.managed_xml(name), "saved.xml", lambda xml: saves.managed_define(name, xml, paused=paused)) is None:
        if paused is not None:
            saves.managed_define(name, paused=paused)
        results.say(
            arguments,
            f"Managed save image of domain '{name}' XML configuration not changed.",
            {"name": name, "changed": False},
        )
    else:
        results.say(
            arguments,
            f"Managed save image of domain '{name}' XML configuration edited.",
            {"name": name, "changed": True},
        )
    return Status.DONE
