"""Machines' snapshots in virsh's words."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Inn

from innkeeper import storage
from innkeeper.cli import snapshots
from innkeeper.testing.guests import SPIN, flat_guest


@pytest.fixture
def web(user: Path, inn: Inn, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a machine with two disks."""
    monkeypatch.chdir(user)
    disks = ""
    for name, target in (("a", "vda"), ("b", "vdb")):
        storage.create(user / f"{name}.qcow2", 1 << 20, image_format="qcow2")
        disks += f"<disk type='file'><driver type='qcow2'/><source file='{user}/{name}.qcow2'/><target dev='{target}'/></disk>"
    text = f"<domain type='bt'><name>web</name><memory unit='MiB'>64</memory><devices>{disks}</devices></domain>"
    (user / "web.xml").write_text(text)
    inn("define web.xml")
    return user


@pytest.mark.usefixtures("web")
def test_a_tree_grows_and_is_shown(inn: Inn) -> None:
    assert inn("snapshot-create-as web one words") == "Domain snapshot one created\n\n"
    inn("virsh snapshot-create-as --domain web --name two")
    inn("snapshot-create-as web two-and-more")
    assert inn("snapshot-revert web one") == "Domain snapshot one reverted\n\n"
    inn("snapshot-create-as web three")
    inn("snapshot-create-as web four")
    assert inn("snapshot-list web --tree") == (
        "one\n  |\n  +- three\n  |   |\n  |   +- four\n  |     \n  +- two\n      |\n      +- two-and-more\n        \n\n"
    )
    assert inn("snapshot-list web --tree --from two") == "two\n  |\n  +- two-and-more\n    \n\n"
    rows = inn("snapshot-list web --parent").splitlines()
    assert rows[0].split() == ["Name", "Creation", "Time", "State", "Parent"]
    assert rows[2].startswith(" four           20")
    assert [row.split()[-2:] for row in rows[2:4]] == [["shutoff", "three"], [rows[3].split()[-2], "shutoff"]]
    for options, names in (
        ("--roots", "one"),
        ("--from one", "three two"),
        ("--from one --descendants", "four three two two-and-more"),
        ("--leaves", "four two-and-more"),
        ("--no-leaves", "one three two"),
        ("--current", ""),
        ("--external", ""),
        ("--internal --topological", "one three two four two-and-more"),
        ("--active", ""),
        ("--no-metadata", ""),
    ):
        assert inn(f"snapshot-list web --name {options}").split() == names.split(), options
    assert inn("snapshot-info web --snapshotname one") == (
        "Name:           one\nDomain:         web\nCurrent:        no\nState:          shutoff\nLocation:       internal\n"
        "Parent:         -\nChildren:       2\nDescendants:    4\nMetadata:       yes\n\n"
    )
    assert inn("snapshot-parent web --current") == "three\n\n"
    assert inn("snapshot-current web --name") == "four\n\n"
    assert inn("snapshot-current web two") == "Snapshot two set as current\n\n"
    assert inn("snapshot-dumpxml web two") == inn("snapshot-current web")
    assert json.loads(inn("snapshot-info web one --json"))["description"] == "words"
    assert inn("snapshot-delete web one --children-only") == "Domain snapshot one children deleted\n\n"
    assert inn("snapshot-delete web one --metadata") == "Domain snapshot one deleted\n\n"
    assert inn("snapshot-list web --json") == "[]\n"


def test_overlays_are_laid_and_merged(inn: Inn, web: Path) -> None:
    assert inn("snapshot-create-as web one --disk-only --atomic --diskspec vdb,snapshot=no").startswith(
        "Domain snapshot one"
    )
    assert str(web / "a.one") in inn("domblklist web")
    (web / "s.xml").write_text(inn("snapshot-create-as web two words vda,file=over,,lay vdb,snapshot=no --print-xml"))
    assert inn("snapshot-create web s.xml --disk-only") == "Domain snapshot two created from 's.xml'\n\n"
    assert (web / "over,lay").exists()
    (web / "again.xml").write_text(inn("snapshot-dumpxml web two"))
    inn("snapshot-delete web two --metadata")
    assert inn("snapshot-create web again.xml --redefine --current").startswith("Domain snapshot two created")
    for name in ("one", "two"):
        assert inn(f"snapshot-delete web {name}") == f"Domain snapshot {name} deleted\n\n"
    assert str(web / "a.qcow2") in inn("domblklist web")
    assert not list(web.glob("*one")) + list(web.glob("over*"))


@pytest.mark.usefixtures("web")
def test_a_machine_with_snapshots_is_not_forgotten_by_mistake(inn: Inn) -> None:
    name = inn("snapshot-create web").split()[2]
    assert "machine web has 1 snapshots" in inn("undefine web", status=2)
    inn("undefine web --snapshots-metadata")
    assert "there is no machine 'web'" in inn(f"snapshot-info web {name}", status=2)
    inn("define web.xml")
    assert inn("snapshot-list web --name") == "\n"


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("snapshot-info web", "say exactly one of both"),
        ("snapshot-info web one --current", "say exactly one of both"),
        ("snapshot-info web one", "machine web has no snapshot 'one'; inn snapshot-list web shows all"),
        ("snapshot-info web --current", "machine web has no current snapshot"),
        ("snapshot-list web --tree --leaves", "--tree and --leaves exclude each other"),
        ("snapshot-create web --redefine", "--redefine needs the snapshot's XML"),
        ("snapshot-create web --current", "--current is for --redefine"),
        ("snapshot-create-as web --quiesce --disk-only", "machine web does not run, so nobody writes to its disks"),
        ("snapshot-create-as web --quiesce", "--quiesce is for snapshots of disks alone; add --disk-only"),
        ("snapshot-create-as web --live", "--live cannot be had here: the guest stands still"),
        ("snapshot-create-as web --memspec file=/a", "machine web does not run, so it has no memory to keep"),
        ("snapshot-create-as web --memspec /a,snapshot=inside", "the snapshot's memory is 'inside'; it must be one of"),
        ("snapshot-create-as web --memspec snapshot=external", "the file of the snapshot's memory is None"),
        ("snapshot-create-as web --memspec /a,snapshot=internal", "so it has no file of its own"),
        ("snapshot-create-as web --memspec /a,size=3", "has 'size=3'; it knows file and snapshot"),
        ("snapshot-create-as web --memspec /a --disk-only", "--memspec is of memory, and --disk-only is without"),
        ("snapshot-create-as web --diskspec vda,driver=raw", "'driver=raw'; it knows snapshot, file"),
        ("snapshot-create-as web --diskspec vdz", "machine web has no disk 'vdz'"),
        ("snapshot-create-as web a/b", "a snapshot's name is 'a/b'"),
        ("snapshot-revert web one --paused --running", "not allowed with argument --paused"),
        ("snapshot-revert web one --reset-nvram", "--reset-nvram is for a machine that is started"),
        ("snapshot-delete web one --children --children-only", "give one of both"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(inn: Inn, words: str, said: str) -> None:
    assert said in inn(f"virsh {words}", status=1)


def test_a_machine_that_runs_has_its_memory_in_a_snapshot(inn: Inn, web: Path) -> None:
    (web / "guest").write_bytes(flat_guest(SPIN))
    text = (web / "web.xml").read_text()
    (web / "web.xml").write_text(
        text.replace("<devices>", f"<os><type>hvm</type><kernel>{web}/guest</kernel></os><devices>")
    )
    inn("undefine web")
    inn("define web.xml")
    inn("start web")
    assert inn("snapshot-create-as web one") == "Domain snapshot one created\n\n"
    inn("suspend web")
    (web / "s.xml").write_text(inn("snapshot-create-as web two --memspec memory,,file,snapshot=external --print-xml"))
    inn("snapshot-create web s.xml --halt")
    assert "shut off" in inn("domstate web")
    assert (web / "memory,file").exists()
    for name, state, location in (("one", "running", "internal"), ("two", "paused", "external")):
        info = json.loads(inn(f"snapshot-info web {name} --json"))
        assert (info["state"], info["location"]) == (state, location)
    assert inn("snapshot-list web --name --active") == "one\ntwo\n\n"
    assert inn("snapshot-list web --name --inactive") == "\n"
    assert f'<memory snapshot="external" file="{web}/memory,file" />' in inn("snapshot-dumpxml web two")
    assert '<memory snapshot="internal" />' in inn("snapshot-dumpxml web one")
    inn("snapshot-revert web two")
    assert "paused" in inn("domstate web")
    inn("snapshot-revert web one --paused")
    assert "paused" in inn("domstate web")
    inn("snapshot-revert web two --running")
    assert "running" in inn("domstate web")
    assert "overlays, which are merged while it does not; shut it off" in inn("snapshot-delete web two", status=2)
    inn("destroy web")
    for name in ("two", "one"):
        inn(f"snapshot-delete web {name}")
    assert not (web / "memory,file").exists()
    assert list((web / "state" / "innkeeper" / "snapshots").iterdir()) == []


def test_each_verb_has_help_and_json(inn: Inn) -> None:
    for verb in snapshots.VERBS:
        assert "--json" in inn(f"virsh {verb} --help")


def test_disks_say_how_large_they_are(inn: Inn, web: Path) -> None:
    size = (web / "a.qcow2").stat()
    rows = inn("domblkinfo web --all").splitlines()
    assert rows[2].split() == ["vda", str(1 << 20), str(size.st_blocks * 512), str(size.st_size)]
    assert inn("virsh domblkinfo web vdb --human").startswith("Capacity:       1.000 MiB\nAllocation:")
    assert "has no disk vdz; it has vda, vdb" in inn("domblkinfo web vdz", status=2)
