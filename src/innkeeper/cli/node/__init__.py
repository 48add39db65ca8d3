"""The verbs about the host that machines run on: plain, and as `inn virsh` has them."""

VERBS = {
    "nodeinfo": "say what processors and how much memory the host has",
    "nodememstats": "say how much of the host's memory is free",
    "nodecpustats": "say what the host's processors spend their time on",
    "capabilities": "show what the host can run, as libvirt's XML",
    "domcapabilities": "show what a machine can have here, as libvirt's XML",
    "hostname": "say the host's name",
    "uri": "say whose machines these are, as libvirt's connection URI",
    "version": "say which Innkeeper this is, and on what it runs",
}
