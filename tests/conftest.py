"""What tests of several rooms need."""

from pathlib import Path

import pytest


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    """A program that lists applets as busybox does: tests of archives need no package then."""
    path = tmp_path / "busybox"
    path.write_text("#!/bin/sh\nprintf 'busybox\\nls\\nsh\\n'\n")
    path.chmod(0o755)
    return path
