"""virsh's command line: its options, strings of several commands, its shell, and its way with operands."""

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.virsh_options import OPTIONS

from innkeeper import __version__
from innkeeper.cli import main, node, shell
from innkeeper.cli.shell.commands import COMMANDS, GROUPS, MONITOR, NAMES, READING
from innkeeper.cli.shell.lines import commands
from innkeeper.errors import ConfigError

XML = "<domain type='qemu'><name>{}</name><memory unit='MiB'>64</memory></domain>"
RUN = [sys.executable, "-m", "innkeeper.cli", "virsh"]


@pytest.fixture(autouse=True)
def web(user: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(user)
    monkeypatch.setenv("XDG_CACHE_HOME", str(user / "cache"))
    (user / "web.xml").write_text(XML.format("web"))
    assert main(["define", str(user / "web.xml")]) == 0
    capsys.readouterr()
    return user


def virsh(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["virsh", *words]) == status, capsys.readouterr().err
    said = capsys.readouterr()
    return said.err if status else said.out


# ---- command strings ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" ; ;\n;", []),
        ("start web", [["start", "web"]]),
        ("start web;dumpxml web", [["start", "web"], ["dumpxml", "web"]]),
        ("start web # and\nlist --all", [["start", "web"], ["list", "--all"]]),
        ("# all of it", []),
        ("echo a#b", [["echo", "a#b"]]),
        ("echo 'a;b' \"c d\" e\\;f", [["echo", "a;b", "c d", "e;f"]]),
        ('echo \'\\\' "\\"" "\\x"', [["echo", "\\", '"', "\\x"]]),
        ("echo ''a\"\" ''", [["echo", "a", ""]]),
        ("list \\\n--all", [["list", "--all"]]),
        ("list --a\\\nll", [["list", "--all"]]),
    ],
)
def test_strings_are_split_as_a_shell_does(text: str, found: list[list[str]]) -> None:
    assert commands(text) == found


@pytest.mark.parametrize("text", ["echo 'a", 'echo "a', "echo a\\"])
def test_what_does_not_end_is_a_mistake(text: str) -> None:
    with pytest.raises(ConfigError):
        commands(text)


def test_one_word_may_hold_several_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert virsh(capsys, "domname web; echo 'a  b';# no more\npwd") == f"web\n\na  b\n{Path.cwd()}\n\n"
    assert "there is no machine 'nobody'" in virsh(capsys, "domname nobody; domname nobody", status=1)
    assert virsh(capsys, "domname nobody; domname web") == "web\n\n"  # the last one's status
    assert virsh(capsys, "echo 1; quit; echo 2") == "1\n"
    assert "there is a ' without another" in virsh(capsys, "echo 'a; list", status=1)


# ---- operands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "web --config 100M", "--config web 100M", "web 100M --config", "--size 100M --config web", "--domain=web --config 100M",
        "--config --size=100M --domain web", "--config -- web 100M",
    ],
)  # fmt: skip
def test_operands_stand_anywhere_and_have_names(capsys: pytest.CaptureFixture[str], words: str) -> None:
    virsh(capsys, "setmaxmem", "web", "128M", "--config")
    virsh(capsys, "setmem", *words.split())
    assert '<currentMemory unit="KiB">102400' in virsh(capsys, "dumpxml", "web")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("setmem --config", "domain is missing; give it, as in --domain NAME; see inn virsh setmem --help"),
        ("setmem web", "size is missing; give it, as in --size SIZE"),
        ("setmem web 1G more", "there is a word too many, 'more'"),
        ("setmem web 1G --domain db", "there is a word too many, '1G'"),
        ("setmem web 1G --fast", "unrecognized arguments: --fast; see inn virsh setmem --help"),
        ("setmem web 1G --conf", "unrecognized arguments: --conf"),
        ("setmem web -- 1G --config", "there is a word too many, '--config'"),
        ("stat web", "there is no command 'stat'; did you mean 'start'?; help lists all"),
        ("--fast", "unrecognized arguments: --fast"),
        ("-c xen:/// list", "connect is 'xen:///'; it must be one of qemu:///session"),
        ("-c qemu+ssh://host/system list", "connect is 'qemu+ssh://host/system'"),
        ("-d 7 list", "debug is 7; it must be between 0 and 4"),
        ("-e abc console web", "escape is 'abc'; it must be one character"),
        ("-l /no/such/log list", "cannot log to /no/such/log: No such file or directory"),
        ("-r start web", "start may change something, which --readonly rules out"),
        ("cd /", "cd changes the shell's folder, and there is no shell"),
        ("help nothing", "there is no command and no group 'nothing'"),
    ],
)
def test_mistakes_are_one_sentence_and_status_1(capsys: pytest.CaptureFixture[str], words: str, complaint: str) -> None:
    try:
        status = main(["virsh", *words.split()])
    except SystemExit as left:
        status = int(str(left.code))
    said = capsys.readouterr()
    assert status == 1
    assert said.out == ""
    assert complaint in said.err
    assert said.err.count("\n") == 1


def test_an_operand_may_have_the_name_of_anything_that_the_parser_has(
    web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`net-update` has one that is called command."""
    (web / "net.xml").write_text("<network><name>n</name><ip address='10.9.9.1' prefix='24'><dhcp/></ip></network>")
    virsh(capsys, "net-define", "net.xml")
    host = "<host mac='52:54:00:00:00:09' ip='10.9.9.9'/>"
    virsh(capsys, "net-update", "n", "add", "ip-dhcp-host", host, "--config")
    virsh(capsys, "net-update", "n", "--xml", host, "--section", "ip-dhcp-host", "--command", "delete", "--config")
    assert "52:54:00:00:00:09" not in virsh(capsys, "net-dumpxml", "n")


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
        ("domifaddr web --source agent", "source is 'agent'; it can be lease or arp"),
        ("dommemstat web --period 2", "--period cannot be had here"),
        ("domstats --perf --enforce", "--perf is asked for with --enforce"),
        ("domstats --list-running web", "--list-running is given with web"),
        ("dumpxml web --migratable", "--migratable cannot be had here: machines are not moved"),
        ("nodecpustats 100000", "cpu is 100000; the host has no processor"),
        ("nodememstats 100000", "cell is 100000; the host has no NUMA node"),
        ("pool-define-as p dir - - /dev/sdb - /srv", "--source-dev cannot be had here: a pool is a folder"),
        ("pool-define-as p dir --target /srv --auth-type chap", "--auth-type cannot be had here"),
        ("shutdown web --mode agent", "mode is agent; guests here can only be reached"),
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


# ---- options before the command -----------------------------------------------------------------


def test_quiet_prints_what_was_asked_for_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert virsh(capsys, "-q", "list", "--all") == " -    web    shut off\n"
    assert virsh(capsys, "-q", "domstate", "web") == "shut off\n"
    assert virsh(capsys, "-q", "autostart", "web") == ""
    assert virsh(capsys, "-q", "pool-autostart", "default", "--disable") == ""
    assert virsh(capsys, "-q", "pool-dumpxml", "default").startswith("<pool")
    assert virsh(capsys, "list", "--all").startswith(" Id   Name")


def test_timing_says_how_long_each_command_took(capsys: pytest.CaptureFixture[str]) -> None:
    said = virsh(capsys, "-t", "echo a; echo b")
    assert re.fullmatch(r"a\n\(Time: \d+\.\d{3} ms\)\n\nb\n\(Time: \d+\.\d{3} ms\)\n\n", said)


def test_readonly_lets_through_what_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert virsh(capsys, "-r", "domname", "web") == "web\n\n"
    assert set(READING) <= set(NAMES)
    assert not [name for name in READING if name.startswith(("attach", "set", "start", "vol-create", "net-start"))]


def test_every_command_is_in_one_group_and_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(MONITOR) <= set(NAMES)
    assert len(NAMES) == sum(len(group.verbs) for group in GROUPS)
    everything = virsh(capsys, "help")
    for name in NAMES:
        assert f"    {name} " in everything
        assert COMMANDS[name].format_help().startswith(f"usage: inn virsh {name} ")
    assert virsh(capsys, "help", "host").count("\n    ") == len(node.VERBS)
    assert "[--domain] NAME" in virsh(capsys, "help", "start")
    assert "(help keyword 'virsh')" in virsh(capsys, "help", "--command", "virsh")


@pytest.mark.parametrize("words", [["-v"], ["--version"], ["--version=short"]])
def test_the_version_is_short(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert virsh(capsys, *words) == f"{__version__}\n"


@pytest.mark.parametrize("words", [["-V"], ["--version=long"]])
def test_the_version_is_long(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    said = virsh(capsys, *words)
    assert f"innkeeper {__version__}\nengines: " in said
    assert "interp" in said


def test_the_connection_is_that_of_the_option_or_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert virsh(capsys, "-c", "qemu:///system", "uri") == "innkeeper:///system\n\n"
    assert virsh(capsys, "--connect=qemu:///session", "uri") == "innkeeper:///session\n\n"
    monkeypatch.setenv("VIRSH_DEFAULT_CONNECT_URI", "qemu:///system")
    assert virsh(capsys, "uri") == "innkeeper:///system\n\n"
    assert virsh(capsys, "-c", "qemu:///session", "uri") == "innkeeper:///session\n\n"
    monkeypatch.setenv("VIRSH_DEFAULT_CONNECT_URI", "lxc:///")
    assert "VIRSH_DEFAULT_CONNECT_URI is set, and connect is 'lxc:///'" in virsh(capsys, "uri", status=1)


def test_what_was_done_is_logged_to_a_file(web: Path) -> None:
    log = web / "log"
    for words in (
        ["-l", str(log), "domname web"],
        ["-d", "0", "-l", str(log), "domname nobody"],
        ["-d", "4", "-l", str(log), "pwd"],
    ):
        subprocess.run([*RUN, *words], capture_output=True, check=False, timeout=60)
    lines = log.read_text().splitlines()
    assert ["domname ends with status 0" in lines[0], "domname ends with status 1" in lines[1]] == [True, True]
    assert len(lines) == 2


def test_echo_quotes_for_a_shell_and_for_xml(capsys: pytest.CaptureFixture[str]) -> None:
    assert virsh(capsys, "echo", "--shell", "a b", "c") == "'a b' c\n"
    assert virsh(capsys, "echo", "--xml", "<a>", "&") == "&lt;a&gt; &amp;\n"
    assert virsh(capsys, "echo", "--split", "a", "b") == "a\nb\n"
    assert virsh(capsys, "echo", "--", "--shell") == "--shell\n"


# ---- the shell ----------------------------------------------------------------------------------


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_commands_come_from_the_standard_input(
    web: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "domname web\n\necho a; echo b\ncd run\npwd\n")
    assert virsh(capsys) == f"web\n\na\nb\n{web}/run\n\n"
    typed(monkeypatch, "domname web\ndomname nobody")
    assert "there is no machine 'nobody'" in virsh(capsys, status=1)
    typed(monkeypatch, "domname nobody\nexit\ndomname nobody\n")
    assert virsh(capsys) == ""
    typed(monkeypatch, "connect --readonly\nundefine web\nconnect\ndomname web\nconnect xen:///\n")
    said = virsh(capsys, status=1)
    assert "undefine may change something" in said
    assert "connect is 'xen:///'" in said


def test_the_shell_has_a_prompt_a_history_and_completion(web: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execv(RUN[0], RUN)
    heard = b""

    def until(words: bytes) -> None:
        nonlocal heard
        deadline = time.monotonic() + 30
        while words not in heard:
            assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], heard
            heard += os.read(terminal, 65536)
        heard = heard[heard.index(words) + len(words) :]

    try:
        until(b"help lists its commands")
        until(b"virsh # ")
        os.write(terminal, b"domna\tw\t\n")
        until(b"domname web")
        until(b"web\r\n\r\n")
        until(b"virsh # ")
        os.write(terminal, b"echo x\x03")
        until(b"virsh # ")
        os.write(terminal, b"nonsense\n")
        until(b"there is no command 'nonsense'")
        until(b"virsh # ")
        os.write(terminal, b"quit\n")
        until(b"quit\r\n")
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)
    assert (web / "cache/innkeeper/virsh-history").read_text().splitlines() == ["domname web ", "nonsense", "quit"]


def test_the_shells_own_commands_are_not_plain_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    for name in shell.VERBS:
        with pytest.raises(SystemExit, match="2"):
            main([name])
        assert f"there is no command {name!r}" in capsys.readouterr().err
