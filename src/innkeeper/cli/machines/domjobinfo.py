"""`inn domjobinfo`: what a machine is busy with: being saved, or nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.language import translate
from innkeeper.manager.storage.sizes import shown

if TYPE_CHECKING:
    from innkeeper.manager.jobs import JobInfo


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    add = parser.add_argument
    add("--completed", action="store_true", help="what it was busy with last")
    add("--keep-completed", action="store_true", help="with --completed: to be asked for again")
    add("--anystats", action="store_true", help="with --completed: also what failed")
    add("--rawstats", action="store_true", help="names and numbers as the manager has them")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    jobs, name = common.manager(arguments).jobs, common.name_of(arguments)
    if arguments.completed or arguments.keep_completed:
        job = jobs.completed(name, keep=arguments.keep_completed, failed=arguments.anystats)
    else:
        job = jobs.info(name)
    if arguments.json:
        common.show_json(job)
    elif arguments.rawstats:
        print(f"Job type: {job['type']}")
        print("".join(f"{key}: {value}\n" for key, value in job.items() if key != "type" and value is not None))
    else:
        print(common.facts_text(facts(job), columns=17))
    return Status.DONE


def facts(job: JobInfo) -> dict[str, str]:
    """In virsh's words.

    >>> facts({"type": "None", "operation": None, "elapsed": 0, "processed": 0, "remaining": 0, "total": 0})
    {'Job type': 'None'}
    """
    found = {translate("Job type"): job["type"]}
    if job["operation"] is None:
        return found
    found |= {translate("Operation"): job["operation"], translate("Time elapsed"): f"{job['elapsed']:<12} ms"}
    parts = [shown(job[part], digits=3) for part in ("processed", "remaining", "total")]
    for names in (
        (translate("Data processed"), translate("Data remaining"), translate("Data total")),
        (translate("Memory processed"), translate("Memory remaining"), translate("Memory total")),
    ):
        found |= dict(zip(names, parts, strict=True))
    return found
