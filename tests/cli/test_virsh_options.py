"""The options of virsh's manual: taken, or refused by name with the reason."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import virsh
from tests.cli.virsh_options import OPTIONS

from innkeeper.cli import main, shell
from innkeeper.cli.shell.commands import COMMANDS, NAMES

XML = "<domain type='qemu'><name>web</name><memory unit='MiB'>64</memory></domain>"


@pytest.fixture(autouse=True)
def web(user: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(user)
    (user / "web.xml").write_text(XML)
    assert main(["define", "web.xml"]) == 0
    capsys.readouterr()
    return user


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_of_the_manual_is_taken_or_refused_by_its_name(name: str) -> None:
    known = {option for action in COMMANDS[name]._actions for option in action.option_strings}
    assert {f"--{option}" for option in OPTIONS[name].split()} - known == set()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("attach-disk web a vdb --rawio", "--rawio cannot be had here: SCSI commands"),
        ("attach-disk web a vdb --iothread=2", "--iothread cannot be had here: each disk has a thread"),
        ("attach-disk web a vdb --mode shareable", "mode is 'shareable'"),
        ("attach-interface web user --inbound 1,2,3", "--inbound cannot be had here: what a card carries"),
        ("autostart web --once", "--once cannot be had here"),
        ("capabilities --wrap", "--wrap is for what --xpath finds"),
        ("capabilities --xpath //nothing", "nothing is found by the XPath expression '//nothing'"),
        ("capabilities --xpath //cpu/@x", "finds no elements; @x is none"),
        ("capabilities --xpath //cpu[", "is none that is understood here"),
        ("domcapabilities kvm /usr/bin/qemu", "emulatorbin is '/usr/bin/qemu'"),
        ("domifaddr web --source fax", "source is 'fax'; it can be lease, arp, agent"),
        ("dommemstat web --period 2", "--period cannot be had here"),
        ("domstats --perf --enforce", "--perf is asked for with --enforce"),
        ("domstats --list-running web", "--list-running is given with web"),
        ("dumpxml web --migratable", "--migratable cannot be had here: machines are not moved"),
        ("nodecpustats 100000", "cpu is 100000; the host has no processor"),
        ("nodememstats 100000", "cell is 100000; the host has no NUMA node"),
        ("pool-define-as p dir - - /dev/sdb - /srv", "--source-dev cannot be had here: a pool is a folder"),
        ("pool-define-as p dir --target /srv --auth-type chap", "--auth-type cannot be had here"),
        ("shutdown web --mode signal", "mode is signal; guests here can be reached by"),
        ("reboot web --mode acpi,fax", "mode is 'fax'; it can be acpi, agent"),
        ("undefine web --storage vda --remove-all-storage", "--storage and --remove-all-storage are both given"),
        ("undefine web --storage vdz", "machine web has no disk vdz; it has none at all"),
        ("undefine web --wipe-storage", "--wipe-storage cannot be had here: wipe the volumes first"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason(
    capsys: pytest.CaptureFixture[str], words: str, complaint: str
) -> None:
    said = virsh(capsys, *words.split(), status=1)
    assert complaint in said
    assert said.count("\n") == 1


def test_words_of_the_manual_that_change_nothing_are_taken(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    virsh(capsys, "define", "--validate", "web.xml", status=1)  # another of that name, without its UUID
    assert virsh(capsys, "pool-define-as", "p", "dir", "-", "-", "-", "-", str(web)) == "Pool p defined\n\n"
    assert "Running against daemon: " in virsh(capsys, "version", "--daemon")
    assert virsh(capsys, "domstate", "web", "--reason") == "shut off (unknown)\n\n"
    assert virsh(capsys, "nodecpustats", "0").startswith("user:")
    assert virsh(capsys, "nodememstats", "0").startswith("total")
    assert "state.state=5" in virsh(capsys, "domstats", "--perf", "--state", "--list-shutoff", "--nowait", "--raw")


def test_lists_are_of_what_is_asked_for(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def listed(*options: str) -> list[str]:
        return virsh(capsys, "list", "--name", *options).split()

    assert listed() == []
    for options in (
        "--all",
        "--state-shutoff",
        "--state-running --state-shutoff",
        "--all --without-snapshot",
        "--all --without-checkpoint",
    ):
        assert listed(*options.split()) == ["web"], options
    for options in (
        "--state-running",
        "--state-other",
        "--all --with-snapshot",
        "--all --with-managed-save",
        "--all --with-checkpoint",
    ):
        assert listed(*options.split()) == [], options
    assert virsh(capsys, "list", "--all", "--id") == "-\n"
    assert re.fullmatch(r"-  [0-9a-f-]{36}  web\n", virsh(capsys, "list", "--all", "--id", "--uuid", "--name"))
    (web / "d.img").write_bytes(bytes(512))
    xml = virsh(capsys, "dumpxml", "web").replace(
        "</domain>",
        f"<devices><disk type='file'><source file='{web}/d.img'/><target dev='vda'/></disk></devices></domain>",
    )
    (web / "again.xml").write_text(xml)
    virsh(capsys, "define", "again.xml")
    assert f"{web}/d.img removed" in virsh(capsys, "undefine", "web", "--storage", "vda", "--keep-nvram", "--tpm")
    assert not (web / "d.img").exists()


def test_xml_is_shown_in_part_and_without_passwords(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xml = virsh(capsys, "dumpxml", "web").replace(
        "</domain>", "<devices><graphics type='vnc' passwd='secret'/></devices></domain>"
    )
    (web / "again.xml").write_text(xml)
    virsh(capsys, "define", "again.xml")
    assert "secret" not in virsh(capsys, "dumpxml", "web")
    assert 'passwd="secret"' in virsh(capsys, "dumpxml", "web", "--security-info")
    assert virsh(capsys, "dumpxml", "web", "--xpath", "/domain/name") == "<name>web</name>\n\n"
    wrapped = virsh(capsys, "dumpxml", "web", "--xpath", "//name", "--wrap")
    assert wrapped == "<nodes>\n  <name>web</name>\n</nodes>\n\n"
    assert virsh(capsys, "net-dumpxml", "default", "--xpath", "//range").startswith('<range start="192.168.122.2"')
    assert "<value>bios</value>" in virsh(
        capsys, "domcapabilities", "qemu", "innkeeper", "x86_64", "--xpath", "//os/enum"
    )


def test_devices_are_printed_instead_of_taken_away(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mac = "52:54:00:00:00:07"
    virsh(capsys, "attach-interface", "web", "user", "--mac", mac, "--config", "--alias", "ua-net")
    for words in (["detach-interface", "web", "user"], ["domif-setlink", "web", mac, "down"]):
        shown = virsh(capsys, *words, "--print-xml", "--config")
        assert f'<mac address="{mac}" />' in shown
        assert ('<link state="down" />' in shown) == (words[0] == "domif-setlink")
    assert mac in virsh(capsys, "domiflist", "web")
    (web / "d.img").write_bytes(bytes(512))
    virsh(capsys, "attach-disk", "web", "d.img", "vdb", "--config", "--io", "threads")
    assert f'<source file="{web}/d.img" />' in virsh(capsys, "detach-disk", "web", "vdb", "--print-xml")
    assert "vdb" in virsh(capsys, "domblklist", "web")


TALKING = {"console", "view", *shell.VERBS}
"""Commands whose answer is a conversation, or nothing."""


@pytest.mark.parametrize("name", sorted(set(NAMES) - TALKING))
def test_each_command_answers_programs_too(name: str) -> None:
    assert "--json" in COMMANDS[name].format_help()


def test_answers_for_programs_are_what_was_done(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(words: str) -> Any:
        return json.loads(virsh(capsys, *words.split(), "--json"))

    changed = {"name": "web", "live": False, "config": True, "done": True}
    assert told("autostart web") == {"name": "web", "autostart": True}
    assert told("domstate web") == {"state": "shut off", "reason": "unknown"}
    assert (told("domname web"), told("domid web")) == ({"name": "web"}, {"id": None})
    assert told("uri") == {"uri": "innkeeper:///session"}
    assert told("setmaxmem web 128M") == changed
    assert told("setmem web 100M --config") == changed
    (web / "d.img").write_bytes(bytes(512))
    assert told("attach-disk web d.img vdb") == changed
    assert told("detach-disk web vdb") == changed
    assert told("net-uuid default").keys() == {"uuid"}
    assert told("net-autostart default") == {"name": "default", "autostart": True}
    assert told("dumpxml web --xpath //name") == {"xml": "<name>web</name>"}
    (web / "web.toml").write_text(told("dumptoml web")["toml"])
    assert told("define web.toml")["new"] is False
    assert told("undefine web") == {"name": "web", "runs": False, "removed": [], "failed": {}}
