"""Names that nobody means, through every word of every verb: one line that says what is wrong, and no shell ever sees them."""

import argparse
import ast
import os
import random
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from tests.conftest import end

from innkeeper import cli
from innkeeper.cli import main
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError
from innkeeper.manager import connect
from innkeeper.manager.service import Manager
from innkeeper.testing.guests import SPIN, flat_guest

XML = "<domain type='bt'><name>{}</name><memory unit='MiB'>64</memory><os><type>hvm</type><kernel>{}</kernel></os></domain>"
NAMES = (
    "../../etc/passwd",
    "/dev/full",
    ".",
    "..",
    "",
    " ",
    "x" * 10_000,
    "机器-мой-🏠",
    "-rf",
    "--all",
    "a\0b",
    "a\nb",
    "a\rerror: b",
    "\x1b]0;title\x07",
    "\udcff",
    "%s%n{}",
    "$(touch CANARY)",
    "`touch CANARY`",
    "; touch CANARY",
    "|touch CANARY",
    "a' OR 'a'='a",
    "<x>&amp;",
)
# What else than a name a verb takes where it takes one, so that it gets as far as the name.
PLAUSIBLE = {
    "type": "network", "mac": "52:54:00:00:00:01", "state": "up", "size": "65536", "count": "1", "capacity": "1M",
    "command": "add", "section": "dns-host", "xml": "<host ip='1.2.3.4'><hostname>a</hostname></host>",
}  # fmt: skip
SOAK = "INNKEEPER_SOAK" in os.environ
NO_NAME = {"run", "trace", "completion", "complete", "doctor", "image", "net", "virsh", "daemon", "top", "install"}
WAITING = {"console", "event", "view", "virt-viewer", "net-edit"}
"""Those that go on for ever if a name is one after all; they look names up as others do."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's, with one machine, so that some names are right; all tests have the same."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "run").mkdir(mode=0o700)
    (folder / "guest").write_bytes(flat_guest(SPIN))
    with pytest.MonkeyPatch.context() as patched:
        for variable, place in (("STATE_HOME", "state"), ("DATA_HOME", "data"), ("RUNTIME_DIR", "run")):
            patched.setenv(f"XDG_{variable}", str(folder / place))
        patched.chdir(folder)
        with connect() as manager:
            manager.domains.define(XML.format("web", folder / "guest"))
        yield folder
        end(int((folder / "run/innkeeper/manager.lock").read_text()))


@pytest.fixture
def manager(folder: Path) -> Iterator[Manager]:
    with connect() as manager:
        yield manager
        if not manager.domains.all():
            manager.domains.define(XML.format("web", folder / "guest"))


def words_of(verb: str) -> list[str]:
    """What its words are called, in their order."""
    parser = cli.make_parser([verb])
    choices = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction)).choices
    own = choices[verb]
    named = own.get_default("all_words")
    if named is not None:
        return list(named)
    return [each.dest.split()[0] for each in own._actions if not each.option_strings]


VERBS = [verb for verb in cli.VERBS if verb not in NO_NAME | WAITING and words_of(verb)]


def outcome(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as leaving:
        return int(leaving.code or 0)


def filled(verb: str, at: int, bad: str) -> list[str]:
    """The verb's words with a bad one at one place."""
    words = [PLAUSIBLE.get(each, "web") for each in words_of(verb)]
    words[at] = bad
    return [verb, *words]


def chosen(verb: str, at: int) -> list[str]:
    """All of them in a soak, else some for each word."""
    return list(NAMES) if SOAK else random.Random(f"{verb} {at}").sample(NAMES, 5)


@pytest.mark.parametrize("verb", VERBS)
def test_no_word_of_any_verb_surprises(
    manager: Manager, folder: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for at in range(len(words_of(verb))):
        for bad in chosen(verb, at):
            status = outcome(filled(verb, at, bad))
            said = capsys.readouterr().err
            where = f"{verb}, word {at}, {bad[:40]!r}: {said[:500]!r}"
            assert status in (Status.DONE, Status.MISTAKE), where
            assert status == Status.DONE or is_one_good_line(said), where
    if verb != "undefine":
        assert [each["name"] for each in manager.domains.all()] == ["web"]
    assert not list(folder.rglob("CANARY"))
    assert not Path("/CANARY").exists()  # where the manager works


def is_one_good_line(said: str) -> bool:
    line = said.removesuffix("\n")
    return line.startswith("error: ") and line.isprintable() and len(line) < 1000 and "internal" not in line


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "text"), [("domains", XML), ("networks", "<network><name>{}</name></network>")])
def test_nothing_is_kept_by_such_a_name(manager: Manager, folder: Path, kind: str, text: str, name: str) -> None:
    with pytest.raises(ConfigError):
        getattr(manager, kind).define(text.format(escape(name), folder / "guest"))


@pytest.mark.parametrize("name", NAMES)
def test_pools_have_names_in_all_scripts_or_none(manager: Manager, folder: Path, name: str) -> None:
    text = f"<pool type='dir'><name>{escape(name)}</name><target><path>{folder}/pool</path></target></pool>"
    if "/" in name or not name.isprintable() or len(name) > 255 or not name.strip():
        with pytest.raises(ConfigError):
            manager.pools.define(text)
    else:
        manager.pools.define(text)
        assert manager.pools.info(name)["name"] == name
        assert manager.pools.undefine(name) == name


def test_a_description_without_an_end_is_none(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("define", "net-define", "pool-define"):
        assert outcome([verb, "/dev/zero"]) == Status.MISTAKE
        assert "characters" in capsys.readouterr().err
    assert manager.domains.all()


def test_no_program_of_ours_starts_a_shell() -> None:
    source = Path(cli.__file__).parents[1]
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                words = {
                    each.arg for each in node.keywords if isinstance(each.value, ast.Constant) and each.value.value
                }
                assert "shell" not in words, path
                assert ast.unparse(node.func) not in ("os.system", "os.popen", "subprocess.getoutput"), path
