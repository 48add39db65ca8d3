"""`inn completion SHELL`: a script that has bash, zsh or fish ask `inn complete` how a command line may go on."""

import argparse

from innkeeper.cli.status import Status

BASH = """\
_inn() {
    mapfile -t COMPREPLY < <(inn complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [[ ${COMPREPLY[0]} == / ]] && { COMPREPLY=(); compopt -o default; }
}
complete -F _inn inn
"""
ZSH = """\
#compdef inn
_inn() {
    local -a found
    found=("${(@f)$(inn complete -- "${words[@]:1:$((CURRENT - 1))}" 2>/dev/null)}")
    if [[ ${found[1]} == / ]]; then _files; else compadd -- "${found[@]}"; fi
}
compdef _inn inn
"""
FISH = """\
function __inn_complete
    set -l found (inn complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)
    if test "$found[1]" = /
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $found
    end
end
complete -c inn -f -a '(__inn_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "for bash: inn completion bash > ~/.local/share/bash-completion/completions/inn"
    parser.add_argument("shell", choices=SCRIPTS, metavar="SHELL", help=f"{', '.join(SCRIPTS)}")


def execute(arguments: argparse.Namespace) -> int:
    print(SCRIPTS[arguments.shell], end="")
    return Status.DONE
