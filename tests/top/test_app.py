"""The screen of `inn top`, driven by textual's pilot."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from innkeeper.errors import HostError
from innkeeper.top.rates import SHUT_OFF, Look

textual = pytest.importorskip("textual")

S = 1_000_000_000


class Machines:
    """A source whose machines the test has in hand; keys are told to `told`."""

    def __init__(self) -> None:
        self.busy = {"alpha": 1, "beta": 3, "gamma": 2}
        self.idle = ["delta"]
        self.at = 0
        self.trouble = ""
        self.told: list[str] = []

    def collect(self) -> list[Look]:
        if self.trouble:
            raise HostError(self.trouble)
        self.at += 1
        found = [
            Look(name, "running", self.at * S, process=1, vcpus=1, cpu_ns=share * self.at * S // 10,
                 exits={"devices": 100 * share * self.at, "halts": 5 * self.at})
            for name, share in self.busy.items()
        ]  # fmt: skip
        return found + [Look(name, SHUT_OFF, self.at * S) for name in self.idle]

    def tell(self, what: str) -> Callable[[str], None]:
        def act(name: str) -> None:
            if name == "delta" and what == "shutdown":
                raise HostError("machine delta does not run; [start] it")
            self.told.append(f"{what} {name}")

        return act


def top(machines: Machines) -> Any:
    from innkeeper.top.app import Top

    acts = {what: machines.tell(what) for what in ("start", "shutdown", "destroy")}
    return Top(machines, acts, {what: machines.tell(what) for what in ("console", "view")}, delay_s=0.05)


def drive(work: Callable[[Any, Any, Machines], Awaitable[None]]) -> None:
    machines = Machines()

    async def run() -> None:
        app = top(machines)
        async with app.run_test(size=(120, 24)) as pilot:
            await until(pilot, lambda: machines.at >= 3)
            await work(app, pilot, machines)

    asyncio.run(asyncio.wait_for(run(), 60))


async def until(pilot: Any, condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            await pilot.pause()
            return
        await pilot.pause(0.02)
    pytest.fail("it did not happen")


def names(app: Any) -> list[str]:
    return [str(key.value) for key in app.table.rows]


def said(app: Any, where: str) -> str:
    return str(app.query_one(where).render())


def test_the_busiest_is_first_and_figures_move() -> None:
    async def work(app: Any, pilot: Any, machines: Machines) -> None:
        await until(pilot, lambda: names(app) == ["beta", "gamma", "alpha", "delta"])
        assert str(app.table.get_cell("beta", "CPU %")) == "30.0"
        assert str(app.table.get_cell("delta", "CPU %")) == "-"
        assert "4 machines, 3 running, 60.0 % of a CPU; by CPU %" in said(app, "#summary")
        assert said(app, "#exits").startswith("alpha:"), "the cursor stays with its machine"
        await pilot.press("ctrl+home")
        assert said(app, "#exits") == "beta: exits/s by kind: devices 300  halts 5"
        machines.busy["alpha"] = 9
        await until(pilot, lambda: names(app)[0] == "alpha")

    drive(work)


def test_the_order_can_be_changed_and_machines_looked_for() -> None:
    async def work(app: Any, pilot: Any, machines: Machines) -> None:  # noqa: ARG001 - as all of them
        await pilot.press("o")
        assert "by Memory" in said(app, "#summary")
        await pilot.press("r")
        assert "by Memory reversed" in said(app, "#summary")
        await pilot.press("a")
        assert "delta" not in names(app)
        await pilot.press("slash", *"MM", "enter")
        await until(pilot, lambda: names(app) == ["gamma"])
        await pilot.press("s")  # a key again, not a letter
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 3)

    drive(work)


def test_keys_act_on_the_machine_under_the_cursor() -> None:
    async def work(app: Any, pilot: Any, machines: Machines) -> None:
        await until(pilot, lambda: names(app)[0] == "beta")
        await pilot.press("ctrl+home", "down", "s", "p")
        await until(pilot, lambda: machines.told == ["start gamma", "shutdown gamma"])
        await pilot.press("d", "n", "d", "escape")
        await pilot.press("d", "y")
        await until(pilot, lambda: machines.told[2:] == ["destroy gamma"])

    drive(work)


def test_what_goes_wrong_is_said_and_the_screen_goes_on() -> None:
    async def work(app: Any, pilot: Any, machines: Machines) -> None:
        await until(pilot, lambda: len(names(app)) == 4)
        await pilot.press("ctrl+end", "p")
        await until(pilot, lambda: any("[start] it" in note.message for note in app._notifications))
        machines.trouble = "the manager has ended"
        await until(pilot, lambda: "the manager has ended" in said(app, "#summary"))
        machines.trouble = ""
        await until(pilot, lambda: "4 machines" in said(app, "#summary"))

    drive(work)


def test_without_textual_it_says_what_to_install() -> None:
    script = (
        "import sys, os; sys.modules['textual'] = None; sys.modules['rich'] = None; sys.stdout.isatty = lambda: True\n"
        "from innkeeper.cli import main; sys.exit(main(['top']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        "error: inn top needs textual for the terminal: pip install 'innkeeper[tui]'; inn top --batch does without\n"
    )
