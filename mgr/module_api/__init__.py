"""The module interface: the classes and decorators that modules are written with."""

from mgr.argument.types import CephArgtype
from mgr.module_api.command import (
    CLICheckNonemptyFileInput,
    CLICommand,
    CLICommandBase,
    CLIReadCommand,
    CLIWriteCommand,
)
from mgr.module_api.log import ClusterLogPrio
from mgr.module_api.module import MgrModule, MgrStandbyModule
from mgr.module_api.notify import NotifyType
from mgr.module_api.option import Option, OptionLevel
from mgr.module_api.responder import EmptyResponder, ErrorResponse, Responder
from mgr.module_api.result import CommandResult, HandleCommandResult, MonCommandFailed

__all__ = [
    "CLICheckNonemptyFileInput",
    "CLICommand",
    "CLICommandBase",
    "CLIReadCommand",
    "CLIWriteCommand",
    "CephArgtype",
    "ClusterLogPrio",
    "CommandResult",
    "EmptyResponder",
    "ErrorResponse",
    "HandleCommandResult",
    "MgrModule",
    "MgrStandbyModule",
    "MonCommandFailed",
    "NotifyType",
    "Option",
    "OptionLevel",
    "Responder",
]
