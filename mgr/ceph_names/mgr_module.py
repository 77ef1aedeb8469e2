"""Names that ceph-mgr modules import from ``mgr_module``. Their home is ``mgr.module_api``."""

from mgr.module_api import CephArgtype
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
from mgr.module_api.database import (
    MAX_DBCLEANUP_RETRIES,
    CLIRequiresDB,
    MgrDBNotAllowed,
    MgrDBNotReady,
    MgrModuleRecoverDB,
)
from mgr.module_api.log import (
    ClusterLogHandler,
    ClusterLogPrio,
    FileHandler,
    MgrModuleLoggingMixin,
)
from mgr.module_api.module import MgrModule, MgrStandbyModule
from mgr.module_api.notify import NotifyType
from mgr.module_api.option import Option, OptionLevel
from mgr.module_api.release import CephReleases
from mgr.module_api.result import CommandResult, HandleCommandResult, MonCommandFailed
from mgr.module_api.timer import profile_method

__all__ = [
    "ERROR_MSG_EMPTY_INPUT_FILE",
    "ERROR_MSG_NO_INPUT_FILE",
    "MAX_DBCLEANUP_RETRIES",
    "CLICheckNonemptyFileInput",
    "CLICommand",
    "CLICommandBase",
    "CLIReadCommand",
    "CLIRequiresDB",
    "CLIWriteCommand",
    "CephArgtype",
    "CephReleases",
    "ClusterLogHandler",
    "ClusterLogPrio",
    "CommandResult",
    "FileHandler",
    "HandleCommandResult",
    "HandlerFuncType",
    "MgrDBNotAllowed",
    "MgrDBNotReady",
    "MgrModule",
    "MgrModuleLoggingMixin",
    "MgrModuleRecoverDB",
    "MgrStandbyModule",
    "MonCommandFailed",
    "NotifyType",
    "Option",
    "OptionLevel",
    "OptionValue",
    "profile_method",
]
