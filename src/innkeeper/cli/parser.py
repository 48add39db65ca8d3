"""The parser of command lines: no abbreviations, one sentence for a mistake, and virsh's way with operands.

An operand may be given by its place or by its name, `start web` or `start --domain web`, before, between and behind options (virsh.1):
words take the places of those that are not named. Python's own positional arguments, of verbs that virsh has not, are left to argparse.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from innkeeper.cli.status import Status
from innkeeper.cli.words import HelpFormatter, complain
from innkeeper.errors import ConfigError

SHOWN = 60  # characters of a word that is too many


class Operand(argparse.Action):
    """What a verb is about. Its word is found by `Parser`, which knows what else was given: to argparse it is only to be shown."""

    needed: bool

    def __call__(self, *_: object) -> None:
        """Never."""

    def example(self) -> str:
        """In a complaint that it is missing."""
        return f"--{self.dest.replace('_', '-')} {self.metavar}"

    def shown(self) -> str:
        """In a verb's help, in virsh's way."""
        return f"[--{self.dest.replace('_', '-')}] {self.metavar}"


class Parser(argparse.ArgumentParser):
    """Every verb's, and that of `inn` itself."""

    later: Callable[[], None] | None = None
    """Adds its arguments, when they are first asked for: so a kind of a verb that is not named need not be loaded."""
    mistake: int = Status.MISTAKE
    """The exit status for a command line that cannot be."""
    commands: Mapping[str, "Parser"] | None = None
    """What can follow, where that is not argparse's to choose."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"formatter_class": OperandFormatter} | options))

    def load(self) -> None:
        """Idempotent."""
        later, self.later = self.later, None
        if later is not None:
            later()

    def operands(self) -> list[Operand]:
        return [action for action in self._actions if isinstance(action, Operand)]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.load()
        found, left = super().parse_known_args(args, namespace)
        operands = self.operands()
        if operands:
            self._fill(operands, found, self._words(left))
            left = []
        elif left and self._subparsers is None:  # nobody else will know them
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return found, left

    def _get_positional_actions(self) -> list[argparse.Action]:
        """Those that argparse finds the words of."""
        return [action for action in super()._get_positional_actions() if not isinstance(action, Operand)]

    def _words(self, left: Sequence[str]) -> list[str]:
        """What is no option. All is behind `--`."""
        at = left.index("--") if "--" in left else len(left)
        unknown = [word for word in left[:at] if self._parse_optional(word) is not None]
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return [*left[:at], *left[at + 1 :]]

    def _fill(self, operands: Sequence[Operand], found: argparse.Namespace, words: list[str]) -> None:
        """Gives words to those that were not named, in their order."""
        for operand in operands:
            several = operand.nargs in (argparse.ZERO_OR_MORE, argparse.ONE_OR_MORE)
            given = getattr(found, operand.dest)
            if several:
                taken, words = words, []
                setattr(found, operand.dest, [*(given or []), *(self._value(operand, word) for word in taken)])
            elif given is None and words:
                setattr(found, operand.dest, self._value(operand, words.pop(0)))
            if operand.needed and getattr(found, operand.dest) in (None, []):
                self.error(f"{operand.dest.replace('_', '-')} is missing; give it, as in {operand.example()}")
        if words:
            self.error(f"there is a word too many, {words[0][:SHOWN]!r}")

    def _value(self, operand: Operand, word: str) -> Any:
        try:
            value = self._get_value(operand, word)
            self._check_value(operand, value)
        except argparse.ArgumentError as error:
            self.error(str(error))
        return value

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:  # noqa: SLF001
            from difflib import get_close_matches

            like = get_close_matches(value, action.choices, 1)
            hint = f"; did you mean {like[0]!r}?" if like else ""
            raise argparse.ArgumentError(None, f"there is no command {value!r}{hint}")
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        complain(f"{message}; see {self.prog} --help")
        self.exit(self.mistake)


class Refusal(argparse.Action):
    """An option of virsh's that cannot be had here."""

    def __init__(self, *names: Any, why: str, **options: Any) -> None:
        super().__init__(*names, **options)
        self._why = why

    def __call__(self, _parser: object, _namespace: object, _values: object, option_string: str | None = None) -> None:
        """Raises `ConfigError`."""
        raise ConfigError(f"{option_string} cannot be had here: {self._why}")


def refuse(parser: argparse.ArgumentParser, options: Mapping[str, str]) -> None:
    """Has options be errors that name them and say why, never ignored: `{"--rawio": "…", "--wwn TEXT": "…"}`."""
    for form, why in options.items():
        name, _, value = form.partition(" ")
        nargs = None if value else 0
        parser.add_argument(
            name, action=Refusal, why=why, nargs=nargs, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


class OperandFormatter(HelpFormatter):
    """Help that says how operands can be named."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        return action.shown() if isinstance(action, Operand) else super()._format_action_invocation(action)


def operand(
    parser: argparse.ArgumentParser,
    name: str,
    text: str,
    *,
    required: bool = True,
    many: bool = False,
    **kind: Any,
) -> None:
    """Adds one; a `Parser` takes it. `many` take all words that are left.

    `kind` is argparse's: metavar, type, choices.
    """
    dest = name.replace("-", "_")
    kind.setdefault("metavar", name.upper())
    nargs = (argparse.ONE_OR_MORE if required else argparse.ZERO_OR_MORE) if many else (None if required else "?")
    added = parser.add_argument(dest, action=Operand, nargs=nargs, help=text, **kind)
    if isinstance(added, Operand):
        added.required, added.needed = False, required
    parser.add_argument(f"--{name}", dest=dest, action="append" if many else "store", help=argparse.SUPPRESS, **kind)
