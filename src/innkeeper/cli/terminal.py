"""Lines for people on a terminal that the guest's console may have made raw meanwhile."""

import logging
import termios

from innkeeper.language import translate

STDERR = 2


def is_raw(descriptor: int = STDERR) -> bool:
    """Whether this is a terminal on which a line feed alone does not lead to the start of a line."""
    try:
        output_modes: int = termios.tcgetattr(descriptor)[1]
    except termios.error:  # not a terminal
        return False
    return not output_modes & termios.OPOST


class LogHandler(logging.StreamHandler):  # type: ignore[type-arg] # not generic at run time in Python 3.11
    """Writes the log to stderr."""

    def format(self, record: logging.LogRecord) -> str:
        text = translate(super().format(record))
        return text.replace("\n", "\r\n") + "\r" if is_raw() else text
