"""`inn trace`: a guest under binary translation, and afterwards its hottest blocks beside their translations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.cli import listing
from innkeeper.cli.numbers import shortened, whole_number
from innkeeper.cli.run import add_options, config_of, die_of, run_to_its_end, status_of
from innkeeper.cli.words import say

if TYPE_CHECKING:
    from innkeeper.machine import Machine

BLOCKS = 10


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a guest by binary translation, counting block by block, and then show the hottest blocks: "
        "guest code beside its translation, how often it was executed, and why it was left"
    )
    add_options(parser, ["bt"], "bt: the only one that translates")
    parser.add_argument(
        "--blocks", type=positive, default=BLOCKS, metavar="N", help="show so many (default: %(default)s)"
    )
    parser.add_argument(
        "--at", type=address, metavar="ADDRESS", help="only blocks that cover this address, in hexadecimal"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write them there instead, as JSON")


def positive(text: str) -> int:
    number = whole_number(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


def address(text: str) -> int:
    try:
        number = int(text, 16)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not an address in hexadecimal")
    return number


def execute(arguments: argparse.Namespace) -> int:
    from innkeeper.machine import Machine, statistics

    if arguments.json is not None:
        statistics.check_writable(arguments.json, "the trace")
    machine = Machine(config_of(arguments, trace=True))
    outcome, signals = run_to_its_end(machine, arguments)
    show(machine, arguments)
    if signals:
        die_of(signals[0])
    return status_of(outcome)


def show(machine: Machine, arguments: argparse.Namespace) -> None:
    from innkeeper._core import disassemble
    from innkeeper.machine import statistics

    chosen = listing.choose_blocks(machine.trace(), at=arguments.at, most=arguments.blocks)
    if arguments.json is not None:
        statistics.write(arguments.json, listing.as_json(chosen, disassemble), "the trace")
    elif chosen.blocks:
        print(*listing.as_text(chosen, disassemble), sep="\n")
    else:
        place = "" if arguments.at is None else f" at {arguments.at:x}"
        say(f"no translated block{place} was executed")
