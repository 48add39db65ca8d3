"""Every kernel that Debian has for this machine, with one, two and four processors, to userspace."""

import argparse
from pathlib import Path

from innkeeper.image import fetch_kernel

from .boots import boot_once
from .guests import build_guest
from .report import say

PACKAGES = ("linux-image-cloud-amd64", "linux-image-amd64", "linux-image-rt-amd64")
VCPUS = (1, 2, 4)


def soak_kernels(arguments: argparse.Namespace, folder: Path) -> bool:
    initrd = build_guest(folder)
    good = True
    for package in PACKAGES:
        kernel = fetch_kernel(package)
        for vcpus in arguments.vcpus or VCPUS:
            boot = boot_once(kernel, initrd, arguments.engine, vcpus)
            good = good and not boot.complaints
            verdict = "FAILS: " + "\n  ".join(boot.complaints) if boot.complaints else "boots"
            took = f"{boot.seconds:.2f} s, peak {boot.peak_mib:.0f} MiB"
            say("kernels", f"{kernel.release} with {vcpus} vCPUs {verdict} ({took})")
    return good
