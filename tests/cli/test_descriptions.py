"""What machines, networks, pools and snapshots are called, in virsh's words; and events of networks and pools."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.cli.conftest import Inn

from innkeeper import storage
from innkeeper.cli import main
from innkeeper.manager import connect
from innkeeper.testing.guests import SPIN, flat_guest

XML = """<domain type='bt'><name>web</name><memory unit='MiB'>16</memory><os><type>hvm</type><kernel>{}</kernel></os>
<devices><disk type='file'><driver type='qcow2'/><source file='{}'/><target dev='vda'/></disk></devices></domain>"""


@pytest.fixture(autouse=True)
def web(user: Path, inn: Inn, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(user)
    (user / "guest").write_bytes(flat_guest(SPIN))
    storage.create(user / "disk.qcow2", 1 << 20, image_format="qcow2")
    (user / "web.xml").write_text(XML.format(user / "guest", user / "disk.qcow2"))
    inn("define web.xml")
    return user


def test_a_machine_is_described(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    assert inn("desc web") == "No description for domain: web\n\n"
    assert inn("virsh desc web --title") == "No title for domain: web\n\n"
    assert inn("virsh desc web --config --title The web") == "Domain title updated successfully\n\n"
    assert inn("desc web a --current b <c>") == "Domain description updated successfully\n\n"
    assert inn("desc web") == "a b <c>\n\n"
    assert json.loads(inn("desc --title web --json")) == {"name": "web", "title": "The web"}
    assert "The web" in inn("list --all --title")
    assert inn("desc --domain web --new-desc other").startswith("Domain description updated")
    monkeypatch.setenv("EDITOR", "true")
    assert inn("desc web --edit") == "Domain description not changed\n\n"
    monkeypatch.setenv("EDITOR", "sed -i s/other/edited/")
    assert inn("desc web --edit") == "Domain description updated successfully\n\n"
    assert inn("desc web") == "edited\n\n"
    assert "<title>The web</title>\n  <description>edited</description>" in inn("dumpxml web")
    with connect() as manager:
        manager.descriptions.describe_domain("web", "title", "")
    assert inn("desc web --title") == "No title for domain: web\n\n"
    assert "what runs is not described apart" in inn("desc web x --live", status=2)
    assert main(["desc", "web", "--title", "two\nlines"]) == 2
    assert "characters that XML cannot say" in inn("desc web \a", status=2)


def test_a_network_is_described(inn: Inn) -> None:
    assert inn("net-desc default") == "No description for network: default\n\n"
    assert inn("virsh net-desc default --title To the world") == "Network title updated successfully\n\n"
    assert inn("net-desc default --title") == "To the world\n\n"
    assert "<title>To the world</title>" in inn("net-dumpxml default")


def test_a_machine_gets_another_name_with_its_snapshots(inn: Inn, web: Path) -> None:
    uuid = inn("domuuid web").strip()
    inn("snapshot-create-as web one")
    inn("snapshot-create-as web two --disk-only")
    (web / "other.xml").write_text(XML.format(web / "guest", web / "none").replace("<name>web", "<name>db"))
    inn("define other.xml")
    assert "there is a machine db already" in inn("domrename web db", status=2)
    assert "a machine's name is 'a/b'" in inn("domrename web a/b", status=2)
    assert inn("virsh domrename web www") == "Domain successfully renamed\n\n"
    assert inn("list --all --name").split() == ["db", "www"]
    assert inn("domuuid www").strip() == uuid
    assert "<name>www</name>" in inn("dumpxml www")
    inn("snapshot-revert www one")
    assert "<name>www</name>" in inn("dumpxml www")
    inn("start www")
    assert "machine www runs" in inn("domrename www web", status=2)
    inn("managedsave www")
    assert "has a managed save" in inn("domrename www web", status=2)
    inn("managedsave-remove www")
    assert json.loads(inn("domrename --domain www --new-name web --json")) == {"name": "web", "before": "www"}


def test_a_pool_is_edited(inn: Inn, web: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inn("pool-define-as disks dir --target pool")
    uuid = inn("pool-uuid disks")
    monkeypatch.setenv("EDITOR", f"sed -i s,{web}/pool,{web}/other,")
    assert inn("virsh pool-edit disks") == "Pool disks XML configuration edited.\n\n"
    assert f"<path>{web}/other</path>" in inn("pool-dumpxml disks")
    assert inn("pool-uuid disks") == uuid
    assert inn("pool-edit disks") == "Pool disks XML configuration not changed.\n\n"


def test_a_snapshot_is_edited(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    inn("snapshot-create-as web one words")
    inn("snapshot-create-as web two --disk-only")
    inn("snapshot-create-as web three --disk-only")
    monkeypatch.setenv("EDITOR", "sed -i s/words/others/")
    assert inn("virsh snapshot-edit web one") == "Snapshot one edited.\n\n"
    assert "<description>others</description>" in inn("snapshot-dumpxml web one")
    assert inn("snapshot-edit web one --current") == "Snapshot one XML configuration not changed.\n\n"
    assert inn("snapshot-current web --name") == "one\n\n"
    monkeypatch.setenv("EDITOR", "sed -i 's,<name>two,<name>deux,'")
    assert "--rename or --clone says what is meant" in inn("snapshot-edit web two", status=2)
    assert inn("snapshot-edit web two --rename") == "Snapshot two renamed to deux.\n\n"
    assert inn("snapshot-parent web three") == "deux\n\n"
    monkeypatch.setenv("EDITOR", "sed -i 's,<name>three,<name>drei,'")
    assert inn("snapshot-edit web --clone --snapshotname three") == "Snapshot three cloned to drei.\n\n"
    assert inn("snapshot-list web --name").split() == ["deux", "drei", "one", "three"]
    monkeypatch.setenv("EDITOR", "sed -i 's,<name>one,<name>eins,'")
    assert "within the images of its disks under that name" in inn("snapshot-edit web one --rename", status=2)
    assert "no snapshot is named" in inn("snapshot-edit web", status=2)
    assert inn("snapshot-list web --name").split() == ["deux", "drei", "one", "three"]


@pytest.mark.parametrize(
    ("words", "do", "said"),
    [
        ("pool-event --event lifecycle", "pool-destroy default", "event 'lifecycle' for storage pool default: Stopped"),
        ("pool-event default --event refresh", "pool-refresh default", "event 'refresh' for storage pool default"),
        (
            "net-event --event lifecycle --network own",
            "net-define own.xml",
            "event 'lifecycle' for network own: Defined",
        ),
    ],
)
def test_events_of_pools_and_networks_are_waited_for(inn: Inn, web: Path, words: str, do: str, said: str) -> None:
    (web / "own.xml").write_text("<network><name>own</name><forward mode='user'/></network>")
    inn("net-define own.xml")
    command = [sys.executable, "-m", "innkeeper.cli", "virsh", *words.split(), "--timeout", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        ended = threading.Event()

        def act() -> None:
            while not ended.is_set():  # until it listens, which it does not begin to between the two
                waiting.send_signal(signal.SIGSTOP)
                main(do.split())
                main(["pool-start", "default"])
                waiting.send_signal(signal.SIGCONT)
                time.sleep(0.1)

        thread = threading.Thread(target=act)
        thread.start()
        output, _ = waiting.communicate(timeout=90)
        ended.set()
        thread.join()
    assert output == f"{said}\nevents received: 1\n\n"


def test_kinds_of_events_are_listed(inn: Inn) -> None:
    assert inn("pool-event --list") == "lifecycle\nrefresh\n"
    assert inn("net-event --list") == "lifecycle\n"
    assert "it must be of lifecycle, refresh" in inn("pool-event --event x", status=2)
    assert "nothing says what to wait for" in inn("net-event", status=2)
    assert "there is no network" in inn("net-event nothing --event lifecycle", status=2).replace(
        "no network 'n", "there is no network n"
    )
