"""Storage pools and volumes in virsh's words."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Inn

from innkeeper.cli import storage


@pytest.fixture(autouse=True)
def _there(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(user)


def test_a_pool_lives_in_virshs_words(inn: Inn, user: Path) -> None:
    assert inn("virsh pool-define-as disks dir --target pool") == "Pool disks defined\n\n"
    assert inn("virsh pool-build --pool disks") == "Pool disks built\n\n"
    assert inn("pool-start disks") == "Pool disks started\n\n"
    assert inn("pool-autostart disks") == "Pool disks marked as autostarted\n\n"
    assert inn("pool-list") == (
        " Name      State    Autostart\n"
        "-------------------------------\n"
        " default   active   yes\n"
        " disks     active   yes\n\n"
    )
    assert inn("pool-autostart disks --disable") == "Pool disks unmarked as autostarted\n\n"
    uuid = inn("pool-uuid disks").strip()
    assert inn(f"pool-name {uuid}") == "disks\n\n"
    shown = inn("virsh pool-info disks --bytes").splitlines()
    assert shown[:5] == [
        "Name:           disks",
        f"UUID:           {uuid}",
        "State:          running",
        "Persistent:     yes",
        "Autostart:      no",
    ]
    assert shown[5].startswith("Capacity:       ")
    assert f"<path>{user / 'pool'}</path>" in inn("pool-dumpxml disks")
    for verb, done in (
        ("refresh", "refreshed"),
        ("destroy", "destroyed"),
        ("delete", "deleted"),
        ("undefine", "has been undefined"),
    ):
        assert inn(f"pool-{verb} disks") == f"Pool disks {done}\n\n"
    assert inn("pool-list --all --name") == "default\n"


def test_pools_come_from_files(inn: Inn, user: Path) -> None:
    (user / "p.xml").write_text(inn("pool-define-as x dir --target /srv/x --print-xml"))
    assert inn("pool-define p.xml") == "Pool x defined from p.xml\n\n"
    assert inn("pool-list --inactive --details").splitlines()[2].split() == [
        "x",
        "inactive",
        "no",
        "yes",
        "-",
        "-",
        "-",
    ]
    (user / "t.xml").write_text(inn("pool-define-as t dir --target t --print-xml"))
    assert inn("pool-create t.xml --build") == "Pool t created from t.xml\n\n"
    assert [pool["name"] for pool in json.loads(inn("pool-list --transient --json"))] == ["t"]
    assert inn("pool-list --type fs,netfs --all --name") == ""


def test_a_volume_lives_in_virshs_words(inn: Inn, user: Path) -> None:
    folder = user / "data/innkeeper/images"
    assert inn("virsh vol-create-as default v 10M") == "Vol v created\n\n"
    assert inn("vol-create-as --pool default --format qcow2 q 1GiB --allocation 0") == "Vol q created\n\n"
    assert inn("vol-list default") == (
        f" Name   Path\n{'-' * (len(str(folder)) + 12)}\n q      {folder}/q\n v      {folder}/v\n\n"
    )
    assert inn("vol-info v --pool default") == (
        "Name:           v\nType:           file\nCapacity:       10.00 MiB\nAllocation:     10.00 MiB\n\n"
    )
    assert "Capacity:       1073741824 bytes\n" in inn("vol-info --pool default q --bytes --physical")
    assert inn(f"vol-name {folder}/v") == "v\n\n"
    assert inn("vol-path v --pool default") == f"{folder}/v\n\n"
    assert inn("vol-key --vol v --pool default") == f"{folder}/v\n\n"
    assert inn(f"vol-pool {folder}/v") == "default\n\n"
    assert inn(f"vol-pool {folder}/v --uuid") == inn("pool-uuid default")
    assert inn("vol-clone q --newname r --pool default") == "Vol r cloned from q\n\n"
    assert inn("vol-resize r 2G default".replace(" default", " --pool default")).startswith("Size of volume 'r' succ")
    assert inn("vol-resize r --delta 1G --pool default").endswith("successfully changed by 1G\n\n")
    assert json.loads(inn("vol-resize r --delta --shrink 2G --pool default --json"))["capacity"] == 1 << 30
    assert inn("vol-wipe v --pool default --algorithm random") == "Vol v wiped\n\n"
    (user / "in").write_bytes(b"some bytes")
    assert inn("vol-upload v in --pool default --offset 1k") == ""
    assert inn("vol-download v out --pool default --offset 1024 --length 10") == ""
    assert (user / "out").read_bytes() == b"some bytes"
    (user / "v.xml").write_text(inn("vol-dumpxml q --pool default").replace("<name>q<", "<name>s<"))
    assert inn("vol-create default v.xml") == "Vol s created from v.xml\n\n"
    (user / "w.xml").write_text(inn("vol-create-as default w 1G --format qcow2 --print-xml"))
    assert inn("vol-create-from default w.xml q") == "Vol w created from input vol q\n\n"
    for name in "qrsvw":
        assert inn(f"vol-delete {name} --pool default") == f"Vol {name} deleted\n\n"
    assert inn("vol-list --pool default --details --json") == "[]\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pool-start", "pool is missing; give it, as in --pool POOL"),
        ("pool-start a b", "there is a word too many, 'b'"),
        ("pool-start nobody", "there is no pool 'nobody'; inn pool-list --all shows all"),
        ("pool-define-as a logical --target /a", "pool a is of type 'logical'; pools here are folders"),
        ("pool-define-as a dir --target /a --source-host b", "--source-host cannot be had here: a pool is a folder"),
        ("pool-build default --overwrite", "--overwrite is for pools that make a file system"),
        ("pool-list --details --name", "give one of both"),
        ("pool-list --type tape", "type 'tape' is no type of storage pools"),
        ("pool-define none.xml", "cannot read 'none.xml': No such file or directory"),
        ("vol-create-as default v", "capacity is missing"),
        ("vol-create-as default v much", "capacity is 'much'; it must be a whole number of bytes"),
        ("vol-create-as default v 1G --format vmdk", "volume v has format 'vmdk'; formats are raw and qcow2"),
        ("vol-create-as default ../v 1G", "a volume's name is '../v'"),
        ("vol-info ../v --pool default", "a volume's name is '../v'"),
        ("vol-info v", "volume 'v' is in no pool that is named; say which with --pool"),
        ("vol-info none/v", "is in the folder of no active pool"),
        ("vol-list nobody", "there is no pool 'nobody'"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(inn: Inn, words: str, said: str) -> None:
    assert said in inn(f"virsh {words}", status=1)
    assert inn(words, status=2).startswith("error: ")


def test_each_verb_has_help_and_json(inn: Inn) -> None:
    for verb in storage.VERBS:
        assert "--json" in inn(f"virsh {verb} --help")
