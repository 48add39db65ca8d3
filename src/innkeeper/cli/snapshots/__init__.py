"""The verbs for machines' snapshots: plain, and as `inn virsh` has them."""

VERBS = {
    "snapshot-create": "take a snapshot of a machine: its disks, and its memory while it runs",
    "snapshot-create-as": "take a snapshot of a machine, described by options",
    "snapshot-list": "list a machine's snapshots",
    "snapshot-info": "say what a snapshot is",
    "snapshot-dumpxml": "show a snapshot's XML",
    "snapshot-edit": "edit a snapshot's XML",
    "snapshot-current": "show a machine's current snapshot, or make another one that",
    "snapshot-parent": "say which snapshot a snapshot was taken after",
    "snapshot-revert": "make a machine, its disks and its memory what they were",
    "snapshot-delete": "forget a snapshot; the disks stay as they are now",
}
