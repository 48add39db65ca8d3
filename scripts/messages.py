"""Keeps the catalogues of messages in step with the code: `python scripts/messages.py`.

Collects what the code says to people, adds what is new to each language's .po file, marks what is gone as obsolete, compiles the .mo files, and
says how many messages wait for a translation.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import polib

from innkeeper.view.page import messages

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "innkeeper"
LINES_LIMIT = 3
LOCALES = SOURCE / "language" / "locales"
PROGRAMMERS = {SOURCE / "records.py"}  # whose errors are for those who write code
SPEAKERS = {
    "say",
    "complain",
    "translate",
    "print",
    "show",
    "show_facts",
    "table",
}  # functions whose words are for people
LOGGERS = {"debug", "info", "warning", "error", "exception"}
KEYWORDS = {"help", "description", "epilog", "title"}
ERRORS = re.compile(r"(Error|Failure|Unavailable|Request|OutOfTime|ArgumentTypeError)$")
HAS_WORD = re.compile(r"[a-z]{2}|^[A-Z]{2,}$")
SENTENCE = re.compile(r"[A-Za-z]+[:,']? +.*[A-Za-z]")
PERCENT = re.compile(r"%[-#0 +]*\d*(?:\.\d+)?[sdrgfx]")
BRACES = re.compile(r"\{\}")
ARGPARSE = re.compile(r"_\(\s*((?:'[^']*'|\"[^\"]*\")(?:\s*(?:'[^']*'|\"[^\"]*\"))*)")
RUST = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


class Collector(ast.NodeVisitor):
    """The messages of one file, with their lines."""

    def __init__(self, path: Path) -> None:
        self.found: list[tuple[str, int]] = []
        self._cli = "cli" in path.parts

    def visit_Raise(self, node: ast.Raise) -> None:
        if isinstance(node.exc, ast.Call) and ERRORS.search(name_of(node.exc.func)):
            for argument in node.exc.args:
                self._take(argument)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = name_of(node.func)
        if ERRORS.search(name) or (self._cli and name in SPEAKERS):
            for argument in node.args:
                self._take(argument)
        if name == "Refused" and self._cli:
            self._take(node.args[0])  # why an option cannot be had
        if name in LOGGERS and node.args:
            self._take(node.args[0], percent=True)
        for keyword in node.keywords:
            if keyword.arg in KEYWORDS:
                self._take(keyword.value)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._take_constant(node.targets[0], node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._take_constant(node.target, node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._take_constant(node.target, node.value)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        """Sentences are put together by functions too."""
        if node.value is not None:
            self._take(node.value, sentences=True)
        self.generic_visit(node)

    def _take_constant(self, target: ast.expr, value: ast.expr) -> None:
        """What an enumeration's members or a constant say, if it is a sentence; of the commands' tables each value."""
        if isinstance(value, ast.Dict) and self._cli:
            keys = [key for key in value.keys if key is not None] if name_of(target) == "facts" else []
            for part in [*value.values, *keys]:
                self._take(part, sentences=name_of(target) != "facts")
        elif isinstance(value, ast.Constant | ast.JoinedStr | ast.BinOp | ast.IfExp | ast.Tuple):
            self._take(value, sentences=name_of(target) != "WORDS")

    def _take(self, node: ast.AST, *, percent: bool = False, sentences: bool = False) -> None:
        if isinstance(node, ast.JoinedStr):
            self._add(template_of(node), node, sentences=sentences)
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    self._take_choices(part.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = numbered(node.value, PERCENT if percent else BRACES)
            self._add(text, node, sentences=sentences)
        else:
            for part in parts_of(node):
                self._take(part, percent=percent, sentences=sentences)

    def _take_choices(self, node: ast.AST) -> None:
        """Words that depend on something, within a message."""
        for part in ast.walk(node):
            if isinstance(part, ast.IfExp):
                self._take(part)

    def _add(self, text: str, node: ast.expr, *, sentences: bool) -> None:
        core = text.strip()
        bare = re.sub(r"\{\d+\}", "", core)
        if core.count("\n") > LINES_LIMIT:
            return  # a file's text
        if HAS_WORD.search(bare) and (not sentences or SENTENCE.search(bare)):
            self.found.append((core, node.lineno))


def parts_of(node: ast.AST) -> list[ast.expr]:
    """What may be said in the end by an expression of several."""
    match node:
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.Tuple() | ast.List():
            return node.elts
        case ast.BoolOp():
            return node.values
        case ast.BinOp(op=ast.Add()):
            return [node.left, node.right]
        case _:
            return []


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def template_of(node: ast.JoinedStr) -> str:
    text, number = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value).replace("{", "{{").replace("}", "}}")
        else:
            text += f"{{{number}}}"
            number += 1
    return text


def numbered(text: str, place: "re.Pattern[str]") -> str:
    """A message whose places are `%s`, as the log has them, or `{}`."""
    parts = [part.replace("{", "{{").replace("}", "}}") for part in place.split(text)]
    return "".join(part + (f"{{{at}}}" if at < len(parts) - 1 else "") for at, part in enumerate(parts))


def collected() -> dict[str, list[tuple[str, str]]]:
    """Each message, and where it is said."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted({*SOURCE.rglob("*.py")} - PROGRAMMERS):
        collector = Collector(path)
        collector.visit(ast.parse(path.read_text()))
        for text, line in collector.found:
            found.setdefault(text, []).append((str(path.relative_to(ROOT)), str(line)))
    for text in messages((ROOT / "web/index.html").read_text()):
        found.setdefault(text, []).append(("web/index.html", ""))
    for text in of_argparse():
        found.setdefault(text, []).append(("argparse", ""))
    return found


def of_argparse() -> Iterator[str]:
    """The words of Python's own parser of commands, as it asks gettext for them."""
    for match in ARGPARSE.finditer(Path(argparse.__file__).read_text()):
        yield "".join(ast.literal_eval(part) for part in re.findall(r"'[^']*'|\"[^\"]*\"", match[1]))


def update(path: Path, messages: dict[str, list[tuple[str, str]]]) -> polib.POFile:
    """One language's file, in the order of the code."""
    catalogue = polib.pofile(str(path), wrapwidth=140)
    known: dict[str, polib.POEntry] = {entry.msgid: entry for entry in catalogue}
    for entry in list(catalogue):
        if entry.msgid not in messages:
            catalogue.remove(entry)
    for text, places in messages.items():
        if text not in known:
            known[text] = polib.POEntry(msgid=text)
            catalogue.append(known[text])
        known[text].occurrences = [(place, "") for place in dict.fromkeys(place for place, _ in places)]
    order = {text: at for at, text in enumerate(messages)}
    catalogue.sort(key=lambda entry: order[entry.msgid])
    return catalogue


def main() -> int:
    said = collected()
    waiting = 0
    for path in sorted(LOCALES.glob("*/LC_MESSAGES/*.po")):
        catalogue = update(path, said)
        catalogue.save(str(path))
        catalogue.save_as_mofile(str(path.with_suffix(".mo")))
        missing = [entry for entry in catalogue if not entry.msgstr]
        waiting += len(missing)
        print(f"{path.parent.parent.name}: {len(catalogue)} messages, {len(missing)} to be translated")
    return 1 if waiting else 0


if __name__ == "__main__":
    sys.exit(main())
