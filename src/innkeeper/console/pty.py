"""The console on a pseudo-terminal that another program opens, as in `screen /dev/pts/5`.

Nobody has to be there: what the guest sends meanwhile is dropped, as on a serial line with no cable.
"""

import logging
import os
import select
import threading
import tty
from contextlib import suppress

from innkeeper.console.base import Leave, Receive
from innkeeper.console.input import CHUNK
from innkeeper.console.output import Output
from innkeeper.errors import HostError

LOOK_S = 0.2  # a pseudo-terminal does not tell when it is opened; look this often

logger = logging.getLogger(__name__)


class PtyConsole:
    """`path` is what to open. Our own end of it is kept closed, so that the kernel says whether anyone is there."""

    def __init__(self) -> None:
        try:
            self._master, slave = os.openpty()
        except OSError as error:
            raise HostError(f"the host gives no pseudo-terminal: {error.strerror}") from error
        self.path = os.ttyname(slave)
        tty.setraw(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._stop = threading.Event()
        self._reader: threading.Thread | None = None
        self._output = Output(self._drain)

    def start(self, receive: Receive, leave: Leave) -> None:  # noqa: ARG002 - a peer may come back
        logger.info("the console is %s", self.path)
        self._reader = threading.Thread(target=self._read, args=(receive,), name="console-input", daemon=True)
        self._reader.start()

    def write(self, data: bytes, /) -> None:
        self._output.write(data)

    def close(self) -> None:
        if self._stop.is_set():
            return
        self._output.close()
        self._stop.set()
        self._output.join()
        if self._reader is not None:
            self._reader.join()
        os.close(self._master)

    def _read(self, receive: Receive) -> None:
        while not self._stop.is_set():
            events = self._look(select.POLLIN)
            if events & select.POLLIN:
                with suppress(OSError):  # the peer left between the look and the read
                    receive(os.read(self._master, CHUNK))
            elif events & select.POLLHUP:
                self._stop.wait(LOOK_S)

    def _drain(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._stop.is_set():
            if self._look(select.POLLOUT) & select.POLLHUP:
                return
            with suppress(BlockingIOError):
                view = view[os.write(self._master, view) :]

    def _look(self, wanted: int) -> int:
        poll = select.poll()
        poll.register(self._master, wanted)
        ready = poll.poll(LOOK_S * 1000)
        return ready[0][1] if ready else 0
