"""`inn pool-edit`: a storage pool's XML in an editor, kept once it is right."""

import argparse

from innkeeper.cli.editing import edit
from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.cli.words import say, tell_unknown


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)


def execute(arguments: argparse.Namespace) -> int:
    pools = common.pools(arguments)
    name = pools.info(arguments.pool)["name"]
    done = edit(pools.xml(name, inactive=True), f"{name}.xml", pools.define)
    if done is None:
        say(f"Pool {name} XML configuration not changed.\n")
    else:
        tell_unknown(done["unknown"])
        say(f"Pool {done['name']} XML configuration edited.\n")
    return Status.DONE
