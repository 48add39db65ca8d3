"""`inn virsh …`: virsh's command line. One command, a string of several, or without any a shell.

Spec: virsh.1, of libvirt 9 and later. What talks to other hosts (keep-alive) is taken and means nothing.
"""

from __future__ import annotations

import argparse
import logging
import os
import re

from innkeeper import __version__
from innkeeper.cli.machines import connection
from innkeeper.cli.parser import Parser
from innkeeper.cli.shell.commands import COMMANDS, FAILED
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

URI = "VIRSH_DEFAULT_CONNECT_URI"
LEVELS = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING, logging.ERROR)
"""virsh's debug levels, from all to errors alone."""
QUIETEST = len(LEVELS) - 1
SEVERAL = re.compile(r"[\s;#'\"\\]")
HAT = re.compile(r"\^[A-Za-z@\[\]\\^_]")


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Commands are the plain verbs: inn virsh list --all is inn list --all, and inn virsh help lists them. "
        "Without a command this is a shell; one word may hold several commands, separated by semicolons"
    )
    add = parser.add_argument
    connection.register(parser, "-c")
    add("-r", "--readonly", action="store_true", help="only commands that change nothing")
    add("-q", "--quiet", action="store_true", help="only what was asked for: no heads of tables, no messages")
    add("-t", "--timing", action="store_true", help="say how long each command took")
    add("-e", "--escape", metavar="KEY", default="^]", help="what leaves a console (default: %(default)s)")
    add("-d", "--debug", type=int, metavar="LEVEL", help="what is logged: from 0, all, to 4, errors alone")
    add("-l", "--log", metavar="FILE", help="where it is logged")
    for letter, name in (("-k", "--keepalive-interval"), ("-K", "--keepalive-count")):
        add(letter, name, type=int, metavar="N", help="taken for virsh's sake: there is no network in between")
    add("--no-pkttyagent", action="store_true", help="taken for virsh's sake: nobody is asked for a password")
    add(
        "-v",
        "--version",
        "--version=short",
        action="store_const",
        const="short",
        dest="version",
        help="say which version this is",
    )
    add(
        "-V", "--version=long", action="store_const", const="long", dest="version", help="the same, with what it offers"
    )
    add(
        "words",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="a command and its arguments; help COMMAND explains it",
    )
    if isinstance(parser, Parser):
        parser.mistake, parser.commands = FAILED, COMMANDS


def execute(arguments: argparse.Namespace) -> int:
    from innkeeper.cli import guarded

    return guarded(lambda: act(arguments), mistake=FAILED)


def act(arguments: argparse.Namespace) -> int:
    """Raises `InnkeeperError` for options that cannot be."""
    from innkeeper.cli.shell.session import Session

    if arguments.version is not None:
        show_version(long=arguments.version == "long")
        return Status.DONE
    log(arguments)
    session = Session(
        system=is_system(arguments),
        readonly=arguments.readonly,
        quiet=arguments.quiet,
        timing=arguments.timing,
        escape=escape_of(arguments.escape),
    )
    words: list[str] = arguments.words
    if not words:
        from innkeeper.cli.shell.interactive import interact

        return interact(session)
    if len(words) == 1 and SEVERAL.search(words[0]):
        return session.run_all(words[0])
    return session.run(words)


def is_system(arguments: argparse.Namespace) -> bool:
    """By the option, or else the environment, or else `inn --system`."""
    if arguments.connect is not None:
        return connection.is_system(arguments.connect)
    named = os.environ.get(URI)
    if not named or arguments.system:
        return bool(arguments.system)
    try:
        return connection.is_system(named)
    except ConfigError as error:
        raise ConfigError(f"{URI} is set, and {error}") from error


def escape_of(text: str) -> bytes:
    r"""The character that leaves a console: one, or a control character as in `^]`.

    >>> escape_of("^]"), escape_of("q")
    (b'\x1d', b'q')
    """
    if HAT.fullmatch(text):
        return bytes([ord(text[1].upper()) ^ 0x40])
    if len(text) != 1 or not text.isascii():
        raise ConfigError(f"escape is {text!r}; it must be one character, or one with a hat, as in ^]")
    return text.encode()


def log(arguments: argparse.Namespace) -> None:
    """Sets what is logged, and where to."""
    level = arguments.debug
    if level is not None and not 0 <= level <= QUIETEST:
        raise ConfigError(f"debug is {level}; it must be between 0 and {QUIETEST}")
    root = logging.getLogger()
    if arguments.log is not None:
        try:
            handler = logging.FileHandler(arguments.log)
        except OSError as error:
            raise ConfigError(f"cannot log to {arguments.log}: {error.strerror}") from error
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root.handlers = [handler]
        root.setLevel(logging.DEBUG)
    if level is not None:
        root.setLevel(LEVELS[level])


def show_version(*, long: bool) -> None:
    if not long:
        print(__version__)
        return
    from innkeeper import _core

    probe, bt = _core.kvm_probe(), _core.bt_unavailable()
    print(f"inn virsh, of innkeeper {__version__}")
    print(
        "engines: "
        + ", ".join([*["kvm"] * bool(probe["usable"] and probe["ring0_native"]), *["bt"] * (bt is None), "interp"])
    )
    print("disks: raw qcow2; pools: dir; networks: user nat route open isolated bridge; displays: vnc")
