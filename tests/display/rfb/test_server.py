"""Where the server listens, who shares it, who is slow, and what idleness costs."""

import resource
import socket
import stat
import struct
import time
from pathlib import Path

import pytest

from innkeeper._core import MemoryScreen
from innkeeper.config import GraphicsConfig
from innkeeper.display.rfb import VncServer
from innkeeper.errors import HostError
from tests.display.rfb.client import RAW
from tests.display.rfb.conftest import Bench, MakeBench, Sink, wait_for

MOMENT_S = 0.6  # longer than the server rests between looks
ENDS = (EOFError, ConnectionResetError, BrokenPipeError)


def test_ports_are_searched_and_a_taken_one_is_refused(make_bench: MakeBench) -> None:
    first, second = make_bench(), make_bench()
    port = first.server.address.rpartition(":")[2]

    assert first.server.address != second.server.address
    with pytest.raises(HostError, match=rf"127\.0\.0\.1:{port}: Address already in use; leave port= out"):
        make_bench(f"vnc,port={port}")


def test_a_socket_is_private_and_goes_away(make_bench: MakeBench, tmp_path: Path) -> None:
    path = tmp_path / "vnc"
    bench = make_bench(f"vnc,socket={path}")
    with bench.connect() as client:
        client.shake_hands()
        client.update()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(HostError, match="another program listens there"):
        make_bench(f"vnc,socket={path}")
    bench.server.close()

    assert not path.exists()


def test_what_a_killed_run_left_is_replaced_and_other_files_are_not(make_bench: MakeBench, tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "vnc"))
    stale.close()
    make_bench(f"vnc,socket={tmp_path / 'vnc'}")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(HostError, match="something else has that name"):
        make_bench(f"vnc,socket={tmp_path / 'file'}")

    assert (tmp_path / "file").read_text() == "mine"


def test_ipv6_loopback_is_this_host_too(make_bench: MakeBench) -> None:
    if not Path("/proc/net/if_inet6").read_text().strip():
        pytest.skip("this host has no IPv6")
    bench = make_bench("vnc,listen=::1")
    with bench.connect() as client:
        client.shake_hands()

    assert bench.server.address.startswith("[::1]:")


def test_viewers_share_and_one_who_wants_it_alone_gets_it(bench: Bench) -> None:
    with bench.connect() as one, bench.connect() as two, bench.connect() as alone:
        for viewer in (one, two):
            viewer.shake_hands()
            viewer.update()
        wait_for(lambda: bench.server.viewers == 2)
        alone.shake_hands(shared=False)
        alone.update()

        for viewer in (one, two):
            with pytest.raises(ENDS):
                viewer.hear()
        assert bench.server.viewers == 1


@pytest.mark.parametrize(("policy", "stays"), [("force-shared", False), ("ignore", True)])
def test_sharing_can_be_forced_or_not_asked_for(make_bench: MakeBench, policy: str, stays: bool) -> None:
    bench = make_bench(f"vnc,share={policy}")
    with bench.connect() as one, bench.connect() as alone:
        one.shake_hands()
        one.update()
        if stays:
            alone.shake_hands(shared=False)
            alone.update()
        else:
            alone.begin()
            alone.send("BB", 1, 0)
            alone.read(4)
            with pytest.raises(ENDS):
                alone.read(1)
        one.update()


def test_a_viewer_that_takes_nothing_neither_holds_others_up_nor_costs_memory(bench: Bench) -> None:
    bench.screen.resize(1024, 768)
    with bench.connect() as slow, bench.connect() as swift:
        for viewer in (slow, swift):
            viewer.shake_hands()
            viewer.set_encodings(RAW, -313)
        slow.send("BB4H", 150, 1, 0, 0, 1024, 768)
        swift.decodes = False
        swift.update()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        longest = 0.0
        for turn in range(40):
            bench.screen.draw(0, 0, 1024, 768, bytes([turn, turn, turn, 0]) * (1024 * 768))
            for _ in range(50):
                slow.request()  # greedy, too
            start = time.monotonic()
            swift.update()
            longest = max(longest, time.monotonic() - start)

        assert longest < 1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 << 10  # KiB


def test_an_idle_viewer_costs_next_to_nothing_and_none_nothing(make_bench: MakeBench) -> None:
    by_itself = share_of_a_processor()  # without a server
    bench = make_bench()
    bench.screen.resize(1024, 768)
    with bench.connect() as client:
        client.shake_hands()
        client.decodes = False
        client.update()
        client.request(incremental=True)
        time.sleep(0.7)  # until it rests
        with_viewer = share_of_a_processor()
        client.socket.close()
        wait_for(lambda: bench.server.viewers == 0)
        without = share_of_a_processor()

    assert with_viewer < 0.02
    assert without - by_itself < 0.002


def share_of_a_processor() -> float:
    """What this process takes in the quietest of some moments: what now and then works beside the test is not the screen's."""

    def share_of_a_moment() -> float:
        start = time.process_time()
        time.sleep(MOMENT_S)
        return (time.process_time() - start) / MOMENT_S

    return min(share_of_a_moment() for _ in range(4))


def test_changes_are_seen_soon_after_a_rest(bench: Bench) -> None:
    with bench.connect() as client:
        client.shake_hands()
        client.update()
        for turn in range(3):
            client.request(incremental=True)
            time.sleep(0.7)
            start = time.monotonic()
            bench.screen.draw(0, 0, 1, 1, bytes([turn + 1, 0, 0, 0]))
            client.hear_update()
            assert time.monotonic() - start < 0.1


def test_closing_sends_everybody_away(bench: Bench) -> None:
    with bench.connect() as in_it, bench.connect() as at_the_door:
        in_it.shake_hands()
        in_it.update()
        at_the_door.read(12)
        bench.server.close()
        bench.server.close()
        for viewer in (in_it, at_the_door):
            with pytest.raises(ENDS):
                viewer.read(1)


def test_a_server_that_was_never_started_can_be_closed() -> None:
    server = VncServer(GraphicsConfig.parse("vnc"), MemoryScreen().screen, Sink())
    server.close()


def test_visitors_who_leave_at_once_are_no_errors(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    host, _, port = bench.server.address.rpartition(":")
    for _ in range(50):
        connection = socket.create_connection((host, int(port)))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("2i", 1, 0))  # by a reset
        connection.close()
    with bench.connect() as client:
        client.shake_hands()
        client.update()

    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


def test_an_input_device_that_fails_ends_one_conversation_and_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_code: int, _down: bool, /) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(bench.sink, "key", fail)
    with bench.connect() as one, bench.connect() as other:
        for viewer in (one, other):
            viewer.shake_hands()
            viewer.update()
        one.key(ord("a"), down=True)
        with pytest.raises(ENDS):
            one.read(1)
        monkeypatch.undo()
        other.update()

    assert "a conversation fails" in caplog.text


def test_a_screen_without_a_picture_is_blank(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.screen.resize(0, 0)
    with bench.connect() as client:
        client.shake_hands()
        client.update()

        assert (client.width, client.height) == (640, 480)
        assert set(client.pixels) == {0}


def test_viewers_come_and_go_without_leaving_anything(bench: Bench) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def visit() -> None:
        with bench.connect() as client:
            client.shake_hands()
            client.update()
        wait_for(lambda: bench.server.viewers == 0)

    visit()
    before = descriptors()
    for _ in range(10):
        visit()

    wait_for(lambda: descriptors() <= before)
