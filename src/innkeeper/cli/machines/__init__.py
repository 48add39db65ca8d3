"""The verbs for machines that are kept: plain, and as `inn virsh` has them."""

VERBS = {
    "list": "list machines",
    "define": "keep a machine that an XML file describes",
    "undefine": "forget a machine",
    "start": "start a machine",
    "shutdown": "press a machine's power button",
    "destroy": "pull a machine's plug",
    "reset": "press a machine's reset button",
    "console": "connect to a machine's serial console; ^] leaves",
    "dumpxml": "show a machine's XML",
    "dominfo": "say what a machine is",
    "domstate": "say whether a machine runs",
    "domiflist": "list a machine's network interfaces",
    "domblklist": "list a machine's disks",
    "ttyconsole": "say where a machine's serial console is",
    "domdisplay": "say where a machine's screen is shown, as an address",
    "vncdisplay": "say where a machine's screen is shown",
    "autostart": "start a machine with the manager, or no longer",
}
