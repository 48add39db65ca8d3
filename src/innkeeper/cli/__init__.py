"""The `inn` command: one file per verb, imported only when it is asked for.

Results go to stdout, everything else to stderr. What went wrong is one line, `error: …`.
"""

import argparse
import gc
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol, cast

from innkeeper import __version__
from innkeeper.cli import machines, networks, node, snapshots, storage
from innkeeper.cli.parser import Parser
from innkeeper.cli.status import Status
from innkeeper.cli.terminal import LogHandler
from innkeeper.cli.words import complain, ready
from innkeeper.errors import ConfigError, EngineError, InnkeeperError, refused

VERBS = {
    "run": "run a guest until it powers off",
    "trace": "run a guest by binary translation, and show its hottest blocks",
    "screenshot": "save what a running machine's screen shows",
    "send-key": "press keys in a running machine",
    "type": "type text in a running machine",
    "completion": "print a script that has your shell complete inn's words",
    "complete": "say how a command line could go on: for those scripts",
    "doctor": "say what this host offers, and what follows from it",
    "image": "make disk images and work on them; fetch a kernel, build an initramfs",
    "net": "networks of machines: bridges with addresses, NAT, DHCP and DNS",
    "virsh": "the machines' verbs under virsh's name",
    "daemon": "run the manager's daemon in the foreground",
    "top": "show what machines use, each second",
    "virt-viewer": "show a machine's screen in a window, or on a page, with virt-viewer's options",
    "virt-install": "make a machine and install a system on it, with virt-install's options",
    "install": "the same as virt-install",
}
VERBS |= machines.VERBS | networks.VERBS | storage.VERBS | snapshots.VERBS | node.VERBS


ALONE = ("run", "trace", "image", "doctor", "completion", "complete")
"""Verbs that ask no manager."""
ALLOCATIONS = 50_000
"""After which the collector looks for cycles: what modules are made of has none that end."""


class Verb(Protocol):
    """What each verb's module has."""

    def register(self, parser: argparse.ArgumentParser) -> None: ...
    def execute(self, arguments: argparse.Namespace) -> int: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one `inn` command and returns its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    gc.set_threshold(ALLOCATIONS)
    ready()
    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[LogHandler()])

    def run() -> int:
        with ExitStack() as held:
            parsed = make_parser(words).parse_args(words, argparse.Namespace(held=held, session=None))
            if parsed.system and parsed.verb_name in ALONE:
                raise ConfigError(
                    f"--system is about what the host's manager keeps, and inn {parsed.verb_name} asks no manager; leave it out"
                )
            return cast("Verb", parsed.verb).execute(parsed)

    return guarded(run)


def guarded(do: Callable[[], int], *, mistake: int = Status.MISTAKE) -> int:
    """What a command returns, or the status for what it raises, which is told."""
    try:
        status = do()
        sys.stdout.flush()
    except InnkeeperError as error:
        complain(str(error))
        return Status.INTERNAL if isinstance(error, EngineError) else mistake
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter's own last flush must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Status.INTERRUPTED
    except OSError as error:
        if os.environ.get("INNKEEPER_TRACEBACK"):
            raise
        complain(str(refused(error)))
        return mistake
    except Exception as error:  # a bug of ours: one line by default, all of it on demand
        if os.environ.get("INNKEEPER_TRACEBACK"):
            raise
        described = f"{type(error).__name__}: {error}"
        complain(f"internal: {described}; set INNKEEPER_TRACEBACK=1 to see where")
        return Status.INTERNAL
    return status


def load(name: str) -> Verb:
    """A verb's module."""
    room = "innkeeper.cli"
    for group in (machines, networks, storage, snapshots, node):
        if name in group.VERBS or (group is machines and name.startswith("virsh-")):
            room = group.__name__
    return cast("Verb", importlib.import_module(f"{room}.{name.replace('-', '_')}"))


def make_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for this command line: only the verb it names is loaded."""
    parser = Parser(prog="inn", description="A hypervisor for x86-64 machines.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"innkeeper {__version__}")
    parser.add_argument("--system", action="store_true", help="the host's machines, not this user's own")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    asked = next((word for word in words if not word.startswith("-")), None)
    for name in [asked] if asked in VERBS else VERBS:  # a parser for each verb costs time, and is for help alone
        summary = VERBS[name]
        verb_parser = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if asked == name:
            verb = load(name)
            verb.register(verb_parser)
            verb_parser.set_defaults(verb=verb, verb_name=name)
    return parser
