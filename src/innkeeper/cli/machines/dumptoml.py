"""`inn dumptoml`: a machine's definition as TOML, which `inn define` takes as well."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    print(common.manager(arguments).domains.toml(common.name_of(arguments)), end="")
    return Status.DONE
