"""A Debian system as a tar archive: mmdebstrap makes it, with root's rights or without, and a script inside sets it up.

Left out: other distributions, and hosts without mmdebstrap.
"""

import os
import re
import shlex
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from innkeeper.errors import ImageError
from innkeeper.image.rootfs.recipe import RootfsRecipe
from innkeeper.records import dataclass

SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))
SEED_PLACE = "/var/lib/cloud/seed/nocloud"
WORK = "/innkeeper"  # in the new system, while it is set up
STAGE = re.compile(r"I: ([a-z][^\n]*?)\.\.\.\s*$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Told = Callable[[str], None]
"""Is told what begins now."""

SETUP = """\
set -eu
umask 022
echo {hostname} >/etc/hostname
printf '127.0.0.1\\tlocalhost\\n127.0.1.1\\t%s\\n::1\\tlocalhost ip6-localhost\\n' {hostname} >/etc/hosts
echo LANG=C.UTF-8 >/etc/default/locale
cat >/etc/fstab <<'END'
UUID={root_uuid} / ext4 defaults,errors=remount-ro 0 1
END
cat >/etc/apt/sources.list <<'END'
deb http://deb.debian.org/debian {suite} main
deb http://deb.debian.org/debian {suite}-updates main
deb http://deb.debian.org/debian-security {suite}-security main
END
rm -f /etc/apt/sources.list.d/*
mkdir -p /etc/systemd/network
cat >/etc/systemd/network/80-wired.network <<'END'
[Match]
Type=ether
[Network]
DHCP=yes
END
systemctl enable systemd-networkd >/dev/null 2>&1
systemctl disable systemd-networkd-wait-online >/dev/null 2>&1 || true
: >/etc/machine-id
chpasswd <{work}/password
cat >>/etc/default/grub <<'END'
GRUB_TIMEOUT=1
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
END
mkdir -p /boot/grub
cat >/boot/grub/grub.cfg <<'END'
# Until update-grub writes a fuller one.
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
search --no-floppy --fs-uuid --set=root {root_uuid}
set timeout=1
menuentry 'Debian GNU/Linux' {{
    linux /vmlinuz root=UUID={root_uuid} ro console=tty0 console=ttyS0,115200
    initrd /initrd.img
}}
END
test -e /vmlinuz && test -e /initrd.img
cat >{work}/early.cfg <<'END'
search --no-floppy --fs-uuid --set=root {root_uuid}
set prefix=($root)/boot/grub
END
modules='part_gpt ext2 search search_fs_uuid normal configfile linux serial terminal echo test reboot halt minicmd'
grub-mkimage -O i386-pc -o {work}/core.img -c {work}/early.cfg -p /boot/grub biosdisk $modules
grub-mkimage -O x86_64-efi -o {work}/bootx64.efi -c {work}/early.cfg -p /boot/grub efi_gop $modules
cp /usr/lib/grub/i386-pc/boot.img {work}/
mkdir -p /boot/grub/i386-pc /boot/grub/x86_64-efi
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /boot/grub/i386-pc/
cp /usr/lib/grub/x86_64-efi/*.mod /usr/lib/grub/x86_64-efi/*.lst /boot/grub/x86_64-efi/
"""


@dataclass(frozen=True, slots=True)
class System:
    """What was made, as files in one directory."""

    directory: Path

    @property
    def archive(self) -> Path:
        return self.directory / "system.tar"

    def read(self, name: str) -> bytes:
        """One of GRUB's images."""
        return (self.directory / name).read_bytes()


GRUB_FILES = ("boot.img", "core.img", "bootx64.efi")


def make_system(recipe: RootfsRecipe, root_uuid: UUID, directory: Path, told: Told) -> System:
    """Makes the archive and GRUB's images in `directory`. Raises `ImageError`."""
    system = System(directory)
    hooks = write_scripts(recipe, root_uuid, directory)
    command = [
        "mmdebstrap",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(recipe.all_packages())}",
        *(f"--customize-hook={hook}" for hook in hooks),
        recipe.suite,
        str(system.archive),
        *host_sources(),
    ]
    follow(command, told)
    return system


def host_sources() -> list[str]:
    """The host's own package sources, those of Debian, which it can reach."""
    files = [file for place in SOURCES for file in (sorted(place.iterdir()) if place.is_dir() else [place])]
    known = [str(file) for file in files if file.suffix in (".list", ".sources") and "debian" in text_of(file)]
    return known or ["http://deb.debian.org/debian"]


def text_of(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def write_scripts(recipe: RootfsRecipe, root_uuid: UUID, directory: Path) -> list[str]:
    """What mmdebstrap is to do at the end. Files go in and out by its own hooks, whatever user it works as."""
    script = SETUP.format(hostname=recipe.hostname, suite=recipe.suite, root_uuid=root_uuid, work=WORK)
    inside = {f"{WORK}/setup": script, f"{WORK}/password": f"root:{recipe.password}\n"}
    if recipe.ssh_keys:
        inside["/root/.ssh/authorized_keys"] = "".join(key.strip() + "\n" for key in recipe.ssh_keys)
    for name, content in (recipe.cloud_init or {}).items():
        inside[f"{SEED_PLACE}/{name}"] = content
    hooks = [f'mkdir -p "$1"{WORK}']
    for number, (place, content) in enumerate(inside.items()):
        file = directory / f"upload-{number}"
        file.touch(0o600)
        file.write_text(content)
        hooks.append(f'mkdir -p "$1"{shlex.quote(str(Path(place).parent))}')
        hooks.append(f"upload {shlex.quote(str(file))} {shlex.quote(place)}")
    if recipe.ssh_keys:
        hooks.append('chmod 700 "$1"/root/.ssh && chmod 600 "$1"/root/.ssh/authorized_keys')
    hooks.append(f'chroot "$1" sh {WORK}/setup')
    hooks += [f"download {WORK}/{name} {shlex.quote(str(directory / name))}" for name in GRUB_FILES]
    hooks.append(f'rm -rf "$1"{WORK}')
    return hooks


def follow(command: list[str], told: Told) -> None:
    """Runs it and passes on what it says that it does; its last complaints become the error's."""
    complaints: deque[str] = deque(maxlen=3)
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None  # noqa: S101 - a pipe, as asked
        try:
            for raw in process.stderr:
                line = COLOUR.sub("", raw).strip()
                if (stage := STAGE.fullmatch(line)) is not None:
                    told(stage[1])
                elif line.startswith("E: "):
                    complaints.append(line.removeprefix("E: "))
        except BaseException:
            process.terminate()  # it removes what it made
            raise
    if process.returncode != 0:
        raise ImageError(f"mmdebstrap failed: {'; '.join(complaints) or f'exit status {process.returncode}'}")
