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
from tests.cli.conftest import virsh

from innkeeper import __version__
from innkeeper.cli import main, node, shell
from innkeeper.cli.shell.commands import COMMANDS, GROUPS, MONITOR, NAMES, READING
from innkeeper.cli.shell.interactive import prepare
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


def wait_until_asleep(process: int) -> None:
    status, deadline = Path(f"/proc/{process}/stat"), time.monotonic() + 30
    while status.read_text().rpartition(") ")[2][0] != "S":
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
        os.write(terminal, b"echo x")
        until(b"echo x")
        wait_until_asleep(process)  # Python does not see a ^C that comes right before it waits for more
        os.write(terminal, b"\x03")
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


def test_a_shell_without_a_place_for_its_history_does_without(
    web: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(web / "web.xml"))
    assert prepare() is None
    assert "there is no history: cannot make the cache directory" in capsys.readouterr().err


def test_the_shells_own_commands_are_not_plain_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    for name in shell.VERBS:
        with pytest.raises(SystemExit, match="2"):
            main([name])
        assert f"there is no command {name!r}" in capsys.readouterr().err
