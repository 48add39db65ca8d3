"""`inn dumptoml`: a machine's definition as TOML, which `inn define` takes as well."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    toml = common.manager(arguments).domains.toml(common.name_of(arguments))
    results.put(arguments, toml.rstrip("\n"), {"toml": toml})
    return Status.DONE
