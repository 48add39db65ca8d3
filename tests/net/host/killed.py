"""Kills whoever starts or ends a network before each of its steps in turn, and looks what the next start or end makes of it.

Run inside a host of its own where network br0 is kept and not active. The first difference is an `AssertionError`.
"""

import os
import signal

from tests.net.host.looking import look

from innkeeper.manager.networks import Networks
from innkeeper.net.host import realise, records

STEPS = 20
NAME = "br0"


def killed_after(steps: int, verb: str) -> bool:
    """Whether it came so far that it was killed."""
    child = os.fork()
    if child == 0:

        def until_then(all_steps: list[realise.Step]) -> None:
            for number, step in enumerate(all_steps):
                if number == steps:
                    os.kill(os.getpid(), signal.SIGKILL)
                step()

        realise.run = until_then
        getattr(Networks(), verb)(NAME)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def main() -> None:
    networks = Networks()
    nothing = look()
    networks.start(NAME)
    whole = look()
    networks.destroy(NAME)
    assert look() == nothing
    for verb in ("start", "destroy"):
        for steps in range(STEPS):
            for then in ("start", "destroy"):
                if verb == "destroy":
                    networks.start(NAME)
                if not killed_after(steps, verb):
                    break
                if then == "start":
                    networks.start(NAME)
                    assert look() == whole, (verb, steps, then)
                if records.read(NAME) is not None:
                    networks.destroy(NAME)
                assert look() == nothing, (verb, steps, then)
            else:
                continue
            break
        else:
            raise AssertionError(f"{verb} has no end")
        print(f"{verb}: {steps} steps")
        if verb == "start":
            networks.destroy(NAME)


if __name__ == "__main__":
    main()
