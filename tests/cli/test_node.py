"""What is said of the host, with virsh's words."""

import json
import os
import platform
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from innkeeper.cli import main


@pytest.fixture(autouse=True)
def folders(user: Path) -> Path:
    return user


def test_the_host_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodeinfo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["CPU(s)"] == str(os.cpu_count())
    assert found["CPU model"] == platform.machine()
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert found["Memory size"] == f"{total.split()[1]} KiB"
    assert main(["virsh", "nodeinfo"]) == 0
    assert f"CPU(s):              {os.cpu_count()}\n" in capsys.readouterr().out


def test_memory_and_time_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodememstats", "--json"]) == 0
    memory = json.loads(capsys.readouterr().out)
    assert 0 < memory["free"] < memory["total"]
    assert main(["nodecpustats", "--percent", "--json"]) == 0
    shares = json.loads(capsys.readouterr().out)
    assert sum(share for kind, share in shares.items() if kind != "usage") == pytest.approx(100)
    assert main(["nodecpustats"]) == 0
    assert "idle:" in capsys.readouterr().out


def test_capabilities_are_documents(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["virsh", "capabilities"]) == 0
    root = ET.fromstring(capsys.readouterr().out)
    kinds = [each.get("type") for each in root.findall("guest/arch/domain")]
    assert "interp" in kinds
    assert main(["domcapabilities", "--virttype", "interp"]) == 0
    root = ET.fromstring(capsys.readouterr().out)
    buses = root.find("devices/disk/enum[@name='bus']")
    assert buses is not None
    assert [each.text for each in buses] == ["virtio", "ide", "sata"]
    assert main(["domcapabilities", "--arch", "s390x"]) == 2
    assert "arch is 's390x'; it must be x86_64" in capsys.readouterr().err
    assert main(["domcapabilities", "--virttype", "xen"]) == 2


def test_names_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["uri"]) == 0
    assert main(["virsh", "hostname"]) == 0
    assert main(["version", "--json"]) == 0
    uri, _, hostname, _, *version = capsys.readouterr().out.splitlines()
    assert (uri, hostname) == ("innkeeper:///session", platform.node())
    assert json.loads("".join(version))["host"] == f"Linux {platform.release()}"
