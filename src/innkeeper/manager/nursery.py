"""The process whose forks machines run in: it has imported and measured all that a machine needs, so that starting one takes no time.

Run as a program with a socket for its standard input. Each order is a connection and a log file passed over that socket; a fork reads one
line of JSON from the connection, answers one, and lives on as the machine. Single-threaded, so that its forks are whole.
"""

import gc
import json
import logging
import os
import signal
import socket
import sys
from typing import Any

from innkeeper import _core
from innkeeper.errors import HostError, InnkeeperError, refused
from innkeeper.manager import host

HANDED = 2  # descriptors an order comes with


def main() -> int:
    orders = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _core.host_tsc_khz()  # once for all forks
    gc.collect()
    gc.freeze()  # what forks share is not copied for having been counted
    while True:
        word, handed, _, _ = socket.recv_fds(orders, 1, HANDED)
        if not word:
            return 0  # the daemon has left
        child = os.fork()
        if child == 0:
            orders.close()
            return born(*handed)
        for descriptor in handed:
            os.close(descriptor)
        os.waitpid(child, 0)


def born(connection: int, log: int) -> int:
    """In a fork: nobody's child, with a log instead of a terminal."""
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    with open(os.devnull, "r+b", buffering=0) as nothing:  # noqa: PTH123 - what all programs do
        for standard, descriptor in enumerate((nothing.fileno(), nothing.fileno(), log)):
            os.dup2(descriptor, standard)
    os.close(log)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr, force=True)
    caller = socket.socket(fileno=connection)
    with caller, caller.makefile("rb") as lines:
        order = json.loads(lines.readline())

        def answer(words: dict[str, Any]) -> None:
            caller.sendall(json.dumps(words).encode() + b"\n")
            caller.shutdown(socket.SHUT_RDWR)

        try:
            return host.run(order, answer)
        except InnkeeperError as error:
            answer({"error": str(error), "kind": type(error).__name__})
            return 1
        except OSError as error:
            logging.exception("the host refuses")
            answer({"error": str(refused(error)), "kind": HostError.__name__})
            return 1
        except Exception:
            logging.exception("the machine fails")  # in the log, at which whoever started it is pointed
            return 1


if __name__ == "__main__":
    sys.exit(main())
