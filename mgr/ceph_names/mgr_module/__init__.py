"""Names that ceph-mgr modules import from ``mgr_module``, defined in ``mgr.module_api``."""

import json
from typing import TYPE_CHECKING

from mgr.module_api import CephArgtype
from mgr.module_api.ceph.api_marks import API
from mgr.module_api.ceph.constants import NFS_GANESHA_SUPPORTED_FSALS, NFS_POOL_NAME, PG_STATES
from mgr.module_api.ceph.crush_map import CRUSHMap
from mgr.module_api.ceph.osd_map import OSDMap, OSDMapIncremental
from mgr.module_api.ceph.rados import attribute as _attribute
from mgr.module_api.ceph.reef_command import Command
from mgr.module_api.ceph.release import CephReleases
from mgr.module_api.command import (
    ERROR_MSG_EMPTY_INPUT_FILE,
    ERROR_MSG_NO_INPUT_FILE,
    CLICheckNonemptyFileInput,
    CLICommand,
    CLICommandBase,
    CLIReadCommand,
    CLIWriteCommand,
    HandlerFuncType,
)
from mgr.module_api.context import OptionValue
from mgr.module_api.health import HealthChecksT
from mgr.module_api.log import (
    ClusterLogHandler,
    ClusterLogPrio,
    CPlusPlusHandler,
    FileHandler,
    MgrModuleLoggingMixin,
    MgrRootHandler,
)
from mgr.module_api.mgr_util.timer import profile_method
from mgr.module_api.module import MgrModule, MgrStandbyModule
from mgr.module_api.notify import NotifyType
from mgr.module_api.option import Option, OptionLevel
from mgr.module_api.parts.counters import PerfCounterT
from mgr.module_api.parts.database import (
    MAX_DBCLEANUP_RETRIES,
    CLIRequiresDB,
    MgrDBNotAllowed,
    MgrDBNotReady,
    MgrModuleRecoverDB,
)
from mgr.module_api.parts.fleet import ServerInfoT, ServiceInfoT
from mgr.module_api.parts.options import _get_localized_key
from mgr.module_api.result import CommandResult, HandleCommandResult, MonCommandFailed

__all__ = [
    "API",
    "ERROR_MSG_EMPTY_INPUT_FILE",
    "ERROR_MSG_NO_INPUT_FILE",
    "MAX_DBCLEANUP_RETRIES",
    "NFS_GANESHA_SUPPORTED_FSALS",
    "NFS_POOL_NAME",
    "PG_STATES",
    "CLICheckNonemptyFileInput",
    "CLICommand",
    "CLICommandBase",
    "CLIReadCommand",
    "CLIRequiresDB",
    "CLIWriteCommand",
    "CPlusPlusHandler",
    "CRUSHMap",
    "CephArgtype",
    "CephReleases",
    "ClusterLogHandler",
    "ClusterLogPrio",
    "Command",
    "CommandResult",
    "FileHandler",
    "HandleCommandResult",
    "HandlerFuncType",
    "HealthChecksT",
    "MgrDBNotAllowed",
    "MgrDBNotReady",
    "MgrModule",
    "MgrModuleLoggingMixin",
    "MgrModuleRecoverDB",
    "MgrRootHandler",
    "MgrStandbyModule",
    "MonCommandFailed",
    "NotifyType",
    "OSDMap",
    "OSDMapIncremental",
    "Option",
    "OptionLevel",
    "OptionValue",
    "PerfCounterT",
    "ServerInfoT",
    "ServiceInfoT",
    "_get_localized_key",
    "json",
    "profile_method",
]

if not TYPE_CHECKING:  # to a type checker it would say that every misspelt name exists
    __getattr__ = _attribute
