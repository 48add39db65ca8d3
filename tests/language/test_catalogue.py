"""Catalogues of messages, and the way back from a sentence to its template."""

from pathlib import Path

import polib
import pytest

from innkeeper.language import Catalogue

MESSAGES = {
    "there is no machine {0}; inn list --all shows all": "没有虚拟机 {0}；inn list --all 列出全部",
    "cannot read {0}: {1}": "无法读取 {0}：{1}",
    "no such file": "没有这个文件",
    "{0}: {1}": "{0}：{1}",
    "it holds {{0}} and {0}": "它含有 {{0}} 和 {0}",
    "{1} before {0}": "{0} 在 {1} 之后",
    "untranslated {0}": "",
}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    file = polib.POFile()
    file.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    for msgid, msgstr in MESSAGES.items():
        file.append(polib.POEntry(msgid=msgid, msgstr=msgstr))
    path: Path = tmp_path_factory.mktemp("language") / "a.mo"
    file.save_as_mofile(str(path))
    with path.open("rb") as opened:
        return Catalogue(opened)


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("no such file", "没有这个文件"),
        ("no such file\n", "没有这个文件\n"),
        ("there is no machine 'web'; inn list --all shows all", "没有虚拟机 'web'；inn list --all 列出全部"),
        ("cannot read /a: b: no such file", "无法读取 /a：b：没有这个文件"),
        ("it holds {0} and {1}", "它含有 {0} 和 {1}"),
        ("a before b", "b 在 a 之后"),
        ("untranslated x", "untranslated x"),
        ("what nobody says", "what nobody says"),
        ("cannot read %s %(x)d {9}\n: no such file", "无法读取 %s %(x)d {9}\n：没有这个文件"),
        ("", ""),
        ("\n", "\n"),
    ],
)
def test_a_sentence_is_said_as_its_template_is(catalogue: Catalogue, english: str, chinese: str) -> None:
    assert catalogue.said(english) == chinese
