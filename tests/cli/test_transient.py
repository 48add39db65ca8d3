"""Verbs about machines that run without being kept."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Inn

from innkeeper.manager import read_xml
from innkeeper.testing.guests import SPIN, flat_guest

UUID = "5f0c3a52-7b3e-4f39-9d7a-000000000001"
XML = """<domain type='bt'><name>once</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory><os><type>hvm</type><kernel>{folder}/guest</kernel></os>
<devices><disk><source file='{folder}/disk'/><target dev='vda'/></disk><interface type='user'><mac address='52:54:00:00:00:01'/></interface></devices>
</domain>"""


@pytest.fixture(autouse=True)
def folder(user: Path, inn: Inn, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `once.xml` is, whose machine runs, kept by nobody."""
    monkeypatch.chdir(user)
    (user / "guest").write_bytes(flat_guest(SPIN))
    (user / "disk").write_bytes(bytes(1 << 20))
    (user / "once.xml").write_text(XML.format(uuid=UUID, folder=user))
    inn("create once.xml")
    return user


def test_every_verb_that_looks_knows_it(inn: Inn) -> None:
    number = inn("domid once").strip()
    for word in ("once", UUID, number):
        facts = {line.partition(":")[0]: line.partition(":")[2].strip() for line in inn(f"dominfo {word}").splitlines()}
        assert (facts["Id"], facts["Name"], facts["UUID"]) == (number, "once", UUID)
        assert (facts["State"], facts["Persistent"], facts["Autostart"]) == ("running", "no", "disable")
        assert inn(f"virsh domname {word}") == "once\n\n"
        assert inn(f"domuuid {word}").strip() == UUID
        assert inn(f"domstate {word}").strip() == "running"
        assert str(read_xml(inn(f"dumpxml {word}")).uuid) == UUID
        assert 'name = "once"' in inn(f"dumptoml {word}")
        assert "52:54:00:00:00:01" in inn(f"domiflist {word} --inactive")
        assert "vda" in inn(f"domblklist {word} --inactive --details")
        assert "No description for domain: once" in inn(f"desc {word}")
        assert inn(f"vcpucount {word}").split() == ["maximum", "live", "1", "current", "live", "1"]
        assert inn(f"snapshot-list {word} --name").split() == []
    assert inn("list --transient --uuid").split() == [UUID]
    assert inn("list --persistent --all --name").split() == []
    assert json.loads(inn("dominfo once --json"))["Persistent"] == "no"


def test_devices_are_named_by_the_document_of_what_runs(inn: Inn, folder: Path) -> None:
    (folder / "more").write_bytes(bytes(1 << 20))
    inn(f"attach-disk once {folder}/more vdb")
    assert f"{folder}/more" in inn("detach-disk once vdb --print-xml")
    assert "52:54:00:00:00:01" in inn("detach-interface once user --print-xml")
    assert 'state="down"' in inn("domif-setlink once 52:54:00:00:00:01 down --print-xml")
    inn("domif-setlink once 52:54:00:00:00:01 down")
    assert 'state="down"' in inn("dumpxml once")
    assert f"{folder}/more" in inn("dumpxml once")


@pytest.mark.parametrize(
    "words",
    [
        "undefine once",
        "virsh undefine once",
        "autostart once",
        "edit once",
        "edit once --toml",
        "domrename once other",
        "desc once words",
        "setmem once 8M --config",
        "detach-interface once user --persistent",
        "managedsave-remove once",
        "snapshot-create-as once a",
        "virt-install --reinstall once --pxe",
    ],
)
def test_verbs_that_change_a_definition_say_that_there_is_none(inn: Inn, words: str) -> None:
    said = inn(words, status=1 if words.startswith("virsh") else 2)
    assert "machine once is transient: it has no definition, and is forgotten when it ends; inn define keeps it" in said
    assert inn("domstate once").strip() == "running"


def test_a_name_that_is_taken_is_said_to_run(inn: Inn) -> None:
    said = inn("virt-install --name once --import --disk none --noautoconsole", status=2)
    assert "a machine named once runs already, without being kept; inn destroy once ends it" in said


def test_it_is_kept_as_it_runs_and_forgotten_again(inn: Inn, folder: Path) -> None:
    (folder / "kept.xml").write_text(inn("dumpxml once"))
    assert inn("define kept.xml").startswith("Domain 'once' defined")
    assert "Persistent:     yes" in inn("dominfo once")
    inn("autostart once")
    for options in ("--remove-all-storage", "--storage vda", "--nvram"):
        said = inn(f"undefine once {options}", status=2)
        assert (
            "machine once runs, and uses the files that are to be removed; end it first, with inn destroy once" in said
        )
    assert inn("list --autostart --name").split() == ["once"]
    assert json.loads(inn("undefine once --json"))["runs"]
    inn("define kept.xml")
    assert inn("virsh undefine once") == "Domain 'once' has been undefined\n"
    assert inn("list --transient --name").split() == ["once"]
    inn("destroy once")
    assert inn("list --all --name").split() == []
    assert (folder / "disk").exists()
    assert "there is no machine 'once'" in inn("dominfo once", status=2)
