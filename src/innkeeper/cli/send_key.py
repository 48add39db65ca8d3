"""`inn send-key`: keys and chords for a running machine."""

import argparse

from innkeeper.cli import reach
from innkeeper.cli.status import Status
from innkeeper.display.keys import chord, press

DEFAULT_HOLD_MS = 30


def register(parser: argparse.ArgumentParser) -> None:
    reach.add_options(parser)
    parser.epilog = (
        "a key is named as by Linux and virsh (KEY_ENTER), as by QEMU (ret, ctrl, pgup, f2), by the letter on it, or by "
        "its code (0x1c)"
    )
    parser.add_argument(
        "--hold", type=int, default=DEFAULT_HOLD_MS, metavar="MS", help="between two strokes (default: %(default)s)"
    )
    parser.add_argument("chords", type=chord, nargs="+", metavar="CHORD", help="as in ctrl-alt-f2; one after the other")


def execute(arguments: argparse.Namespace) -> int:
    strokes = [stroke for codes in arguments.chords for stroke in press(codes)]
    reach.ask(arguments, "strike", strokes=strokes, pause_ms=arguments.hold)
    return Status.DONE
