"""The commands that only `inn virsh` has, most of them for its shell."""

VERBS = {
    "cd": "change the shell's folder",
    "connect": "go on with other machines: this user's, or the host's",
    "echo": "say the words that are given",
    "exit": "leave the shell",
    "help": "list commands, or say what one of them does",
    "pwd": "say which folder the shell is in",
    "quit": "leave the shell",
}
