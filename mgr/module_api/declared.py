"""Base classes of a module's active and standby class."""

from __future__ import annotations

import copy
import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mgr.module_api.context import ModuleContext, StandbyContext
from mgr.module_api.log import MgrModuleLoggingMixin
from mgr.module_api.option import names_of, register_options


class NoManager:
    """Stands for the context of a module that was constructed without one, as with ``0``."""

    def __init__(self, cls: type) -> None:
        self._name = cls.__name__

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{self._name} was constructed without a manager, which has {name!r}: in a test, use "
            f"the pytest fixture mgr_host, mgr_host.load({self._name})"
        )


class ModuleBase(MgrModuleLoggingMixin):
    """Options, identity and documents, which active and standby classes both have."""

    MODULE_OPTIONS: ClassVar[Sequence[Mapping[str, Any]]]
    MODULE_OPTION_DEFAULTS: ClassVar[dict[str, Any]]
    _option_names: ClassVar[frozenset[str]]

    module_name: str
    _context: StandbyContext

    @classmethod
    def _register_options(cls, module_name: str) -> None:  # noqa: ARG003 - ceph-mgr's signature
        """Append the options that every module has. The host calls this when it loads the module.

        Raises:
            ValueError: ``MODULE_OPTIONS`` is not a list of dictionaries with a ``name``.

        """
        register_options(cls)
        cls._option_names = names_of(cls.MODULE_OPTIONS)

    def _init_module(self, module_name: str, context: StandbyContext) -> None:
        self.module_name = module_name
        self._context = context if hasattr(context, "get") else NoManager(type(self))
        if "_option_names" not in vars(type(self)):
            # Constructed directly, in a test: no host has loaded the class.
            self._register_options(module_name)

    @property
    def log(self) -> logging.Logger:
        """The module's logger."""
        return self._logger

    def get_mgr_id(self) -> str:
        """Return the name of this manager: the ``x`` of ``mgr.x``."""
        return self._context.manager_id

    def get_hostname(self) -> str:
        """Return the name of this host."""
        return socket.gethostname()

    def get_mgr_ip(self) -> str:
        """Return the first address of this manager; the host's name if it has none."""
        ips = (self.get("mgr_ips") or {}).get("ips") or [self.get_hostname()]
        return str(ips[0])

    def get(self, data_name: str) -> Any:
        """Return the document ``data_name``; if there is none, log an error and return None."""
        document = self._context.get(data_name)
        if document is None:
            self.log.error("get: there is no document %r", data_name)
        return document


class ActiveModuleBase(ModuleBase):
    """Base of the mixins that ``MgrModule`` consists of, one for each subject."""

    _context: ModuleContext

    def get(self, data_name: str, mutable: bool = False) -> Any:  # noqa: FBT001, FBT002 - ceph-mgr's signature
        """Return the document ``data_name``; if there is none, log an error and return None.

        The caller may change it at every level; nobody else sees that. ``mutable`` makes it of
        plain dictionaries and lists at once; without it a level is copied when it is read.
        """
        document = super().get(data_name)
        return copy.deepcopy(document) if mutable else document

    def erase(self, data_name: str) -> None:
        """Do nothing: documents are updated as soon as they change, so none has to be erased."""
