"""What back ends and callers of an orchestrator import, defined in ``mgr.module_api``.

Ceph's modules import the same names from ``orchestrator``, which stands for this package unless
Ceph's own module of that name is on the module path (docs/adr/0066).
"""

from mgr.deployment import Probe, Resources
from mgr.module_api.orchestrator.completion import (
    OrchResult,
    handle_orch_error,
    raise_if_exception,
)
from mgr.module_api.orchestrator.errors import (
    NoOrchestrator,
    OrchestratorError,
    OrchestratorNotRunningError,
    OrchestratorValidationError,
)
from mgr.module_api.orchestrator.interface import Orchestrator, OrchestratorClientMixin
from mgr.module_api.orchestrator.records import (
    DaemonDescription,
    DaemonDescriptionStatus,
    HostSpec,
    InventoryHost,
    PlannedStep,
    ServiceDescription,
    UpgradeStatusSpec,
)

__all__ = [
    "DaemonDescription",
    "DaemonDescriptionStatus",
    "HostSpec",
    "InventoryHost",
    "NoOrchestrator",
    "OrchResult",
    "Orchestrator",
    "OrchestratorClientMixin",
    "OrchestratorError",
    "OrchestratorNotRunningError",
    "OrchestratorValidationError",
    "PlannedStep",
    "Probe",
    "Resources",
    "ServiceDescription",
    "UpgradeStatusSpec",
    "handle_orch_error",
    "raise_if_exception",
]
