"""What a guest's own agent runs and tells, and what an image that the guest wrote holds."""

import base64
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from innkeeper.image.rootfs.layout import Layout

from .home import ANSWER_S, LOGIN_S, LOOK_S, Home

CLEAN = 0  # e2fsck's exit status


class Guest:
    """One machine, by its agent. Methods raise `AssertionError`."""

    def __init__(self, home: Home, name: str) -> None:
        self.home, self.name = home, name

    def inn(self, verb: str, *words: str) -> str:
        return self.home.inn(verb, self.name, *words)

    def told(self, verb: str, *words: str) -> Any:
        return json.loads(self.inn(verb, *words, "--json"))

    @property
    def image(self) -> Path:
        """That its first disk is on."""
        return Path(next(each["source"] for each in self.told("domblklist") if each["target"] == "vda"))

    @property
    def chain(self) -> list[str]:
        """Its images, from that in use downwards."""
        told = self.home.inn("image", "info", "-U", "--backing-chain", "--output", "json", str(self.image))
        return [each["filename"] for each in json.loads(told)]

    def refuses(self, words: str, verb: str, *options: str) -> None:
        """That a verb fails, and says this."""
        said = None
        try:
            self.inn(verb, *options)
        except AssertionError as error:
            said = str(error)
        assert said is not None, f"{verb} does not fail; it should say {words!r}"
        assert words in said, said

    def agent(self, execute: str, **arguments: Any) -> Any:
        """What the agent answers to its own words."""
        asked = {"execute": execute, "arguments": {key.replace("_", "-"): value for key, value in arguments.items()}}
        return json.loads(self.inn("qemu-agent-command", json.dumps(asked)))["return"]

    def wait_for_agent(self) -> None:
        deadline = time.monotonic() + LOGIN_S
        while True:
            try:
                self.agent("guest-ping")
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)
            else:
                return

    def begin(self, script: str) -> None:
        """Runs it in the background; nobody hears what it says."""
        self.agent("guest-exec", path="/bin/sh", arg=["-c", script])

    def run(self, script: str, *, limit_s: float = ANSWER_S) -> str:
        """What a script says, which must succeed."""
        number = self.agent("guest-exec", path="/bin/sh", arg=["-c", script], capture_output=True)["pid"]
        deadline = time.monotonic() + limit_s
        while not (now := self.agent("guest-exec-status", pid=number))["exited"]:
            assert time.monotonic() < deadline, f"{script!r} takes longer than {limit_s:g} s"
            time.sleep(LOOK_S)
        said = {key: base64.b64decode(now.get(key, "")).decode() for key in ("out-data", "err-data")}
        assert now.get("exitcode") == 0, f"{script!r} in the guest fails: {said['err-data'] or now}"
        return said["out-data"]


class Image:
    """The root file system in an image, as it would be after the machine's end; looked at by e2fsprogs in a copy that is raw."""

    def __init__(self, home: Home, image: Path, folder: Path) -> None:
        self.raw = folder / "copy.raw"
        self.raw.unlink(missing_ok=True)
        # What a machine has laid an overlay over stays locked by it, although nobody writes it.
        home.inn("image", "convert", "-U", "-O", "raw", str(image), str(self.raw))
        self._device = f"{self.raw}?offset={Layout(self.raw.stat().st_size).root[0]}"

    def check(self) -> None:
        """That there is nothing to mend, and nothing to replay."""
        done = subprocess.run(["e2fsck", "-fn", self._device], capture_output=True, text=True, check=False)
        assert done.returncode == CLEAN, f"e2fsck finds {done.stdout}{done.stderr}"
        assert not self.must_be_replayed, "the journal is not empty"

    @property
    def must_be_replayed(self) -> bool:
        """Whether what was written is partly in the journal only."""
        return "needs_recovery" in self._tool("dumpe2fs", "-h", self._device)

    def read(self, path: str) -> str:
        return self._tool("debugfs", "-R", f"cat {path}", self._device)

    def unpack(self, path: str, target: Path) -> None:
        self._tool("debugfs", "-R", f"rdump {path} {target}", self._device)

    def _tool(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command[0]}: {done.stderr}"
        return done.stdout
