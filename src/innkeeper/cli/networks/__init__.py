"""The verbs for networks: as virsh has them, and those of `inn net`."""

VERBS = {
    "net-list": "list networks",
    "net-define": "keep a network that an XML file describes",
    "net-undefine": "forget a network",
    "net-start": "start a network",
    "net-destroy": "end a network: its bridge, its rules, its servers",
    "net-create": "start a network that an XML file describes, without keeping it",
    "net-info": "say what a network is",
    "net-dumpxml": "show a network's XML",
    "net-edit": "edit a network's XML",
    "net-desc": "show a network's description or title, or change it",
    "net-event": "wait for what happens to networks",
    "net-autostart": "start a network with the manager, or no longer",
    "net-name": "say a network's name by its UUID",
    "net-uuid": "say a network's UUID by its name",
    "net-update": "change one element of a network",
    "net-dhcp-leases": "list the addresses that machines have of a network",
    "net-tap": "let a user's machines join a network's bridge without root",
}
