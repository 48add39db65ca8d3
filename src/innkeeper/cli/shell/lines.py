"""Command strings: several commands, separated by semicolons or newlines, with a shell's quotes (virsh.1)."""

from innkeeper.errors import ConfigError

ENDS = ";\n"
BLANK = " \t\r"


def commands(text: str) -> list[list[str]]:
    r"""The words of each command. Raises `ConfigError` for a quote that does not end.

    >>> commands("start web; dumpxml 'a b' # and so on\necho a\\;b \"\" x#y")
    [['start', 'web'], ['dumpxml', 'a b'], ['echo', 'a;b', '', 'x#y']]
    """
    found: list[list[str]] = [[]]
    word: str | None = None
    at = 0
    while at < len(text):
        character = text[at]
        if character in BLANK or character in ENDS or (character == "#" and word is None):
            if word is not None:
                found[-1].append(word)
                word = None
            if character == "#":
                at = end_of_line(text, at)
                continue
            if character in ENDS:
                found.append([])
            at += 1
        elif character in "'\"":
            quoted, at = quotation(text, at)
            word = (word or "") + quoted
        elif character == "\\":
            word = escaped(text, at, word)
            at += 2
        else:
            word = (word or "") + character
            at += 1
    if word is not None:
        found[-1].append(word)
    return [words for words in found if words]


def end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def escaped(text: str, at: int, word: str | None) -> str | None:
    """With the character behind a backslash; an end of a line behind one is nothing at all."""
    if at + 1 >= len(text):
        raise ConfigError("the command ends with a backslash, which says nothing; write it twice")
    return word if text[at + 1] == "\n" else (word or "") + text[at + 1]


def quotation(text: str, start: int) -> tuple[str, int]:
    r"""What is between quotes, and where it goes on. Between double quotes a backslash takes what `"` and `\\` mean."""
    quote, said, at = text[start], "", start + 1
    while at < len(text) and text[at] != quote:
        if quote == '"' and text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        said += text[at]
        at += 1
    if at == len(text):
        raise ConfigError(f"there is a {quote} without another; end what it begins")
    return said, at + 1
