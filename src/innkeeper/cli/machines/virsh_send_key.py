"""`inn virsh send-key`: virsh's words for what `inn send-key` does."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

CODESET = "linux"
HOLD_MS = 30


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--codeset", default=CODESET, help="of codes: linux")
    parser.add_argument(
        "--holdtime", type=int, default=HOLD_MS, metavar="MS", help="how long keys are held (default: %(default)s)"
    )
    text = "pressed together, as in KEY_LEFTCTRL KEY_LEFTALT KEY_F2"
    operand(parser, "keycode", text, many=True, metavar="KEY")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    from innkeeper.display.keys import chord, press

    if arguments.codeset != CODESET:
        raise ConfigError(f"codeset is {arguments.codeset!r}; it must be {CODESET}")
    codes = [code for key in arguments.keycode for code in chord(key)]
    strokes = press(codes)
    common.manager(arguments).domains.control(
        arguments.domain, "strike", {"strokes": strokes, "pause_ms": arguments.holdtime}
    )
    if arguments.json:
        common.show_json({"codes": codes})
    return Status.DONE
