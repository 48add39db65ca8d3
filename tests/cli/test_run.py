"""`inn run` as a user meets it: exit statuses, sentences, signals, and the terminal as it was."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.cli.status import Status
from innkeeper.engine import bt_unavailable
from innkeeper.testing.guests import CRASH, HALT, POWER_OFF, RESET, SPIN, flat_guest, leave_with, say

INN = [sys.executable, "-m", "innkeeper.cli"]
Kernel = Callable[[bytes], Path]


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    def write(code: bytes) -> Path:
        path = tmp_path / "kernel"
        path.write_bytes(flat_guest(code))
        return path

    return write


def inn_run(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*INN, "run", "--kernel", str(path), "--engine", "interp", "--memory", "16", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("code", "options", "status", "words"),
    [
        (POWER_OFF, [], Status.DONE, ""),
        (RESET, ["--no-reboot"], Status.RESET, "the guest asked for a reset"),
        (CRASH, ["--no-reboot"], Status.RESET, "triple fault"),
        (HALT, [], Status.HALTED, "the guest halted for good"),
        (SPIN, ["--timeout", "0.3"], Status.TIMEOUT, "the time limit passed"),
        (RESET, ["--timeout", "0.3"], Status.TIMEOUT, "the time limit passed"),
        (leave_with(16), ["--debug-exit"], 33, ""),
    ],
    ids=["power off", "reset", "triple fault", "halt", "spin", "resets for ever", "test exit"],
)
def test_exit_statuses(kernel: Kernel, code: bytes, options: list[str], status: int, words: str) -> None:
    done = inn_run(kernel(code), *options)

    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_guest_speaks_on_stdout_and_we_on_stderr(kernel: Kernel) -> None:
    done = inn_run(kernel(say(b"hello\r\n") + POWER_OFF))

    assert done.stdout == "hello\n"
    assert done.stderr == "engine interp: as asked\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--memory", "0"], "memory is 0 MiB; it must be between 2 and 1048576"),
        (["--memory", "1000000000"], "memory is 1000000000 MiB; it must be between 2 and 1048576"),
        (["--memory", "much"], "argument --memory: 'much' is not a whole number; see inn run --help"),
        (["--vcpus", "0"], "vcpus is 0; it must be between 1 and 64"),
        (["--vcpus", "999"], "vcpus is 999; it must be between 1 and 64"),
        (["--vcpus", "2,maxvcpus=1"], "maxvcpus is 1; it must be between 2 and 64"),
        (["--vcpus", "2,maxvcpus="], "'' is not a whole number; see inn run --help"),
        (["--vcpus", "9" * 5000], "is not a whole number; see inn run --help"),
        (["--timeout", "soon"], "argument --timeout: 'soon' is not a number; see inn run --help"),
        (["--timeout", "-1"], "timeout is -1 s; it must be above 0 and at most 1e+09"),
        (["--engine", "warp"], "invalid choice: 'warp'"),
        (["--code-cache", "0"], "code cache is 0 MiB; it must be between 1 and 1024"),
        (["--code-cache", "2048"], "code cache is 2048 MiB; it must be between 1 and 1024"),
        (["--code-cache", "big"], "argument --code-cache: 'big' is not a whole number; see inn run --help"),
        (["--stats-interval", "often"], "argument --stats-interval: 'often' is not a number; see inn run --help"),
        (["--stats-interval", "0"], "the interval is 0 s; it must be between 0.1 and 3600; see inn run --help"),
        (["--stats-interval", "nan"], "the interval is nan s; it must be between 0.1 and 3600"),
        (["--console", "vt100"], "console is 'vt100'; it must be stdio, none, file:PATH, pty or unix:PATH"),
        (["--console", "file:/absent/log"], "cannot write the console to /absent/log: No such file or directory"),
        (["--stats", "/absent/stats.json"], "cannot write statistics to /absent/stats.json"),
        (["--initrd", "/absent"], "cannot read initrd /absent"),
        (["--append", "x" * 4000], "append is 4000 bytes long; a kernel command line has at most 2047"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(kernel: Kernel, options: list[str], sentence: str) -> None:
    done = inn_run(kernel(POWER_OFF), *options)

    assert done.returncode == Status.MISTAKE
    (*_, last) = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert sentence in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot read kernel"), (b"", "is empty"), (b"not a kernel at all", "is of an unknown format")],
    ids=["missing", "empty", "wrong"],
)
def test_a_kernel_that_is_none(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "kernel"
    if content is not None:
        path.write_bytes(content)

    done = inn_run(path)

    assert done.returncode == Status.MISTAKE
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr


@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_a_kernel_that_is_no_file(path: str) -> None:
    done = inn_run(Path(path))

    assert done.returncode == Status.MISTAKE
    assert done.stderr.startswith(f"error: cannot read kernel {path}: ")


def test_an_initrd_that_does_not_fit(kernel: Kernel, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(bytes(20 << 20))

    done = inn_run(kernel(POWER_OFF), "--initrd", str(initrd))

    assert done.returncode == Status.MISTAKE
    assert done.stderr.splitlines()[-1].startswith(f"error: initrd {initrd}")


def test_statistics_are_written_when_the_run_ends(kernel: Kernel, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"

    done = inn_run(kernel(say(b"x") + POWER_OFF), "--stats", str(stats))

    assert done.returncode == Status.DONE
    report = json.loads(stats.read_text())
    assert report["engine"] == "interp"
    assert report["outcome"] == "powered_off"
    assert report["instructions"] >= 6
    assert {"built", "started", "first_output", "ended"} <= report["seconds"].keys()


def test_a_small_code_cache_is_enough(kernel: Kernel, tmp_path: Path) -> None:
    unavailable = bt_unavailable()
    if unavailable is not None:
        pytest.skip(f"binary translation cannot be used here: {unavailable}")
    stats = tmp_path / "stats.json"

    done = inn_run(kernel(say(b"x") + POWER_OFF), "--engine", "bt", "--code-cache", "1", "--stats", str(stats))

    assert (done.returncode, done.stdout, done.stderr) == (Status.DONE, "x", "engine bt: as asked\n")
    report = json.loads(stats.read_text())
    assert report["engine"] == "bt"
    assert report["vcpus"][0]["blocks_translated"] > 0


def test_a_live_line_tells_what_the_engine_has_to_do(kernel: Kernel) -> None:
    write_for_ever = say(b"x") + b"\xee\xeb\xfd"

    done = inn_run(kernel(write_for_ever), "--console", "none", "--stats-interval", "0.1", "--timeout", "1")

    first, *lines, last = done.stderr.splitlines()
    assert (first, last) == ("engine interp: as asked", "the time limit passed")
    assert len(lines) >= 2
    assert all(re.fullmatch(r" +\d+\.\d s  INSN .*  I/O +[1-9][\d.]*[kM]?  .*", line) for line in lines), lines


def test_a_file_takes_the_console(kernel: Kernel, tmp_path: Path) -> None:
    log = tmp_path / "serial.log"

    done = inn_run(kernel(say(b"logged\r\n") + POWER_OFF), "--console", f"file:{log}")

    assert (done.returncode, done.stdout) == (Status.DONE, "")
    assert log.read_bytes() == b"logged\r\n"


def test_a_command_line_may_hold_any_bytes(kernel: Kernel) -> None:
    done = inn_run(kernel(POWER_OFF), "--append", os.fsdecode(b"\xff\xfe"))

    assert (done.returncode, done.stdout) == (Status.DONE, "")


def test_a_socket_takes_the_console(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "console"
    command = [*INN, "run", "--kernel", str(kernel(say(b"x") + b"\xee\xeb\xfd")), "--engine", "interp"]
    with subprocess.Popen([*command, "--console", f"unix:{path}"], stderr=subprocess.DEVNULL) as run:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            connect(peer, path)
            assert peer.recv(1) == b"x"
        run.terminate()

    assert run.returncode == -signal.SIGTERM
    assert not path.exists()


def connect(peer: socket.socket, path: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            peer.connect(str(path))
        except OSError:
            assert time.monotonic() < deadline, "nobody listened"
            time.sleep(0.01)
        else:
            return


def test_a_pty_takes_the_console_and_is_named(kernel: Kernel) -> None:
    command = [*INN, "run", "--kernel", str(kernel(say(b"x") + b"\xee\xeb\xfd")), "--engine", "interp"]
    with subprocess.Popen([*command, "--console", "pty"], stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        words = next(line for line in run.stderr if "the console is" in line).split()
        peer = os.open(words[-1], os.O_RDWR | os.O_NOCTTY)
        assert os.read(peer, 1) == b"x"
        os.close(peer)
        run.terminate()

    assert run.returncode == -signal.SIGTERM


def test_a_reader_that_leaves_ends_the_run(kernel: Kernel) -> None:
    path = kernel(say(b"x") + b"\xee\xeb\xfd")  # and again and again
    command = (
        f"{' '.join(INN)} run --kernel {path} --engine interp --timeout 30 </dev/null | head -c 1 && exit $PIPESTATUS"
    )

    started = time.monotonic()
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout == "x"
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 20


class Session:
    """`inn run` on a terminal of its own."""

    def __init__(self, path: Path, *options: str) -> None:
        self.master, slave = pty.openpty()
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        command = [*INN, "run", "--kernel", str(path), "--engine", "interp", "--memory", "16", *options]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)

    def wait_for(self, words: bytes) -> bytes:
        seen = b""
        deadline = time.monotonic() + 30
        while words not in seen:
            assert time.monotonic() < deadline, seen
            seen += os.read(self.master, 1000)
        return seen

    def modes(self) -> list[object]:
        return list(termios.tcgetattr(self.slave))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_restores_the_terminal_and_kills_as_it_should(kernel: Kernel, number: signal.Signals) -> None:
    session = Session(kernel(say(b"ready") + SPIN))
    session.wait_for(b"ready")
    assert session.modes() != session.before

    session.process.send_signal(number)

    assert session.process.wait(timeout=30) == -number
    assert session.modes() == session.before
    session.close()


def test_lines_of_ours_begin_at_the_left_on_a_raw_terminal(kernel: Kernel) -> None:
    session = Session(kernel(say(b"ready") + SPIN), "--stats-interval", "0.1")
    seen = session.wait_for(b"CPUID")
    seen += session.wait_for(b"\r\n")

    assert b"ready\r\n    0." in seen
    session.close()


def test_our_log_begins_at_the_left_on_a_raw_terminal(kernel: Kernel) -> None:
    session = Session(kernel(say(b"again ") + RESET))

    session.wait_for(b"again the guest asked for a reset\r\nagain ")

    session.close()


def test_leaving_by_the_escape_key(kernel: Kernel) -> None:
    session = Session(kernel(say(b"ready") + SPIN))
    session.wait_for(b"ready")

    os.write(session.master, b"\x03 is the guest's, \x1d is ours")

    assert session.process.wait(timeout=30) == Status.INTERRUPTED
    assert session.modes() == session.before
    session.close()
