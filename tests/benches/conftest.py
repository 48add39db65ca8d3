"""Lets these tests import the package of the guest benchmark, which is run from the repository's root."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
