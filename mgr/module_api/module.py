"""The two base classes of modules: ``MgrModule`` and ``MgrStandbyModule``.

Their methods only convert arguments and call the module's context. Reads are served from memory;
``get_module_option`` and ``get_store`` cost one dictionary lookup and take no lock. Every method
may be called from any thread of the module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mgr.module_api.ceph import release
from mgr.module_api.ceph.api_marks import expose
from mgr.module_api.ceph.perf_query import PerfQueriesMixin
from mgr.module_api.ceph.rados import RadosMixin
from mgr.module_api.command import CLICommandBase, decorated_commands, register_commands
from mgr.module_api.context import ModuleContext, OptionValue, StandbyContext
from mgr.module_api.declared import ModuleBase
from mgr.module_api.health import clean_checks
from mgr.module_api.log import ClusterLogPrio as Priority
from mgr.module_api.mgr_util.display import get_pretty_header, get_pretty_row, to_pretty_iec
from mgr.module_api.parts.callers import CallersMixin
from mgr.module_api.parts.counters import CountersMixin
from mgr.module_api.parts.database import DatabaseMixin
from mgr.module_api.parts.fleet import FleetMixin
from mgr.module_api.parts.maps import MapsMixin
from mgr.module_api.parts.options import OptionsMixin
from mgr.module_api.parts.progress import ProgressMixin
from mgr.module_api.parts.store import StoreMixin, localized_store


class MgrModule(
    OptionsMixin,
    StoreMixin,
    MapsMixin,
    DatabaseMixin,
    ProgressMixin,
    FleetMixin,
    CountersMixin,
    CallersMixin,
    PerfQueriesMixin,
    RadosMixin,
):
    """Base of a module's active class. One instance exists while its manager is active.

    Set ``COMMANDS`` or decorate methods with ``CLICommand``; set ``MODULE_OPTIONS`` and
    ``NOTIFY_TYPES``; override ``serve``, ``shutdown``, ``notify``, ``config_notify``,
    ``handle_command`` and ``can_run`` as needed.
    """

    NOTIFY_TYPES: ClassVar[Sequence[str]]
    EFFECTS: ClassVar[str] = "external"
    """Where the module acts. ``store``: it changes things only through this interface, where the
    store refuses writes of an old term; it may start at once. ``none``: it changes nothing, it
    only reads and serves. ``external``: it also acts elsewhere, on hosts or through other
    services; it must not start before the previous active has certainly stopped acting. The
    operator's option ``mgr_module_effects`` takes precedence."""
    SECRET_STORE_KEYS: ClassVar[Sequence[str]] = ()
    """Keys of ``set_store`` whose values are secrets; one that ends with ``/`` stands for all that
    begin so. They are sealed in etcd if the managers have a key for that. A key with the name of a
    secret (``password``, ``token`` ...) is sealed without being listed."""
    CLICommand: ClassVar[type[CLICommandBase]]
    ClusterLogPrio = Priority

    def __init__(
        self,
        module_name: str,
        py_modules_ptr: ModuleContext,
        this_ptr: object = None,  # noqa: ARG002 - ceph-mgr hands over two opaque pointers
    ) -> None:
        self._init_module(module_name, py_modules_ptr)
        self._prepare_db()
        self._prepare_queries()
        self._commands = decorated_commands(type(self))
        self._running_command = False
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
        """Add the decorated commands to ``COMMANDS``. The host calls this at load."""
        register_commands(cls)

    # -- to override ------------------------------------------------------------------------

    def serve(self) -> None:
        """Do the module's own work, on its own thread. It may return; commands still run then.

        If it raises, the module is reported, and constructed again after a pause.
        """

    def shutdown(self) -> None:
        """Make ``serve`` return soon. Called on another thread when the module has to stop."""
        super().shutdown()

    def notify(self, notify_type: str, notify_id: Any) -> None:
        """Handle a notification of a kind listed in ``NOTIFY_TYPES``. Exceptions are only logged.

        ``notify_id`` is empty, or a tag for ``command``, or the entry for ``clog``.
        """

    def config_notify(self) -> None:
        """Handle a change of options, of this or another module."""

    def handle_command(self, inbuf: str, cmd: dict[str, Any]) -> Any:
        """Run a command of ``COMMANDS`` that has no decorated method.

        Args:
            inbuf: The content of ``-i FILE``.
            cmd: ``prefix`` and the arguments.

        Returns:
            ``HandleCommandResult``, or ``(retval, stdout, stderr)``.

        Raises:
            NotImplementedError: It is not overridden, and the command has no decorated method.

        """
        # Other modules call handle_command() directly, also for commands that are decorated now.
        command = self._commands.get(cmd["prefix"])
        if command is None:
            raise NotImplementedError
        return command.call(self, cmd, inbuf)

    @staticmethod
    def can_run() -> tuple[bool, str]:
        """Return whether the module can run on this host, and if not, why. Called once, at load."""
        return True, ""

    def self_test(self) -> str | None:
        """Test the module from inside. Raise if the test fails; may return a text to show."""
        return None

    # -- called by the host -----------------------------------------------------------------

    def _handle_command(self, inbuf: str, cmd: dict[str, Any]) -> Any:
        command = self._commands.get(cmd["prefix"])
        self._running_command = True
        try:
            if command is None:
                return self.handle_command(inbuf, cmd)
            return command.call(self, cmd, inbuf)
        finally:
            self._running_command = False

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
        """The version of the running manager, as one line."""
        return self._version

    @property
    def release_name(self) -> str:
        """The Ceph release whose module interface is implemented, in lower case."""
        return release.RELEASE

    def lookup_release_name(self, major: int) -> str:
        """Return the name of a release; ``unknown`` above the table, ``unspecified`` below 0."""
        return release.lookup_release_name(major)

    def get_mgr_ip(self) -> str:
        """Return the first address of this manager; the host's name if it has none. Cached."""
        if self._mgr_ips is None:
            self._mgr_ips = super().get_mgr_ip()
        return self._mgr_ips

    def have_mon_connection(self) -> bool:
        """Return whether reads are current: the store has answered just now."""
        return self._context.have_store_connection()

    def get_term(self) -> int:
        """Return the fencing token of this manager's term: it only grows and never repeats.

        Ours, not ceph-mgr's. Send it with requests to other services, so that they can refuse
        requests of a manager whose term is over.
        """
        return self._context.get_term()

    # -- to the outside ---------------------------------------------------------------------

    def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace this module's health checks; an empty dictionary clears them.

        By code (``MGR_HELLO_LONELY``): ``severity`` (``warning`` or ``error``), ``summary``,
        ``count``, ``detail`` (lines). Not stored: they end with this term.
        """
        if not isinstance(checks, dict):
            self.log.error("set_health_checks: expected a dictionary, got %r", checks)
            return
        self._context.set_health_checks(clean_checks(checks, self.log.error))

    def set_uri(self, uri: str) -> None:
        """Publish the address of this module's service; an empty text removes it."""
        self._context.set_uri(uri)

    def cluster_log(self, channel: str, priority: Priority, message: str) -> None:
        """Write a line to the cluster log; ``cluster`` and ``audit`` are the usual channels."""
        self._context.cluster_log(channel, priority.value, message)

    def is_authorized(self, arguments: Mapping[str, str]) -> bool:
        """Return whether the caller of the running command is authorized for ``arguments``.

        A caller that may run a command may run it with any arguments. False while no command runs,
        and if ``arguments`` is not a dictionary.
        """
        return self._running_command and isinstance(arguments, dict)

    @staticmethod
    def to_pretty_iec(n: int) -> str:
        """Format a number of bytes with a binary prefix; a prefix is used from ten units on."""
        return to_pretty_iec(n)

    @staticmethod
    def get_pretty_row(elems: Sequence[str], width: int) -> str:
        """Format a row of a table, ``width`` characters wide."""
        return get_pretty_row(elems, width)

    def get_pretty_header(self, elems: Sequence[str], width: int) -> str:
        """Format the header of a table, as wide as its rows."""
        return get_pretty_header(elems, width)

    def remote(self, module_name: str, method_name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of another module, on this thread. Values are copied both ways.

        A value that cannot be copied is passed by reference.

        Raises:
            ImportError: No such module is running.
            NameError: It has no such method.
            RuntimeError: The method raised. The error is also of the type that the method raised,
                if that can be copied; otherwise its text is the traceback.

        """
        return self._context.remote(module_name, method_name, args, kwargs)


class MgrStandbyModule(ModuleBase):
    """Base of a module's standby class: it may read, serve, and redirect clients to the active.

    One instance exists while another manager is active. The class must define ``shutdown``.
    """

    def __init__(self, module_name: str, capsule: StandbyContext) -> None:
        self._init_module(module_name, capsule)
        self._configure_logging(
            str(self.get_ceph_option("debug_mgr")),
            str(self.get_module_option("log_level") or ""),
            str(self.get_module_option("log_to_cluster_level") or ""),
            False,  # noqa: FBT003 - ceph-mgr's signature; a standby logs to the manager only
            False,  # noqa: FBT003 - as above
        )

    def serve(self) -> None:
        """Do the module's own work, on its own thread, until ``shutdown``. Must be overridden."""
        raise NotImplementedError

    def get_module_option(self, key: str, default: OptionValue = None) -> Any:
        """Return option ``key``: the stored value, else the declared default, else ``default``."""
        value = self._context.get_option(self.module_name, key)
        return self.MODULE_OPTION_DEFAULTS.get(key, default) if value is None else value

    def get_localized_module_option(self, key: str, default: OptionValue = None) -> Any:
        """Like ``get_module_option``; a value stored for this manager alone takes precedence."""
        value = self._context.get_option(self.module_name, key, localized=True)
        return self.MODULE_OPTION_DEFAULTS.get(key, default) if value is None else value

    def get_ceph_option(self, key: str) -> str | None:
        """Return one of the manager's own options as text; None if there is no such option."""
        try:
            value = self._context.get_native_option(key)
        except KeyError:
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    def get_store(self, key: str) -> str | None:
        """Return the value stored under ``key`` of this module; None if there is none."""
        return self._context.get_store(key)

    def get_localized_store(self, key: str, default: str | None = None) -> str | None:
        """Return the value stored for this manager alone, else for all, else ``default``."""
        return localized_store(self._context, key, default)

    def get_active_uri(self) -> str:
        """Return the address that the active instance published; empty if none is known."""
        return self._context.get_active_uri()


expose(MgrModule)
