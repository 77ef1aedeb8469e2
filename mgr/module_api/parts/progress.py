"""How a module says what takes long, and how far it is."""

from __future__ import annotations

from mgr.module_api.context import ModuleContext
from mgr.module_api.declared import ModuleBase


class ProgressMixin(ModuleBase):
    """The part of a module that reports progress. Events are shared by all modules."""

    _context: ModuleContext

    def update_progress_event(
        self,
        evid: str,
        desc: str,
        progress: float,
        add_to_ceph_s: bool,  # noqa: FBT001 - ceph-mgr's signature
    ) -> None:
        """Say how far event ``evid`` is: ``progress`` from 0 to 1.

        With ``add_to_ceph_s`` it is shown to people in ``status``. Not stored: a successor's
        module reports again.
        """
        # In this order, what is no number counts as nothing done.
        done = min(max(0.0, float(progress)), 1.0)
        self._context.update_progress_event(evid, desc, done, shown=bool(add_to_ceph_s))

    def complete_progress_event(self, evid: str) -> None:
        """The event is over: it is shown no more."""
        self._context.complete_progress_event(evid)

    def clear_all_progress_events(self) -> None:
        """Forget every event, those of other modules included."""
        self._context.clear_all_progress_events()
