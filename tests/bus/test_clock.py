"""The host clock's callbacks, and that its thread ends."""

import threading
import time

from innkeeper.bus import HostClock


def timer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "innkeeper-timers"]


def test_callbacks_come_in_order_of_their_time() -> None:
    clock, order, done = HostClock(), list[str](), threading.Event()

    def late() -> None:
        order.append("late")
        done.set()

    clock.after(500_000_000, late)
    clock.after(0, lambda: order.append("early"))
    came = done.wait(30)
    clock.close()

    assert came
    assert order == ["early", "late"]


def test_a_cancelled_callback_never_comes() -> None:
    clock, rung, done = HostClock(), list[str](), threading.Event()

    clock.after(1_000_000, lambda: rung.append("cancelled")).cancel()
    clock.after(2_000_000, done.set)

    assert done.wait(10)
    assert rung == []
    clock.close()


def test_close_ends_the_thread_and_forgets_what_was_to_come() -> None:
    clock, rung = HostClock(), list[str]()
    clock.after(3_600_000_000_000, lambda: rung.append("never"))
    assert timer_threads()

    clock.close()
    clock.after(0, lambda: rung.append("too late"))

    assert not timer_threads()
    assert rung == []


def test_a_clock_without_callbacks_has_no_thread() -> None:
    clock = HostClock()

    assert abs(clock.wall_ns() - time.time_ns()) < 10**9
    assert clock.monotonic_ns() <= clock.monotonic_ns()
    assert not timer_threads()
    clock.close()
