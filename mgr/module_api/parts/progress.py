"""Lets a module report the progress of long operations."""

from __future__ import annotations

from mgr.module_api.context import ModuleContext
from mgr.module_api.declared import ModuleBase


class ProgressMixin(ModuleBase):
    """Gives a module progress events, which operators see in ``status``. All modules share them."""

    _context: ModuleContext

    def update_progress_event(
        self,
        evid: str,
        desc: str,
        progress: float,
        add_to_ceph_s: bool,  # noqa: FBT001 - ceph-mgr's signature
    ) -> None:
        """Report the progress of event ``evid``, from 0 to 1.

        With ``add_to_ceph_s``, ``status`` shows it. It is not stored: after a failover the module
        has to report it again.
        """
        # In this order of arguments, NaN becomes 0.
        done = min(max(0.0, float(progress)), 1.0)
        self._context.update_progress_event(evid, desc, done, shown=bool(add_to_ceph_s))

    def complete_progress_event(self, evid: str) -> None:
        """Remove an event that is complete."""
        self._context.complete_progress_event(evid)

    def clear_all_progress_events(self) -> None:
        """Remove every event, including those of other modules."""
        self._context.clear_all_progress_events()
