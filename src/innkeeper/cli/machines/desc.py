"""`inn desc`: a machine's title or description, shown, set, or edited."""

import argparse

from innkeeper.cli.machines import common, describing


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    describing.options(parser)


def execute(arguments: argparse.Namespace) -> int:
    descriptions = common.manager(arguments).descriptions
    found = descriptions.domain(common.name_of(arguments))
    return describing.execute(arguments, "Domain", found, descriptions.describe_domain)
