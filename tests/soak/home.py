"""A user's folders, and `inn` with them, for soaks of whole machines."""

import os
import subprocess
import sys
import time
from pathlib import Path

LIMIT_S = 3 * 3600.0  # an hour on a busy host
LOGIN_S = 1200.0
ANSWER_S = 120.0
LOOK_S = 0.5


class Home:
    """A user's folders, and `inn` with them."""

    def __init__(self, folder: Path) -> None:
        (folder / "run").mkdir(mode=0o700, parents=True)
        self.folder = folder
        state = {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder / "run")}
        self.environment = {**os.environ, **state, "XDG_DATA_HOME": str(folder / "data")}

    def inn(self, *words: str, limit_s: float = LIMIT_S) -> str:
        """Raises `AssertionError` with its complaint."""
        command = [sys.executable, "-m", "innkeeper.cli", *words]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            env=self.environment,
            check=False,
        )
        assert done.returncode == 0, f"{words[0]}: {done.stderr}"
        return done.stdout

    def wait_until(self, name: str, state: str, *, limit_s: float = ANSWER_S) -> None:
        """Raises `AssertionError` if the machine is not so by then."""
        deadline = time.monotonic() + limit_s
        while (now := self.inn("domstate", name).strip()) != state:
            assert time.monotonic() < deadline, f"{name} is {now}, and not {state}, after {limit_s:g} s"
            time.sleep(LOOK_S)

    def end(self, name: str) -> None:
        """A machine that may still run."""
        if name in self.inn("list", "--name").split():
            self.inn("destroy", name)
