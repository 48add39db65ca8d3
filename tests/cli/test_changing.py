"""The verbs that change machines, on one that does not run: its definition changes, as virsh's would."""

from pathlib import Path

import pytest

from innkeeper.cli import main
from innkeeper.cli.machines.domifaddr import leased, neighbours

XML = """<domain type='qemu'><name>web</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><devices>
<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk></devices></domain>"""
MAC = "52:54:00:00:00:01"


@pytest.fixture(autouse=True)
def web(user: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    file = user / "web.xml"
    file.write_text(XML)
    (user / "b.img").write_bytes(bytes(1 << 16))
    assert main(["define", str(file)]) == 0
    capsys.readouterr()
    return user


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(list(words)) == status, capsys.readouterr().err
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def test_cards_come_and_go(capsys: pytest.CaptureFixture[str]) -> None:
    attach = ("virsh", "attach-interface", "web", "--type", "bridge", "--source", "br0", "--mac", MAC)
    assert '<source bridge="br0" />' in said(capsys, *attach, "--print-xml")
    assert "br0" not in said(capsys, "domiflist", "web")
    assert said(capsys, *attach, "--config") == "Interface attached successfully\n\n"
    assert "bridge   br0      virtio   52:54:00:00:00:01" in said(capsys, "domiflist", "web")
    assert said(capsys, "domif-setlink", "web", MAC, "down") == "Device updated successfully\n\n"
    assert said(capsys, "domif-getlink", "web", MAC) == f"{MAC} down\n\n"
    assert said(capsys, "virsh", "detach-interface", "web", "bridge") == "Interface detached successfully\n\n"
    assert "web has none" in said(capsys, "virsh", "detach-interface", "web", "bridge", status=1)


def test_disks_and_discs_come_and_go(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(web / "b.img")
    assert said(capsys, "virsh", "attach-disk", "web", image, "vdb", "--persistent") == "Disk attached successfully\n\n"
    assert image in said(capsys, "domblklist", "web", "--details")
    assert "the machine has a disk vdb" in said(capsys, "attach-disk", "web", image, "vdb", status=2)
    assert "Successfully inserted media." in said(capsys, "change-media", "web", "hdc", "--insert", image)
    assert "eject that first" in said(capsys, "change-media", "web", "hdc", image, "--insert", status=2)
    assert "Successfully ejected media." in said(capsys, "change-media", "web", "hdc", "--eject")
    assert said(capsys, "virsh", "detach-disk", "web", "vdb") == "Disk detached successfully\n\n"
    assert image not in said(capsys, "domblklist", "web")


def test_devices_come_from_files(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = web / "card.xml"
    file.write_text(f"<interface type='user'><mac address='{MAC}'/></interface>")
    assert said(capsys, "attach-device", "web", str(file)) == "Device attached successfully\n\n"
    assert MAC in said(capsys, "domiflist", "web", "--json")
    assert said(capsys, "detach-device", "web", str(file), "--config") == "Device detached successfully\n\n"


def test_memory_and_vcpus_change_for_the_next_start(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "setmaxmem", "web", "128M")
    said(capsys, "setmem", "web", "100M")
    said(capsys, "setvcpus", "web", "4", "--maximum")
    said(capsys, "setvcpus", "web", "2", "--config")
    shown = said(capsys, "dumpxml", "web")
    for part in ('<memory unit="KiB">131072', '<currentMemory unit="KiB">102400', '<vcpu current="2">4'):
        assert part in shown
    assert said(capsys, "vcpucount", "web", "--maximum") == "4\n\n"
    assert "current      config         2\n" in said(capsys, "vcpucount", "web")
    facts = said(capsys, "dominfo", "web").split()
    assert facts[facts.index("CPU(s):") + 1] == "2"
    assert "Max CPU(s):     4\n" in said(capsys, "dominfo", "web")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("attach-interface web --type bridge", "source is missing; say which bridge"),
        ("attach-interface web --type wireless", "type is 'wireless'"),
        ("attach-interface web user --type user --source x", "there is a word too many, 'user'"),
        ("attach-interface web --type user --live", "machine web does not run"),
        ("attach-interface web --type user --script x", "--script cannot be had here: no script is run for a card"),
        ("attach-disk web /nowhere vdb", "there is no file /nowhere"),
        ("detach-disk web vdz", "the machine has no disk vdz; it has hdc"),
        ("change-media web hdc --eject --update x", "one thing at a time"),
        ("domif-setlink web 52:54:00:00:00:01 sideways", "state is 'sideways'"),
        ("setmem web much", "size is 'much'"),
        ("setvcpus web 3", "3 vCPUs are asked for; the machine has at most 1"),
        ("setvcpus web 0", "0 vCPUs are asked for"),
        ("setvcpus web 1 --guest", "--guest cannot be had here: it wants an agent in the guest"),
        ("setvcpus web 99 --maximum", "maxvcpus is 99; it must be between 1 and 64"),
        ("setvcpus web 1 --config --current", "--current is given with another"),
        ("blockresize web hdc 1G", "machine web does not run"),
        ("vcpuinfo web", "machine web does not run"),
        ("domblkstat web", "machine web does not run"),
        ("reboot web", "machine web does not run"),
        ("domifaddr nobody", "there is no machine 'nobody'"),
    ],
)
def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], words: str, complaint: str) -> None:
    try:
        status = main(words.split())
    except SystemExit as left:
        status = int(str(left.code))
    assert status == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_statistics_of_what_does_not_run_are_its_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "domstats", "web") == "Domain: 'web'\n  state.state=5\n  state.reason=0\n\n"


def test_addresses_are_found_with_dnsmasq_and_among_neighbours(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/misc"
    folder.mkdir(parents=True)
    lines = [
        f"1700000000 {MAC} 192.0.2.7 web *",
        "duid 00:01",
        f"0 {MAC} nonsense x *",
        "1 52:54:00:00:00:02 192.0.2.8 x *",
        f"1 {MAC} 192.0.2.9 * *",
    ]
    (folder / "dnsmasq.leases").write_text("\n".join(lines))
    assert leased(MAC, tmp_path, ("/var/lib/misc/*.leases",)) == [("192.0.2.7", "web"), ("192.0.2.9", None)]
    table = tmp_path / "arp"
    head = "IP address       HW type     Flags       HW address            Mask     Device\n"
    table.write_text(
        f"{head}192.0.2.9  0x1  0x2  {MAC.upper()}  *  br0\n192.0.2.10  0x1  0x0  {MAC}  *  br0\n192.0.2.11 0x1 0x2 52:54:00:00:00:02 * br0\n"
    )
    assert neighbours(MAC, table) == ["192.0.2.9"]
