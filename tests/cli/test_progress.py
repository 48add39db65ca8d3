"""The progress bar draws on a terminal only, and cleans up after itself."""

import io

from innkeeper.cli.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_drawn_into_a_file() -> None:
    file = io.StringIO()
    with ProgressBar("disk", file) as bar:
        bar("copying", 0.5)
    assert file.getvalue() == ""


def test_the_line_says_how_far_it_is_and_is_gone_at_the_end() -> None:
    terminal = Terminal()
    with ProgressBar("disk", terminal) as bar:
        bar("copying", 0.5)
    lines = terminal.getvalue().split("\r")
    assert "disk [━━━━━━━━━━━━━━━               ]  50%" in lines[1]
    assert lines[1].endswith("copying")
    assert lines[2].strip() == ""
    assert len(lines[2]) == len(lines[1])
