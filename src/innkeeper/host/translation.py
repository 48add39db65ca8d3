"""Whether translated guest code can run on this host's processor: the engine bt."""

from innkeeper.host.finding import Finding, Status

NAME = "translation"


def find_translation(unavailable: str | None) -> Finding:
    """Judges the answer of `innkeeper._core.bt_unavailable`."""
    if unavailable is None:
        return Finding(
            name=NAME,
            status=Status.YES,
            summary="this processor runs translated code",
            consequence="guests that KVM cannot run are translated: --engine bt",
            facts={"unavailable": None},
        )
    return Finding(
        name=NAME,
        status=Status.NO,
        summary=unavailable,
        consequence="guests that KVM cannot run are interpreted: --engine interp",
        advice="a processor with AVX and FSGSBASE (Intel since Ivy Bridge, AMD since Zen), and Linux 5.9 or newer",
        facts={"unavailable": unavailable},
    )
