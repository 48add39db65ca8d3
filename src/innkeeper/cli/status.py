"""What the exit status of `inn` says."""

from enum import IntEnum


class Status(IntEnum):
    """For `inn run`; other verbs use DONE, INTERNAL and MISTAKE."""

    DONE = 0  # the guest powered off
    INTERNAL = 1  # a bug of ours
    MISTAKE = 2  # in the command, the configuration or what it names
    RESET = 3  # the guest reset the machine, with --no-reboot
    HALTED = 4  # every vCPU halted for good: nothing could ever wake the guest
    TIMEOUT = 124  # --timeout ended the run
    INTERRUPTED = 130  # the user left with ^], or closed the output
