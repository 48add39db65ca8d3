"""gettext's catalogues, and the way back from a sentence to its template.

Spec: GNU gettext, "The Format of GNU MO Files". A msgid is a message with `{0}`, `{1}` … in the places of its values, and braces of its own doubled.
"""

import gettext
import re
from functools import cache, cached_property
from pathlib import Path

DOMAIN = "innkeeper"
FOLDER = Path(__file__).parent / "locales"
PLACE = re.compile(r"\{(\d+)\}")
PIECE = re.compile(r"\{\{|\}\}|\{\d+\}")
WORDS = (
    "running",
    "paused",
    "in shutdown",
    "shut off",
    "pmsuspended",
    "crashed",
    "active",
    "inactive",
    "yes",
    "no",
    "error:",
)
"""Messages that the code says by themselves, without a call that collects them."""
DEPTH = 3  # of messages within messages


class Catalogue(gettext.GNUTranslations):
    """One language's messages."""

    _catalog: dict[object, str]

    def said(self, text: str, depth: int = DEPTH) -> str:
        """The same in this language; what no message is stays as it is.

        The white space around a message is not part of it.
        """
        core = text.strip()
        if not core:
            return text
        found = self._catalog.get(core)
        if found is None and depth:
            found = self._by_template(core, depth)
        return text if not found else text.replace(core, found, 1)

    def _by_template(self, text: str, depth: int) -> str | None:
        """The template with most words of its own wins where several fit."""
        for literal, template in self._templates:
            if literal in text and (match := pattern_of(template).fullmatch(text)) is not None:
                values = [self.said(value, depth - 1) for value in match.groups()]
                numbers = [int(number) for number in PLACE.findall(template.replace("{{", "").replace("}}", ""))]
                return filled(self._catalog[template], dict(zip(numbers, values, strict=True)))
        return None

    @cached_property
    def _templates(self) -> list[tuple[str, str]]:
        """Each with the longest of its words, by which most are passed over."""
        templates = [key for key in self._catalog if isinstance(key, str) and PLACE.search(key)]
        ranked = sorted(templates, key=lambda each: -sum(map(len, literals(each))))
        return [(max(literals(each), key=len), each) for each in ranked]


def literals(template: str) -> list[str]:
    """What stands between the places.

    >>> literals("a {0} {{b}} {1}")
    ['a ', ' {b} ', '']
    """
    parts = re.split(r"(?<!\{)\{\d+\}(?!\})", template)
    return [part.replace("{{", "{").replace("}}", "}") for part in parts]


@cache
def pattern_of(template: str) -> "re.Pattern[str]":
    """A template as an expression for the sentences made of it.

    >>> pattern_of("there is no {0}; {1}").fullmatch("there is no a; b").groups()
    ('a', 'b')
    """
    return re.compile("(.*?)".join(map(re.escape, literals(template))), re.DOTALL)


def filled(template: str, values: dict[int, str]) -> str:
    """A template with its places filled.

    >>> filled("{1}: {{{0}}}", {0: "a", 1: "b"})
    'b: {a}'
    """

    def fill(found: "re.Match[str]") -> str:
        piece = found.group()
        return piece[0] if piece in ("{{", "}}") else values.get(int(piece[1:-1]), piece)

    return PIECE.sub(fill, template)


@cache
def chosen() -> Catalogue | None:
    """The catalogue of the locale that the environment names (gettext's LANGUAGE, LC_ALL, LC_MESSAGES, LANG); None for English.

    Programs' own messages of Python's library, such as argparse's, follow it as well.
    """
    path = gettext.find(DOMAIN, str(FOLDER))
    if path is None:
        return None
    gettext.bindtextdomain(DOMAIN, str(FOLDER))
    gettext.textdomain(DOMAIN)
    return load(path)


@cache
def load(path: str) -> Catalogue:
    with Path(path).open("rb") as file:
        return Catalogue(file)


def translate(text: str) -> str:
    """What a person reads."""
    catalogue = chosen()
    return text if catalogue is None else catalogue.said(text)
