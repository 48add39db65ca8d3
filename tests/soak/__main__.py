"""`scripts/soak`: which soak, with which engine, for how long. The exit status is 0 only if nothing was found."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from innkeeper.config import EngineChoice
from innkeeper.errors import InnkeeperError
from tests.engines import reason_against

from .agent import soak_agent
from .boots import soak_boots
from .checked import soak_checked
from .cloud import soak_cloud
from .install import soak_install
from .kernels import soak_kernels
from .machines import soak_machines
from .report import say
from .starts import soak_starts
from .stress import soak_stress

Soak = Callable[[argparse.Namespace, Path], bool]
SOAKS: dict[str, Soak] = {
    "checked": soak_checked,
    "kernels": soak_kernels,
    "machines": soak_machines,
    "boots": soak_boots,
    "starts": soak_starts,
    "install": soak_install,
    "cloud": soak_cloud,
    "agent": soak_agent,
    "stress": soak_stress,
}


def main() -> int:
    arguments = parse()
    if reason := reason_against(arguments.engine):
        print(f"error: {reason}", file=sys.stderr)
        return 2
    chosen = [arguments.soak] if arguments.soak else list(SOAKS)
    with TemporaryDirectory(prefix="innkeeper-soak-") as folder:
        try:
            good = [SOAKS[name](arguments, Path(folder)) for name in chosen]
        except InnkeeperError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    say("soak", "all is well" if all(good) else "something was found, see above")
    return 0 if all(good) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("soak", nargs="?", choices=SOAKS, help="only this one")
    parser.add_argument("count", nargs="?", type=int, help="how many boots, machines or rounds of stress")
    parser.add_argument("--engine", type=EngineChoice, default=EngineChoice.BT, help="default: %(default)s")
    parser.add_argument("--vcpus", type=int, action="append", help="only this many; may be repeated")
    parser.add_argument("--seconds", type=int, default=3, help="for each class of stress-ng (default: %(default)s)")
    parser.add_argument("--part", action="append", help="of the stress only this part; may be repeated")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
