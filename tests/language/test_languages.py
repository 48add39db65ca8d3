"""Every language's catalogue is whole, and every command speaks under every locale."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import polib
import pytest

from innkeeper.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]
PLACES = re.compile(r"\{\d+\}|%\(\w+\)[sdr]|%[sdr]\b")
LOCALES = {"C": {"LC_ALL": "C"}, "zh_CN.UTF-8": {"LC_ALL": "zh_CN.UTF-8"}, "unset": {}}
MISTAKES = {"virsh": 1}  # as virsh has it
HAN = re.compile(r"[\u4e00-\u9fff]")
# One process says all of it: one for each verb would take minutes.
PROGRAM = """
import contextlib, io, json
from innkeeper.cli import VERBS, main
said = {}
for verb in VERBS:
    for words in ([verb, "--help"], [verb, "--no-such-option"]):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                status = main(words)
            except SystemExit as end:
                status = end.code
        said[" ".join(words)] = [status, out.getvalue()]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def messages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("messages", ROOT / "scripts/messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def catalogues() -> list[Path]:
    found = sorted(ROOT.glob("src/innkeeper/language/locales/*/LC_MESSAGES/*.po"))
    assert found
    return found


@pytest.mark.parametrize("path", catalogues(), ids=lambda path: path.parent.parent.name)
def test_the_catalogue_has_what_the_code_says_and_nothing_else(path: Path, messages: ModuleType) -> None:
    catalogue = polib.pofile(str(path))
    assert {entry.msgid for entry in catalogue} == set(messages.collected()), "run python scripts/messages.py"
    assert [entry.msgid for entry in catalogue if not entry.msgstr] == []


@pytest.mark.parametrize("path", catalogues(), ids=lambda path: path.parent.parent.name)
def test_translations_have_the_places_of_their_messages(path: Path) -> None:
    catalogue = polib.pofile(str(path))
    wrong = [
        entry.msgid
        for entry in catalogue
        if sorted(PLACES.findall(entry.msgid)) != sorted(PLACES.findall(entry.msgstr))
    ]
    assert wrong == []
    compiled = polib.mofile(str(path.with_suffix(".mo")))
    assert {entry.msgid: entry.msgstr for entry in compiled} == {entry.msgid: entry.msgstr for entry in catalogue}


def spoken(locale: dict[str, str]) -> dict[str, tuple[int, str]]:
    """What every verb says to a question for help and to a mistake."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=own | locale, capture_output=True, text=True, check=True, timeout=120
    )
    said: dict[str, tuple[int, str]] = {
        words: (status, text) for words, (status, text) in json.loads(done.stdout).items()
    }
    return said


@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
def test_every_command_speaks_under_every_locale(locale: dict[str, str]) -> None:
    said = spoken(locale)
    assert len(said) == 2 * len(VERBS)
    chinese = "zh" in locale.get("LC_ALL", "")
    for words, (status, text) in said.items():
        asked_for_help = words.endswith("--help")
        assert status == (0 if asked_for_help else MISTAKES.get(words.split()[0], 2)), (words, text)
        assert text.startswith(
            ("用法：" if asked_for_help else "错误：") if chinese else ("usage: " if asked_for_help else "error: ")
        )
        assert bool(HAN.search(text)) == chinese, (words, text)


def test_a_terminal_that_lacks_the_characters_gets_them_escaped() -> None:
    own = os.environ | {"LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "innkeeper.cli", "image", "create", "x"]
    done = subprocess.run(command, env=own, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"\\u9519\\u8bef")
