"""Jobs on the disk of a guest that writes to it meanwhile: what it wrote is then what the image holds that it moved to."""

import hashlib
import shutil
import time
from pathlib import Path

from .home import ANSWER_S
from .within import Guest, Image

PLACE, GO, SUMS = "/var/soak", "/run/soak-go", "/var/soak-sums"
BLOCKS, BLOCK_KIB, PARTS = 64, 128, 24
LATER_S = 3.0
# New files, of which the eldest are removed, and a ring whose blocks are written over and over.
WRITING = f"""
mkdir -p {PLACE}; touch {GO}; n=$(ls {PLACE} | wc -l)
while [ -e {GO} ]; do
  n=$((n + 1))
  head -c {BLOCK_KIB}K /dev/urandom >{PLACE}/part-$n
  dd if={PLACE}/part-$n of={PLACE}/ring bs={BLOCK_KIB}K seek=$((n * 7 % {BLOCKS})) conv=notrunc 2>/dev/null
  rm -f {PLACE}/part-$((n - {PARTS}))
  [ $((n % 4)) -ne 0 ] || sync
done
touch {GO}.done
"""
ENDING = f"""
rm {GO}; while [ ! -e {GO}.done ]; do sleep 0.2; done; rm {GO}.done
sync; echo 3 >/proc/sys/vm/drop_caches; cd {PLACE}; sha256sum *
"""


def soak_jobs(guest: Guest, folder: Path) -> None:
    """A commit, a pull, a copy."""
    guest.begin(WRITING)
    guest.inn("snapshot-create-as", "over", "--disk-only", "--no-metadata")
    first = guest.image
    busy(guest)
    guest.inn("blockcommit", "vda", "--active", "--pivot", "--shallow", "--delete")
    below = guest.image
    assert below != first, f"it is still on {first}"
    assert not first.exists(), f"{first} is still there"
    compare(guest, below, folder)

    guest.begin(WRITING)
    busy(guest)
    guest.inn("blockpull", "vda", "--wait")
    assert len(guest.chain) == 1, guest.chain
    compare(guest, guest.image, folder)

    guest.begin(WRITING)
    busy(guest)
    copy = folder / "moved.raw"
    guest.inn("blockcopy", "vda", str(copy), "--raw", "--pivot")
    assert guest.image == copy, guest.image
    compare(guest, copy, folder)
    guest.home.inn("image", "check", str(below))


def busy(guest: Guest) -> None:
    """Until it has written for a while."""
    time.sleep(LATER_S)
    deadline = time.monotonic() + ANSWER_S
    while int(guest.run(f"ls {PLACE} | wc -l")) < PARTS // 2:
        assert time.monotonic() < deadline, "nobody writes"


def compare(guest: Guest, path: Path, folder: Path) -> None:
    """It writes on, then no more; and what it has is what the image has."""
    time.sleep(LATER_S)
    sums = {name: digest for digest, name in (line.split() for line in guest.run(ENDING).splitlines())}
    assert len(sums) > PARTS // 2, sums
    guest.inn("domfsfreeze")
    try:
        image = Image(guest.home, path, folder)
    finally:
        guest.inn("domfsthaw")
    image.check()
    held = folder / "held"
    shutil.rmtree(held, ignore_errors=True)
    held.mkdir()
    image.unpack(PLACE, held)
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (held / Path(PLACE).name).iterdir()}
    wrong = sorted(name for name in {*sums, *found} if sums.get(name) != found.get(name))
    assert not wrong, f"{path} does not hold what the guest wrote: {wrong}"
