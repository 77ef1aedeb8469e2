"""May the office be handed to this manager?"""

from __future__ import annotations

from collections.abc import Sequence

from mgr.election.eligibility import version_numbers
from mgr.election.records import Presence
from mgr.errors import NotFoundError, NotPermittedError


def check_successor(name: str, presences: Sequence[Presence], *, own: str) -> None:
    """Refuse a successor ``name`` that would not lead; ``own`` is who asks.

    Raises:
        NotFoundError: It is no warm standby; the message says who is.
        NotPermittedError: It runs an older release: what was written here is too new for it.

    """
    versions = {each.name: each.version for each in presences}
    warm = sorted({each.name for each in presences if each.warm} - {own})
    if name not in warm:
        known = ", ".join(warm) or "there is none"
        raise NotFoundError(f"manager {name!r} is no warm standby: {known}")
    theirs, ours = versions[name], versions.get(own, "")
    if version_numbers(theirs) < version_numbers(ours):
        raise NotPermittedError(
            f"manager {name!r} runs {theirs}, which is older than {ours} here: it would not lead"
        )
