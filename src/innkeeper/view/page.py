"""The page in the language of its reader: what it says, found in its HTML and said again by a catalogue.

Spec: HTML Living Standard, section 13.1 (as far as the page's own source uses it). All words of the page are in its HTML, those of its scripts too.
"""

from collections.abc import Callable
from functools import cache
from html import escape
from html.parser import HTMLParser

from innkeeper.language import Catalogue

SPOKEN = ("title", "aria-label")
"""Attributes that a person reads or hears."""
Say = Callable[[str], str]


class Translator(HTMLParser):
    """Writes the page anew as it reads it."""

    def __init__(self, say: Say, language: str) -> None:
        super().__init__(convert_charrefs=True)
        self._say, self._language = say, language
        self.written: list[str] = []

    def handle_decl(self, decl: str) -> None:
        self.written.append(f"<!{decl}>")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words = [tag]
        for name, value in attrs:
            if value is None:
                words.append(name)
                continue
            said = self._say(value) if name in SPOKEN else self._language if (tag, name) == ("html", "lang") else value
            words.append(f'{name}="{escape(said)}"')
        self.written.append(f"<{' '.join(words)}>")

    def handle_endtag(self, tag: str) -> None:
        self.written.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        said = self._say(data) if data.strip() else data
        self.written.append(escape(said, quote=False))


def translated(html: str, say: Say, language: str) -> str:
    """The page with other words.

    >>> translated('<p title="Stop">Go on &amp; on</p>', str.upper, "x")
    '<p title="STOP">GO ON &amp; ON</p>'
    """
    translator = Translator(say, language)
    translator.feed(html)
    translator.close()
    return "".join(translator.written)


def messages(html: str) -> list[str]:
    """What the page says, in its order."""
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text.strip())
        return text

    translated(html, note, "")
    return found


@cache
def page(html: str, language: str, catalogue: Catalogue | None) -> bytes:
    """To be sent."""
    return (html if catalogue is None else translated(html, catalogue.said, language)).encode()
