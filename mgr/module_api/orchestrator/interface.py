"""The class that back ends inherit, and the mixin with which other modules call them.

A back end inherits ``Orchestrator`` beside ``MgrModule`` and overrides what it can do; the rest
raises ``NotImplementedError``. Each method returns an ``OrchResult``: decorate it with
``handle_orch_error``. Callers inherit ``OrchestratorClientMixin``: the same methods, which call the
back end that is set with ``orch set backend``, and unpack the result with ``raise_if_exception``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from mgr.module_api.orchestrator.completion import OrchResult
from mgr.module_api.orchestrator.errors import NoOrchestrator, OrchestratorNotRunningError
from mgr.module_api.orchestrator.records import (
    DaemonDescription,
    HostSpec,
    InventoryHost,
    PlannedStep,
    ServiceDescription,
    UpgradeStatusSpec,
)

ORCHESTRATOR = "orchestrator"
"""The module with the commands ``orch ...``."""
SELECT = "_select_orchestrator"
"""Its method that returns the name of the back end, None if none is set."""


class Orchestrator:
    """What a back end can do."""

    # -- itself -----------------------------------------------------------------------------

    def is_orchestrator_module(self) -> bool:
        """Return True: this module is a back end."""
        return True

    def available(self) -> tuple[bool, str, dict[str, Any]]:
        """Return whether it can work now, why not, and facts about it."""
        raise NotImplementedError

    def get_feature_set(self) -> dict[str, dict[str, bool]]:
        """Return which of these methods the back end overrides."""
        return {
            name: {"available": getattr(type(self), name) is not method}
            for name, method in methods().items()
        }

    def pause(self) -> OrchResult[str]:
        """Carry out no further steps."""
        raise NotImplementedError

    def resume(self) -> OrchResult[str]:
        """Carry out steps again."""
        raise NotImplementedError

    # -- hosts ------------------------------------------------------------------------------

    def add_host(self, host_spec: HostSpec) -> OrchResult[str]:
        """Add a host."""
        raise NotImplementedError

    def remove_host(self, host: str, force: bool = False, offline: bool = False) -> OrchResult[str]:  # noqa: FBT001, FBT002 - Ceph's
        """Remove a host on which nothing is left; with ``force`` in any case."""
        raise NotImplementedError

    def drain_host(self, hostname: str, force: bool = False) -> OrchResult[str]:  # noqa: FBT001, FBT002 - Ceph's
        """Move all daemons away from a host."""
        raise NotImplementedError

    def get_hosts(self) -> OrchResult[list[HostSpec]]:
        """Return the hosts."""
        raise NotImplementedError

    def add_host_label(self, host: str, label: str) -> OrchResult[str]:
        """Add a label to a host."""
        raise NotImplementedError

    def remove_host_label(self, host: str, label: str, force: bool = False) -> OrchResult[str]:  # noqa: FBT001, FBT002 - Ceph's
        """Remove a label from a host."""
        raise NotImplementedError

    def host_ok_to_stop(self, hostname: str) -> OrchResult[str]:
        """Check whether a host may be stopped without harm."""
        raise NotImplementedError

    def get_inventory(
        self,
        host_filter: Sequence[str] | None = None,
        refresh: bool = False,  # noqa: FBT001, FBT002 - Ceph's
    ) -> OrchResult[list[InventoryHost]]:
        """Return the devices of hosts."""
        raise NotImplementedError

    # -- services ---------------------------------------------------------------------------

    def describe_service(
        self,
        service_type: str | None = None,
        service_name: str | None = None,
        refresh: bool = False,  # noqa: FBT001, FBT002 - Ceph's
    ) -> OrchResult[list[ServiceDescription]]:
        """Return the services."""
        raise NotImplementedError

    def list_daemons(
        self,
        service_name: str | None = None,
        daemon_type: str | None = None,
        daemon_id: str | None = None,
        host: str | None = None,
        refresh: bool = False,  # noqa: FBT001, FBT002 - Ceph's
    ) -> OrchResult[list[DaemonDescription]]:
        """Return the daemons."""
        raise NotImplementedError

    def apply(self, specs: Sequence[Any], no_overwrite: bool = False) -> OrchResult[list[str]]:  # noqa: FBT001, FBT002 - Ceph's
        """Take specifications; return a sentence for each."""
        raise NotImplementedError

    def plan(self, spec: Sequence[Any]) -> OrchResult[list[PlannedStep]]:
        """Return what ``apply`` would begin with, and do nothing."""
        raise NotImplementedError

    def remove_service(self, service_name: str, force: bool = False) -> OrchResult[str]:  # noqa: FBT001, FBT002 - Ceph's
        """Remove a service and its daemons."""
        raise NotImplementedError

    def service_action(self, action: str, service_name: str) -> OrchResult[list[str]]:
        """``start``, ``stop``, ``restart`` or ``redeploy`` all daemons of a service."""
        raise NotImplementedError

    def daemon_action(
        self, action: str, daemon_name: str, image: str | None = None
    ) -> OrchResult[str]:
        """``start``, ``stop``, ``restart`` or ``redeploy`` one daemon."""
        raise NotImplementedError

    def remove_daemons(self, names: Sequence[str]) -> OrchResult[list[str]]:
        """Remove single daemons; those of a service are placed again."""
        raise NotImplementedError

    # -- updates ----------------------------------------------------------------------------

    def upgrade_start(self, image: str, services: Sequence[str] | None = None) -> OrchResult[str]:
        """Bring services to another image, step by step."""
        raise NotImplementedError

    def upgrade_pause(self) -> OrchResult[str]:
        """Stop replacing daemons, for now."""
        raise NotImplementedError

    def upgrade_resume(self) -> OrchResult[str]:
        """Go on after ``upgrade_pause``."""
        raise NotImplementedError

    def upgrade_stop(self) -> OrchResult[str]:
        """Return to what ran before."""
        raise NotImplementedError

    def upgrade_status(self) -> OrchResult[UpgradeStatusSpec]:
        """Return how far an update is."""
        raise NotImplementedError


OWN = frozenset({"is_orchestrator_module", "get_feature_set"})
"""Methods that a caller does not forward."""


def methods() -> dict[str, Callable[..., Any]]:
    """Return the methods of the interface that can be called from other modules."""
    found = inspect.getmembers(Orchestrator, inspect.isfunction)
    return {name: method for name, method in found if not name.startswith("_") and name not in OWN}


class OrchestratorClientMixin(Orchestrator):
    """Has the methods of ``Orchestrator``; each calls the back end that is set."""

    _orchestrator_mgr: Any = None

    def set_mgr(self, mgr: Any) -> None:
        """Call from the module ``mgr``, where the class that inherits this is no module."""
        self._orchestrator_mgr = mgr

    def get_feature_set(self) -> dict[str, dict[str, bool]]:
        """Return which methods the back end overrides."""
        found: dict[str, dict[str, bool]] = self._oremote("get_feature_set", (), {})
        return found

    def _oremote(self, meth: str, args: Any, kwargs: Any) -> Any:
        """Call ``meth`` of the back end.

        Raises:
            NoOrchestrator: None is set.
            OrchestratorNotRunningError: It does not run now.

        """
        mgr: Any = self._orchestrator_mgr or self
        try:
            if hasattr(mgr, SELECT):
                back_end = getattr(mgr, SELECT)()
            else:
                back_end = mgr.remote(ORCHESTRATOR, SELECT)
        except ImportError:
            raise NoOrchestrator("The module orchestrator is not enabled") from None
        if back_end is None:
            raise NoOrchestrator
        try:
            return mgr.remote(back_end, meth, *args, **kwargs)
        except ImportError:
            why = f"The orchestrator {back_end!r} does not run: see 'mgrctl mgr module ls'"
            raise OrchestratorNotRunningError(why) from None


def _forward(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: OrchestratorClientMixin, *args: Any, **kwargs: Any) -> Any:
        return self._oremote(name, args, kwargs)

    call.__name__, call.__doc__ = name, method.__doc__
    return call


for _name, _method in methods().items():
    setattr(OrchestratorClientMixin, _name, _forward(_name, _method))
