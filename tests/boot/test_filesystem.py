"""A folder of the host in Debian's kernel: files both ways, and nothing beyond the folder."""

from pathlib import Path

import pytest

from innkeeper.config import EngineChoice

from .conftest import Flat, Initramfs, fetched
from .inn import guest, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

MODULES = ("virtio_pci", "9p", "9pnet_virtio")
MEBIBYTE = 1 << 20
SCRIPT = """
mkdir /mnt /ro
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 files /mnt && echo mounted
mount -t 9p -o trans=virtio,version=9p2000.L locked /ro && echo mounted too
echo read $(cat /mnt/hello); md5sum /mnt/big | sed 's/^/sum /'
cp /mnt/big /mnt/copy; mkdir /mnt/made; echo from the guest >/mnt/made/file; echo more >>/mnt/made/file
ln -s made/file /mnt/link; echo link $(cat /mnt/link | head -1)
mv /mnt/made/file /mnt/made/moved; ln /mnt/made/moved /mnt/hard; stat -c 'links %h' /mnt/hard
chmod 600 /mnt/made/moved; touch -d '2001-02-03 04:05:06' /mnt/made/moved; truncate -s 5 /mnt/hard
i=0; while [ $i -lt 200 ]; do : >/mnt/made/n$i; i=$((i + 1)); done
echo names $(ls /mnt/made | wc -l); rm /mnt/made/n*; echo left $(ls /mnt/made)
cat /mnt/out/secret && echo ESCAPED; cat /mnt/../mnt/out/secret && echo ESCAPED
mknod /mnt/device c 1 3 && echo DEVICE
chown 12345 /mnt/hello && echo CHOWNED
df /mnt | grep -q files && echo counted
echo locked $(cat /ro/hello); echo x >/ro/new && echo WROTE; rm /ro/hello && echo REMOVED
umount /mnt && echo over; poweroff -f
"""


def test_a_guest_uses_a_folder_and_stays_in_it(initramfs: Initramfs, tmp_path: Path, engine: EngineChoice) -> None:
    kernel = fetched("linux-image-amd64")  # the cloud's has no 9p
    files, locked, outside = (tmp_path / name for name in ("files", "locked", "outside"))
    for folder in (files, locked, outside):
        folder.mkdir()
        (folder / "hello").write_text(f"hello from {folder.name}\n")
    big = bytes(range(256)) * 4 * 1024 * 3
    (files / "big").write_bytes(big)
    (outside / "secret").write_text("secret\n")
    (files / "out").symlink_to("../outside")  # in the guest that is another place, and here none that it reaches
    options = guest(kernel.vmlinuz, initramfs(SCRIPT, kernel, modules=MODULES), engine=engine)
    shares = [f"source={files},target=files", f"source={locked},target=locked,readonly=yes"]
    done = inn_run(*options, *(word for share in shares for word in ("--filesystem", share)))

    assert done.status == 0, done.said[-2000:] + done.complaint
    expected = ["mounted", "mounted too", "read hello from files", "link from the guest", "links 2", "names 201"]
    expected += ["left moved", "counted", "locked hello from locked", "over"]
    assert not [words for words in expected if words not in done.lines], done.said[-3000:]
    assert not {"ESCAPED", "DEVICE", "CHOWNED", "WROTE", "REMOVED"} & set(done.lines), done.said[-3000:]
    assert (files / "copy").read_bytes() == big
    assert (files / "made/moved").read_text() == "from "
    assert (files / "made/moved").stat().st_mode & 0o777 == 0o600
    assert (files / "link").readlink() == Path("made/file")
    assert not (files / "device").exists()
    assert sorted(path.name for path in locked.iterdir()) == ["hello"]


def test_a_folder_that_is_none_is_told(flat: Flat, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    done = inn_run("--kernel", str(flat(b"\xf4")), "--filesystem", f"source={missing},target=files")
    assert done.status != 0
    assert str(missing) in done.error


def test_a_reset_lets_go_and_the_next_start_mounts_again(initramfs: Initramfs, tmp_path: Path) -> None:
    kernel = fetched("linux-image-amd64")
    script = """
mkdir /mnt; mount -t 9p -o trans=virtio,version=9p2000.L files /mnt
exec 3>>/mnt/starts; echo start >&3; echo starts $(wc -l </mnt/starts)
[ $(wc -l </mnt/starts) = 2 ] && poweroff -f; reboot -f
"""
    options = guest(kernel.vmlinuz, initramfs(script, kernel, modules=MODULES))
    done = inn_run(*options, "--filesystem", f"source={tmp_path},target=files")
    assert done.status == 0, done.said[-2000:] + done.complaint
    assert [line for line in done.lines if line.startswith("starts ")] == ["starts 1", "starts 2"]
