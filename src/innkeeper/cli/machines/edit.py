"""`inn edit`: a machine's definition in an editor, kept once it is right."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.editing import edit
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import tell_unknown


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--toml", action="store_true", help="as TOML, which has only what is understood")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    machines = common.manager(arguments).domains
    kept = machines.definition(common.name_of(arguments))
    name = machines.info(common.name_of(arguments))["name"]
    text, ending = (machines.toml(name), "toml") if arguments.toml else (kept, "xml")
    done = edit(text, f"{name}.{ending}", machines.define)
    if done is None:
        results.say(arguments, f"Domain '{name}' XML configuration not changed.", {"name": name, "changed": False})
    else:
        tell_unknown(done["unknown"])
        results.say(arguments, f"Domain '{name}' XML configuration edited.", {"name": name, "changed": True})
    return Status.DONE
