"""What running machines say of themselves: a thread for each listens at its control socket, and passes it on as events."""

import logging
import threading
import time

from innkeeper.errors import HostError
from innkeeper.machine.control import listens, watch
from innkeeper.machine.happenings import RUNNING
from innkeeper.machine.names import control_of, process_of, running
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.events import Events
from innkeeper.manager.naming import live_xml

PATIENCE_S = 20.0  # for a process that has hung up
PAUSED = "paused"
BEGINNINGS = (RUNNING, PAUSED)
LOOK_S = 0.01
KILLED = "its process was killed"

logger = logging.getLogger(__name__)


class Watch:
    """From any thread."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}
        self._processes: dict[str, int] = {}
        self._uuids: dict[str, tuple[int | None, str | None]] = {}

    def begin(self, name: str, state: str | None = None) -> None:
        """Listens to a machine that runs, unless that is done already. `state` is known of one that has just been started."""
        with self._lock:
            heard = name in self._states
            if not heard or state is not None:
                self._states[name] = state or RUNNING
            if heard:
                return
        threading.Thread(target=self._listen, args=(name,), name=f"watch-{name}", daemon=True).start()

    def state(self, name: str) -> str:
        """Of a machine that runs."""
        self.begin(name)
        return self._states.get(name, RUNNING)

    def process(self, name: str) -> int | None:
        """The number of its process; None if it has just ended."""
        if name not in self._processes:
            process = process_of(name)
            if process is None:
                return None
            self._processes[name] = process
        return self._processes[name]

    def uuid(self, name: str) -> str | None:
        """Of a transient machine that runs, which is asked once; None if it does not say, or is one of `inn run`."""
        process = self.process(name)
        known = self._uuids.get(name)
        if known is None or known[0] != process:
            try:
                xml = live_xml(name)
            except HostError as error:
                logger.info("%s does not say its UUID: %s", name, error)
                return None
            known = process, None if xml is None else str(read_xml(xml).uuid)
            self._uuids[name] = known
        return known[1]

    def _listen(self, name: str) -> None:
        end, process = None, self.process(name)
        try:
            for said in watch(control_of(name)):
                self._states[name] = said["state"]
                if said.get("what") == "stopped":
                    end = said["detail"]
                elif "what" in said:
                    self._events.publish(name, said["what"], said["detail"])
            if self._bury(name, process, comes_back=end is None):
                self._events.publish(name, "stopped", end or KILLED)
        except HostError as error:
            logger.info("%s is not heard of any more: %s", name, error)
            if name not in running():  # killed before anybody could listen
                self._events.publish(name, "stopped", end or KILLED)
        finally:
            with self._lock:
                state = self._states.pop(name, None)
                self._processes.pop(name, None)
                self._uuids.pop(name, None)
        if name in running():  # it was started again meanwhile
            self.begin(name, state if state in BEGINNINGS else None)

    @staticmethod
    def _bury(name: str, process: int | None, *, comes_back: bool) -> bool:
        """Until nothing of the process is left: whoever hears of the end may start the machine again. False if the process has done so itself."""
        deadline = time.monotonic() + PATIENCE_S
        while name in running() and process_of(name) in (None, process) and time.monotonic() < deadline:
            if comes_back and listens(control_of(name)):
                return False
            time.sleep(LOOK_S)
        return True
