"""Debian's kernel to a shell script and a power-off while the interpreter checks what translated code does, or while
what is rare is frequent. What one boot does here for seconds, `scripts/soak checked` does at length.
"""

import pytest

from innkeeper import OutcomeKind
from innkeeper.config import EngineChoice
from innkeeper.image import KernelImage
from tests.checked import SHORT, Way, boot
from tests.engines import skip_unless_available

from .conftest import Initramfs
from .inn import APPEND, LIMIT_S

pytestmark = [pytest.mark.boot, pytest.mark.slow]

WORK = """
seq 1000 | sha256sum
awk 'BEGIN { printf "%.12f %e\\n", 355 / 113, 1 / 3e200 }'
poweroff -f
"""


@pytest.mark.parametrize("way", SHORT, ids=lambda way: way.name)
def test_translated_code_does_what_the_interpreter_does(way: Way, debian: KernelImage, initramfs: Initramfs) -> None:
    skip_unless_available(EngineChoice.BT)

    outcome, said = boot(way, debian.vmlinuz, initramfs(WORK), append=APPEND, limit_s=LIMIT_S)

    assert outcome.kind is OutcomeKind.POWERED_OFF, said[-2000:]
    assert "67d4ff71d43921d5739f387da09746f405e425b07d727e4c69d029461d1f051f  -" in said
    assert "3.141592920354 3.333333e-201" in said
