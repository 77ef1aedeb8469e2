"""The two classes a module derives from: ``MgrModule`` and ``MgrStandbyModule``.

Thin: whatever a module reaches, it reaches through its context. Reads are answered from memory;
``get_module_option`` and ``get_store`` cost a dictionary's lookup and take no lock. Every method
may be called from any thread of the module.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mgr.clock import CLOCK
from mgr.module_api import release
from mgr.module_api.command import CLICommandBase, decorated_commands, register_commands
from mgr.module_api.context import ModuleContext, OptionValue, StandbyContext
from mgr.module_api.health import cleaned
from mgr.module_api.log import ClusterLogPrio as Priority
from mgr.module_api.log import MgrModuleLoggingMixin
from mgr.module_api.option import names_of, register_options
from mgr.module_api.result import HandleCommandResult, MonCommandFailed


class _Declares(MgrModuleLoggingMixin):
    """What the two halves of a module share: declared options, and who they are."""

    MODULE_OPTIONS: ClassVar[Sequence[Mapping[str, Any]]]
    MODULE_OPTION_DEFAULTS: ClassVar[dict[str, Any]]
    _option_names: ClassVar[frozenset[str]]

    module_name: str
    _context: StandbyContext

    @classmethod
    def _register_options(cls, module_name: str) -> None:  # noqa: ARG003 - ceph-mgr's signature
        """Append the options that every module has. The host calls this when it loads the module.

        Raises:
            ValueError: ``MODULE_OPTIONS`` is no list of dictionaries with a ``name``.

        """
        register_options(cls)
        cls._option_names = names_of(cls.MODULE_OPTIONS)

    def _take(self, module_name: str, context: StandbyContext) -> None:
        self.module_name = module_name
        self._context = context
        if "_option_names" not in vars(type(self)):
            # Constructed by hand, in a test: no host has loaded the class.
            self._register_options(module_name)

    @property
    def log(self) -> logging.Logger:
        """The module's logger."""
        return self._logger

    def get_mgr_id(self) -> str:
        """The name of this manager: the ``x`` of ``mgr.x``."""
        return self._context.manager_id

    def get_hostname(self) -> str:
        """The name of this host."""
        return socket.gethostname()

    def get_mgr_ip(self) -> str:
        """The first address of this manager; the host's name if it has none."""
        ips = (self.get("mgr_ips") or {}).get("ips") or [self.get_hostname()]
        return str(ips[0])

    def get(self, data_name: str) -> Any:
        """The document called ``data_name``; None, and a line in the log, if there is none."""
        document = self._context.get(data_name)
        if document is None:
            self.log.error("get: there is no %r here", data_name)
        return document


class MgrModule(_Declares):
    """The active half of a module. One instance lives while its manager is the active one.

    Set ``COMMANDS`` or decorate methods with ``CLICommand``; set ``MODULE_OPTIONS`` and
    ``NOTIFY_TYPES``; override ``serve``, ``shutdown``, ``notify``, ``config_notify``,
    ``handle_command`` and ``can_run`` as needed.
    """

    NOTIFY_TYPES: ClassVar[Sequence[str]]
    CLICommand: ClassVar[type[CLICommandBase]]
    ClusterLogPrio = Priority
    MGR_POOL_NAME = ".mgr"

    _context: ModuleContext

    def __init__(
        self,
        module_name: str,
        py_modules_ptr: ModuleContext,
        this_ptr: object = None,  # noqa: ARG002 - ceph-mgr hands over two opaque pointers
    ) -> None:
        self._take(module_name, py_modules_ptr)
        self._commands = decorated_commands(type(self))
        self._mgr_ips: str | None = None
        self._configure_logging(
            str(self.get_ceph_option("debug_mgr")),
            str(self.get_module_option("log_level") or ""),
            str(self.get_module_option("log_to_cluster_level") or ""),
            self.get_module_option("log_to_file") is True,
            self.get_module_option("log_to_cluster") is True,
        )
        self._version = release.version_line()

    @classmethod
    def _register_commands(cls, module_name: str) -> None:  # noqa: ARG003 - ceph-mgr's signature
        """Put decorated commands into ``COMMANDS``. The host calls this at load."""
        register_commands(cls)

    # -- to override ------------------------------------------------------------------------

    def serve(self) -> None:
        """Work in a thread of the module's own. May return at once: the module stays usable.

        A module that raises here is reported, and constructed anew after a pause.
        """

    def shutdown(self) -> None:
        """Make ``serve`` return, soon. Called from another thread when the module is to stop."""

    def notify(self, notify_type: str, notify_id: Any) -> None:
        """There is news of a kind listed in ``NOTIFY_TYPES``. The manager ignores what is raised.

        ``notify_id`` is empty, or a tag for ``command``, or the entry for ``clog``.
        """

    def config_notify(self) -> None:
        """An option changed; perhaps another module's."""

    def handle_command(self, inbuf: str, cmd: dict[str, Any]) -> Any:
        """Answer a command of ``COMMANDS`` that has no decorated method.

        Args:
            inbuf: What ``-i FILE`` held.
            cmd: ``prefix`` and the arguments.

        Returns:
            ``HandleCommandResult``, or ``(retval, stdout, stderr)``.

        """
        raise NotImplementedError

    @staticmethod
    def can_run() -> tuple[bool, str]:
        """Whether the module can run on this host, and if not, why. Asked once, at load."""
        return True, ""

    def self_test(self) -> str | None:
        """Test the module from inside. Raise if it fails; may return words of advice."""
        return None

    # -- called by the host -----------------------------------------------------------------

    def _handle_command(self, inbuf: str, cmd: dict[str, Any]) -> Any:
        command = self._commands.get(cmd["prefix"])
        if command is None:
            return self.handle_command(inbuf, cmd)
        return command.call(self, cmd, inbuf)

    def _config_notify(self) -> None:
        self._set_log_level(
            str(self.get_ceph_option("debug_mgr")),
            str(self.get_module_option("log_level") or ""),
            str(self.get_module_option("log_to_cluster_level") or ""),
        )
        self._switch_logs(
            to_file=self.get_module_option("log_to_file") is True,
            to_cluster=self.get_module_option("log_to_cluster") is True,
        )
        self.config_notify()

    # -- who and where ----------------------------------------------------------------------

    @property
    def version(self) -> str:
        """The version of the running manager, in a line."""
        return self._version

    @property
    def release_name(self) -> str:
        """The release whose module interface this is, in lower case."""
        return release.RELEASE

    def lookup_release_name(self, major: int) -> str:
        """The name of a release; ``unknown`` beyond the table, ``unspecified`` below 0."""
        return release.lookup_release_name(major)

    def get_mgr_ip(self) -> str:
        """The first address of this manager; the host's name if it has none. Asked once."""
        if self._mgr_ips is None:
            self._mgr_ips = super().get_mgr_ip()
        return self._mgr_ips

    def have_mon_connection(self) -> bool:
        """Whether what is read now is current: the store was heard from just now."""
        return self._context.have_store_connection()

    def get_term(self) -> int:
        """The fencing token of this manager's term: grows for ever, never repeats.

        Ours, not ceph-mgr's. Hand it along with what you do outside the manager, so that the
        other side can refuse one who acts on a term that is over.
        """
        return self._context.get_term()

    # -- options ----------------------------------------------------------------------------

    def get_module_option(self, key: str, default: OptionValue = None) -> Any:
        """The value of option ``key``: as stored, else as declared, else ``default``.

        A stored value has the declared type; a declared default is returned as written.

        Raises:
            RuntimeError: The option is not declared.
            ValueError: What is stored does not fit the declaration.

        """
        if key not in self._option_names:
            self._validate_module_option(key)
        value = self._context.get_option(self.module_name, key)
        return self.MODULE_OPTION_DEFAULTS.get(key, default) if value is None else value

    def get_localized_module_option(self, key: str, default: OptionValue = None) -> Any:
        """As ``get_module_option``; the value stored for this manager alone comes first."""
        self._validate_module_option(key)
        return self._get_module_option(key, default, self.get_mgr_id())

    def get_module_option_ex(self, module: str, key: str, default: OptionValue = None) -> Any:
        """As ``get_module_option`` of another module, whose declared default does not count."""
        if module == self.module_name:
            self._validate_module_option(key)
        value = self._context.get_option(module, key)
        return default if value is None else value

    def get_ceph_option(self, key: str) -> OptionValue:
        """The value of one of the manager's own options.

        Raises:
            KeyError: There is none of this name.

        """
        try:
            return self._context.get_native_option(key)
        except KeyError:
            raise KeyError(f"option not found: {key}") from None

    def set_module_option(self, key: str, val: Any) -> None:
        """Store option ``key``; None reverts it to its default. Returns once it is stored.

        Raises:
            RuntimeError: The option is not declared.
            ValueError: The value does not fit the declaration. Nothing changed.

        """
        self._validate_module_option(key)
        self._set_module_option(key, val)

    def set_localized_module_option(self, key: str, val: Any) -> None:
        """As ``set_module_option``, for this manager alone."""
        self._validate_module_option(key)
        text = None if val is None else str(val)
        self._context.set_option(self.module_name, key, text, localized=True)

    def set_module_option_ex(self, module: str, key: str, val: Any) -> None:
        """Store an option of another module. None is stored as the text ``None``, as in ceph-mgr.

        Raises:
            ValueError: The value does not fit the declaration. Nothing changed.

        """
        if module == self.module_name:
            self._validate_module_option(key)
        self._context.set_option(module, key, str(val))

    def _validate_module_option(self, key: str) -> None:
        # The list is looked at, not the set: a module may have added to it since.
        if key not in names_of(self.MODULE_OPTIONS):
            owner = type(self).__name__
            raise RuntimeError(f"Config option '{key}' is not in {owner}.MODULE_OPTIONS")

    def _get_module_option(self, key: str, default: Any, localized_prefix: str = "") -> Any:
        localized = bool(localized_prefix)
        value = self._context.get_option(self.module_name, key, localized=localized)
        return self.MODULE_OPTION_DEFAULTS.get(key, default) if value is None else value

    def _set_module_option(self, key: str, val: Any) -> None:
        self._context.set_option(self.module_name, key, None if val is None else str(val))

    # -- key/value store --------------------------------------------------------------------

    def get_store(self, key: str, default: str | None = None) -> str | None:
        """The value stored under ``key`` of this module, or ``default``."""
        value = self._context.get_store(key)
        return default if value is None else value

    def set_store(self, key: str, val: str | None) -> None:
        """Store ``val`` under ``key`` of this module; None removes it. Returns once it is stored.

        Raises:
            TypeError: ``val`` is neither text nor None.
            ValueError: There is a NUL in the key or the value.

        """
        if val is not None and not isinstance(val, str):
            raise TypeError(f"set_store({key!r}): expected text or None, got {type(val).__name__}")
        if "\0" in key or (val and "\0" in val):
            raise ValueError("embedded null character")
        self._context.set_store(key, val)

    def get_store_prefix(self, key_prefix: str) -> dict[str, str]:
        """What is stored under keys of this module that begin so: whole keys, ascending."""
        return self._context.get_store_prefix(key_prefix)

    def get_localized_store(self, key: str, default: str | None = None) -> str | None:
        """The value stored for this manager alone, else for all, else ``default``."""
        return _localized_store(self._context, key, default)

    def set_localized_store(self, key: str, val: str | None) -> None:
        """As ``set_store``, for this manager alone."""
        self.set_store(f"{self.get_mgr_id()}/{key}", val)

    # -- to the outside ---------------------------------------------------------------------

    def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace this module's health checks; an empty dictionary clears them.

        By code (``MGR_HELLO_LONELY``): ``severity`` (``warning`` or ``error``), ``summary``,
        ``count``, ``detail`` (lines). Not stored: they live as long as this term.
        """
        if not isinstance(checks, dict):
            self.log.error("set_health_checks: expected a dictionary, got %r", checks)
            return
        self._context.set_health_checks(cleaned(checks, self.log.error))

    def set_uri(self, uri: str) -> None:
        """Publish the address of this module's service; empty withdraws it. The last call wins."""
        self._context.set_uri(uri)

    def cluster_log(self, channel: str, priority: Priority, message: str) -> None:
        """Write a line to the cluster log; ``cluster`` and ``audit`` are the usual channels."""
        self._context.cluster_log(channel, priority.value, message)

    def remote(self, module_name: str, method_name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of another module, here and now. Values are copied both ways.

        Raises:
            ImportError: No such module is running.
            NameError: It has no such method.
            RuntimeError: The method raised; the text is its traceback.

        """
        return self._context.remote(module_name, method_name, args, kwargs)

    def mon_command(
        self, cmd_dict: Mapping[str, Any], inbuf: str | None = None
    ) -> HandleCommandResult:
        """Run one of the manager's own commands and wait for its answer.

        Raises:
            KeyError: There is no ``prefix``.

        """
        prefix = cmd_dict["prefix"]
        began_at = CLOCK.now()
        result = HandleCommandResult(*self._context.mon_command(cmd_dict, inbuf))
        took_s = CLOCK.now() - began_at
        self.log.debug("mon_command: %r -> %d in %.3fs", prefix, result.retval, took_s)
        return result

    def check_mon_command(
        self, cmd_dict: Mapping[str, Any], inbuf: str | None = None
    ) -> HandleCommandResult:
        """As ``mon_command``, for one that must succeed.

        Raises:
            MonCommandFailed: It did not; the text says why.

        """
        result = self.mon_command(cmd_dict, inbuf)
        if result.retval:
            why = f"{result.stderr} retval: {result.retval}"
            raise MonCommandFailed(f"{cmd_dict['prefix']} failed: {why}")
        return result


class MgrStandbyModule(_Declares):
    """The waiting half of a module: it may read, serve, and send everybody to the active half.

    One instance lives while another manager is the active one. It must define ``shutdown``.
    """

    def __init__(self, module_name: str, capsule: StandbyContext) -> None:
        self._take(module_name, capsule)
        self._configure_logging(
            str(self.get_ceph_option("debug_mgr")),
            str(self.get_module_option("log_level") or ""),
            str(self.get_module_option("log_to_cluster_level") or ""),
            False,  # noqa: FBT003 - ceph-mgr's signature; a standby logs to the manager only
            False,  # noqa: FBT003 - as above
        )

    def serve(self) -> None:
        """Work in a thread of the module's own until ``shutdown``. Must be overridden."""
        raise NotImplementedError

    def get_module_option(self, key: str, default: OptionValue = None) -> Any:
        """The value of option ``key``: as stored, else as declared here, else ``default``."""
        value = self._context.get_option(self.module_name, key)
        return self.MODULE_OPTION_DEFAULTS.get(key, default) if value is None else value

    def get_localized_module_option(self, key: str, default: OptionValue = None) -> Any:
        """As ``get_module_option``; the value stored for this manager alone comes first."""
        value = self._context.get_option(self.module_name, key, localized=True)
        return self.MODULE_OPTION_DEFAULTS.get(key, default) if value is None else value

    def get_ceph_option(self, key: str) -> str | None:
        """The value of one of the manager's own options as text; None if there is none."""
        try:
            value = self._context.get_native_option(key)
        except KeyError:
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    def get_store(self, key: str) -> str | None:
        """The value stored under ``key`` of this module; None if there is none."""
        return self._context.get_store(key)

    def get_localized_store(self, key: str, default: str | None = None) -> str | None:
        """The value stored for this manager alone, else for all, else ``default``."""
        return _localized_store(self._context, key, default)

    def get_active_uri(self) -> str:
        """The address that the active half of this module published; empty if none is known."""
        return self._context.get_active_uri()


def _localized_store(context: StandbyContext, key: str, default: str | None) -> str | None:
    for candidate in (f"{context.manager_id}/{key}", key):
        value = context.get_store(candidate)
        if value is not None:
            return value
    return default
