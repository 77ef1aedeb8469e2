"""The two classes a module derives from: ``MgrModule`` and ``MgrStandbyModule``.

Thin: whatever a module reaches, it reaches through its context. Reads are answered from memory;
``get_module_option`` and ``get_store`` cost a dictionary's lookup and take no lock. Every method
may be called from any thread of the module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mgr.module_api.ceph import release
from mgr.module_api.ceph.api_marks import expose
from mgr.module_api.ceph.native import NativeMixin
from mgr.module_api.ceph.perf_query import PerfQueriesMixin
from mgr.module_api.ceph.rados import RadosMixin
from mgr.module_api.command import CLICommandBase, decorated_commands, register_commands
from mgr.module_api.context import ModuleContext, OptionValue, StandbyContext
from mgr.module_api.declared import ModuleBase
from mgr.module_api.health import clean_checks
from mgr.module_api.log import ClusterLogPrio as Priority
from mgr.module_api.mgr_util.display import get_pretty_header, get_pretty_row, to_pretty_iec
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
    PerfQueriesMixin,
    NativeMixin,
    RadosMixin,
):
    """The active half of a module. One instance lives while its manager is the active one.

    Set ``COMMANDS`` or decorate methods with ``CLICommand``; set ``MODULE_OPTIONS`` and
    ``NOTIFY_TYPES``; override ``serve``, ``shutdown``, ``notify``, ``config_notify``,
    ``handle_command`` and ``can_run`` as needed.
    """

    NOTIFY_TYPES: ClassVar[Sequence[str]]
    EFFECTS: ClassVar[str] = "external"
    """``store``: all it changes goes through this interface, so the store judges it and it may
    start at once. ``none``: it changes nothing, it reads and serves. ``external``: it also acts
    elsewhere, on hosts or over other services, and must not before the manager that led until now
    certainly acts no more. An operator's ``mgr_module_effects`` counts before this."""
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
        """Put decorated commands into ``COMMANDS``. The host calls this at load."""
        register_commands(cls)

    # -- to override ------------------------------------------------------------------------

    def serve(self) -> None:
        """Work in a thread of the module's own. May return at once: the module stays usable.

        A module that raises here is reported, and constructed anew after a pause.
        """

    def shutdown(self) -> None:
        """Make ``serve`` return, soon. Called from another thread when the module is to stop."""
        super().shutdown()

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

        Raises:
            NotImplementedError: It is not overridden, and the command has no decorated method.

        """
        # Modules call each other's by name, with prefixes that have become decorated since.
        command = self._commands.get(cmd["prefix"])
        if command is None:
            raise NotImplementedError
        return command.call(self, cmd, inbuf)

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

    # -- to the outside ---------------------------------------------------------------------

    def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace this module's health checks; an empty dictionary clears them.

        By code (``MGR_HELLO_LONELY``): ``severity`` (``warning`` or ``error``), ``summary``,
        ``count``, ``detail`` (lines). Not stored: they live as long as this term.
        """
        if not isinstance(checks, dict):
            self.log.error("set_health_checks: expected a dictionary, got %r", checks)
            return
        self._context.set_health_checks(clean_checks(checks, self.log.error))

    def set_uri(self, uri: str) -> None:
        """Publish the address of this module's service; empty withdraws it. The last call wins."""
        self._context.set_uri(uri)

    def cluster_log(self, channel: str, priority: Priority, message: str) -> None:
        """Write a line to the cluster log; ``cluster`` and ``audit`` are the usual channels."""
        self._context.cluster_log(channel, priority.value, message)

    def is_authorized(self, arguments: Mapping[str, str]) -> bool:
        """Whether the caller of the command that is being answered may do this.

        Who may run a command may run it with any arguments. False while none is being answered,
        and where ``arguments`` is no dictionary.
        """
        return self._running_command and isinstance(arguments, dict)

    @staticmethod
    def to_pretty_iec(n: int) -> str:
        """A number of bytes with a binary prefix; a prefix is used from ten of it on."""
        return to_pretty_iec(n)

    @staticmethod
    def get_pretty_row(elems: Sequence[str], width: int) -> str:
        """A row of a table, ``width`` characters wide."""
        return get_pretty_row(elems, width)

    def get_pretty_header(self, elems: Sequence[str], width: int) -> str:
        """The head of a table, as wide as its rows."""
        return get_pretty_header(elems, width)

    def remote(self, module_name: str, method_name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of another module, here and now. Values are copied both ways.

        Raises:
            ImportError: No such module is running.
            NameError: It has no such method.
            RuntimeError: The method raised. It is of the type that the method raised as well,
                where that can be copied; else its text is the traceback.

        """
        return self._context.remote(module_name, method_name, args, kwargs)


class MgrStandbyModule(ModuleBase):
    """The waiting half of a module: it may read, serve, and send everybody to the active half.

    One instance lives while another manager is the active one. It must define ``shutdown``.
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
        return localized_store(self._context, key, default)

    def get_active_uri(self) -> str:
        """The address that the active half of this module published; empty if none is known."""
        return self._context.get_active_uri()


expose(MgrModule)
