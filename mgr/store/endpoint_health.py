"""Which endpoints of etcd have been silent for long, although the cluster as a whole answers. Pure.

An etcd that has lost one of three members works on, and stops working with the next: whoever
operates it has to be told before that. A member that restarts is not worth a warning, and one that
comes and goes should not raise and clear it again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SILENT_AFTER_S: Final = 60.0
"""An endpoint without an answer for so long is reported."""
BACK_AFTER_S: Final = 30.0
"""A reported endpoint that has answered every time for so long is reported no more."""


class EndpointHealth:
    """The answers of each endpoint. Times are seconds of one clock."""

    def __init__(self) -> None:
        """Begin without any answer."""
        self._failing_s: dict[str, float] = {}
        """Since when an endpoint has not answered. Counted from the first question, not from the
        last answer: a host that was paused for an hour asked nothing meanwhile."""
        self._back_s: dict[str, float] = {}
        """Since when a reported endpoint has answered every time."""
        self._silent: tuple[str, ...] = ()

    @property
    def silent(self) -> tuple[str, ...]:
        """The addresses of the reported endpoints, sorted."""
        return self._silent

    def observe(self, answers: Mapping[str, bool], now_s: float) -> bool:
        """Record which endpoints answered at ``now_s``; return whether ``silent`` changed.

        An address that is missing was not asked, and nothing changes for it.
        """
        before, silent = self._silent, set(self._silent)
        for address, answered in answers.items():
            if not answered:
                self._back_s.pop(address, None)
                if now_s - self._failing_s.setdefault(address, now_s) >= SILENT_AFTER_S:
                    silent.add(address)
                continue
            self._failing_s.pop(address, None)
            if address in silent and now_s - self._back_s.setdefault(address, now_s) >= (
                BACK_AFTER_S
            ):
                silent.discard(address)
                del self._back_s[address]
        self._silent = tuple(sorted(silent))
        return self._silent != before
