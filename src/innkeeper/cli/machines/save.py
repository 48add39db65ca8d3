"""`inn save`: a running machine into a file, all of it; it goes on with `inn restore`."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import common, saving
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import say, words


def register(parser: argparse.ArgumentParser) -> None:
    words(parser, {"domain": "the machine's name or UUID", "file": "where to save it to"})
    saving.around_cache(parser)
    saving.another_xml(parser)
    saving.going_on(parser)
    saving.verbose(parser)


def execute(arguments: argparse.Namespace) -> int:
    file = Path(arguments.file).absolute()  # the manager works elsewhere
    xml, paused = saving.read_xml(arguments), saving.paused(arguments)
    work = common.manager(arguments).saves.save(
        arguments.domain, str(file), xml=xml, paused=paused, bypass_cache=arguments.bypass_cache
    )
    name = saving.follow_save(arguments, arguments.domain, work)
    say(arguments, f"\nDomain '{name}' saved to {arguments.file}", {"name": name, "file": str(file)})
    return Status.DONE
