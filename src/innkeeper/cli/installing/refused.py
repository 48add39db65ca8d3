"""Options of virt-install's that cannot be had here, each with the reason: they are errors, never ignored."""

import argparse

from innkeeper.errors import ConfigError
from innkeeper.records import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """`fine` are values that ask for what every machine here has, or has not."""

    why: str
    fine: tuple[str, ...] = ()
    value: bool = True


REFUSED = {
    "--arch": Refused("machines here are x86_64", ("x86_64", "i686")),
    "--machine": Refused("machines here are of type pc; leave it out", ("pc",)),
    "--paravirt -p": Refused(
        "guests that know Xen (PV) cannot be run yet; leave it out, and the guest has full virtualization", value=False
    ),
    "--container": Refused("containers are none of our machines", value=False),
    "--sysinfo": Refused("what a machine says of its maker cannot be chosen"),
    "--xml": Refused("make the machine, and change its XML with inn edit"),
    "--qemu-commandline": Refused("there is no QEMU in it"),
    "--cpuset": Refused("virtual processors cannot be bound to the host's; taskset does it for the whole process"),
    "--check-cpu": Refused("it means nothing any more; leave it out", value=False),
    "--numatune": Refused("NUMA nodes of the host cannot be chosen; taskset and numactl do it for the whole process"),
    "--memtune": Refused("memory cannot be limited beyond --memory"),
    "--blkiotune": Refused("a disk's share of the host cannot be chosen"),
    "--cputune": Refused("virtual processors cannot be bound to the host's; taskset does it for the whole process"),
    "--memorybacking": Refused("how guest memory is backed by the host cannot be chosen"),
    "--security --seclabel": Refused("machines have no labels; each runs with its user's rights"),
    "--keywrap": Refused("that is for s390"),
    "--iothreads": Refused("each disk has a thread of its own"),
    "--resource": Refused("resource partitions cannot be chosen"),
    "--pm": Refused("sleep states cannot be chosen; guests have S3 and S5"),
    "--launchSecurity --launch-security": Refused("there is no memory encryption"),
    "--idmap": Refused("that is for containers"),
    "--controller": Refused(
        "controllers come with the disks that need them", ("type=usb,model=none", "usb,model=none")
    ),
    "--hostdev --host-device": Refused("devices of the host cannot be lent to a guest"),
    "--sound --soundhw": Refused("there is no sound", ("none",)),
    "--audio": Refused("there is no sound", ("none", "type=none")),
    "--watchdog": Refused("there is no watchdog"),
    "--parallel": Refused("there is no parallel port", ("none",)),
    "--smartcard": Refused("there is no USB, and no smartcard reader"),
    "--redirdev": Refused("there is no USB"),
    "--tpm": Refused("there is no TPM", ("none",)),
    "--panic": Refused("there is no panic device", ("none",)),
    "--shmem": Refused("there is no shared memory device"),
    "--memdev": Refused("memory cannot be plugged in; a balloon (--memballoon) gives it back"),
    "--iommu": Refused("there is no IOMMU"),
    "--file -f": Refused("write --disk path=FILE"),
    "--file-size -s": Refused("write --disk path=FILE,size=GIB"),
    "--nonsparse": Refused("write --disk path=FILE,sparse=no", value=False),
    "--mac -m": Refused("write --network …,mac=ADDRESS"),
    "--bridge -b": Refused("write --network bridge=NAME"),
    "--keymap -k": Refused("viewers send keys as they are"),
    "--sdl": Refused("write --graphics vnc", value=False),
}


def register(parser: argparse.ArgumentParser) -> None:
    """They are taken, so that the error can name them; `--help` does not show them."""
    for words, refused in REFUSED.items():
        names = words.split()
        if refused.value:
            parser.add_argument(*names, dest=key(names[0]), action="append", nargs="?", help=argparse.SUPPRESS)
        else:
            parser.add_argument(*names, dest=key(names[0]), action="store_true", help=argparse.SUPPRESS)


def check(arguments: argparse.Namespace) -> None:
    """Raises `ConfigError` if one of them is given."""
    for words, refused in REFUSED.items():
        name = words.split()[0]
        given = getattr(arguments, key(name))
        if given is True:
            raise ConfigError(f"{name} cannot be had: {refused.why}")
        for value in given or []:
            if value is None:
                raise ConfigError(f"{name} cannot be had: {refused.why}")
            if value not in refused.fine:
                raise ConfigError(f"{name} is {value[:80]!r}, which cannot be had: {refused.why}")


def key(name: str) -> str:
    return "refused_" + name.strip("-").replace("-", "_")
