"""The host's memory for guests: how much there is, and in pages of which size it can come.

Spec: Linux Documentation/admin-guide/mm/{hugetlbpage,transhuge}.rst.
"""

from pathlib import Path

from innkeeper.host.finding import Finding, Status

MM = Path("/sys/kernel/mm")
MEMINFO = Path("/proc/meminfo")
GUEST_DEFAULT_MIB = 512


def find_memory(meminfo: Path = MEMINFO) -> Finding:
    fields = {}
    for line in meminfo.read_text().splitlines():
        key, _, value = line.partition(":")
        fields[key] = int(value.split()[0])
    total_mib, available_mib = fields["MemTotal"] >> 10, fields["MemAvailable"] >> 10
    enough = available_mib >= GUEST_DEFAULT_MIB
    return Finding(
        name="memory",
        status=Status.YES if enough else Status.PARTLY,
        summary=f"{available_mib} MiB available of {total_mib} MiB",
        consequence="a guest's memory is taken from the host page by page, as the guest touches it",
        advice=None if enough else f"free some, or give the guest less than {GUEST_DEFAULT_MIB} MiB with --memory",
        facts={"total_mib": total_mib, "available_mib": available_mib},
    )


def find_huge_pages(mm: Path = MM) -> Finding:
    transparent = chosen(read(mm / "transparent_hugepage/enabled"))
    pools = {
        pool.name.removeprefix("hugepages-"): int(read(pool / "free_hugepages") or 0)
        for pool in sorted((mm / "hugepages").glob("hugepages-*"))
    }
    reserved = ", ".join(f"{count} free of {size}" for size, count in pools.items()) or "no pools"
    # Guest memory is not marked for huge pages: what a guest has not touched shall not cost the host anything.
    used = transparent == "always"
    return Finding(
        name="huge pages",
        status=Status.YES if used else Status.PARTLY if transparent == "madvise" else Status.NO,
        summary=f"transparent: {transparent}; reserved: {reserved}",
        consequence=(
            "guest memory comes in 2 MiB pages where the host has them"
            if used
            else "guest memory comes in 4 KiB pages: more TLB misses on the host, nothing wasted"
        ),
        advice=None if used else f"as root: echo always > {mm}/transparent_hugepage/enabled",
        facts={"transparent": transparent, "free": pools},
    )


def chosen(text: str) -> str:
    """The bracketed word of a sysfs choice.

    >>> chosen("always [madvise] never")
    'madvise'
    """
    return text.partition("[")[2].partition("]")[0] or "not there"


def read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:  # the kernel was built without it
        return ""
