"""The interface between a module and its host. ``mgr.testing`` has a fake of it.

Rules: a module does not use the event loop, etcd or gRPC. All arguments and results are plain
values that can be pickled, because a module may run in a process of its own. Every method may be
called from any thread of the module. Reads are served from memory. Writes return once the store
has them and are then visible to every thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

OptionValue = bool | int | float | str | None


class StandbyContext(Protocol):
    """What the host offers to a module on a standby."""

    @property
    def manager_id(self) -> str:
        """The name of this manager: the ``x`` of ``mgr.x``."""
        ...

    def get_option(self, module: str, name: str, *, localized: bool = False) -> OptionValue:
        """Return the stored value of ``mgr/<module>/<name>``, typed as ``module`` declared it.

        None if no value is stored: the module class applies defaults itself. With ``localized``,
        ``mgr/<module>/<manager id>/<name>`` takes precedence.

        Raises:
            ValueError: The stored text does not fit the declared type.

        """
        ...

    def get_native_option(self, name: str) -> OptionValue:
        """Return an option of the manager itself, typed; its default if it is unset.

        Raises:
            KeyError: No such option.

        """
        ...

    def get_store(self, key: str) -> str | None:
        """Return the value of this module's ``key``, None if absent."""
        ...

    def get_active_uri(self) -> str:
        """Return the address that this module's active instance published; empty if unknown."""
        ...

    def get(self, data_name: str) -> Any:
        """Return a named document (``mgr_map``, ``health``, ...); None for an unknown name.

        A standby has ``mgr_ips`` only.
        """
        ...


class ModuleContext(StandbyContext, Protocol):
    """What the host offers to a module on the active manager."""

    def get_term(self) -> int:
        """Return the fencing token of this manager's term: it only grows and never repeats."""
        ...

    def get_foreign_option(self, entity: str, name: str) -> OptionValue:
        """Return an option of the manager itself, as ``entity`` would read it.

        Raises:
            KeyError: No such option (``option not found: ...``), or ``invalid entity: ...``.

        """
        ...

    def set_option(
        self, module: str, name: str, value: str | None, *, localized: bool = False
    ) -> None:
        """Store ``mgr/<module>/<name>`` in section ``mgr``; None removes it.

        Raises:
            ValueError: The text does not fit the declaration; the message explains it. Nothing
                changed.

        """
        ...

    def set_store(self, key: str, value: str | None) -> None:
        """Store this module's ``key``; None removes it."""
        ...

    def commit_store(
        self, changes: Mapping[str, str | None], expected: Mapping[str, str | None]
    ) -> bool:
        """Store all of ``changes`` in one transaction, if this module's keys have these values.

        None as a value removes a key, or expects it to be absent. Returns False, and changes
        nothing, if another value was found.

        Raises:
            TermLostError: The term is over. Nothing changed.
            StoreError: It failed, or its outcome is unknown; see ``mgr.errors``.

        """
        ...

    def watch_store(self, prefix: str) -> None:
        """Notify the module (``STORE``) of changes of its keys that begin with ``prefix``."""
        ...

    def unwatch_store(self, prefix: str) -> None:
        """End ``watch_store`` of the same prefix."""
        ...

    def get_store_prefix(self, prefix: str) -> dict[str, str]:
        """Return this module's entries whose keys begin with ``prefix``: full keys, ascending."""
        ...

    def get_map(self, name: str) -> tuple[int, Any]:
        """Return a published map's version and the map, read only; 0 and None if there is none."""
        ...

    def get_map_versions(self) -> dict[str, int]:
        """Return the version of every published map, by name."""
        ...

    def set_map(self, name: str, text: str, expected_version: int | None) -> int | None:
        """Publish a JSON object; return its version, None if the current version is unexpected.

        ``expected_version`` 0 expects that there is no map; None publishes in any case.

        Raises:
            ValueError: The name is taken or invalid, or the text cannot be published.

        """
        ...

    def remove_map(self, name: str, expected_version: int | None) -> bool | None:
        """Remove a map; return whether there was one, None if the current version is unexpected.

        ``expected_version`` as for ``set_map``.
        """
        ...

    def set_ceph_documents(self, texts: Mapping[str, str]) -> None:
        """Publish documents of a Ceph cluster, as JSON by name, instead of the empty ones.

        Modules that want it are notified. They end with this module's instance.

        Raises:
            ValueError: A name is not one of Ceph's documents, or a text is not JSON.

        """
        ...

    def register_ceph_client(self, instance: str, address: str) -> None:
        """Record an address at which this module is a client of the Ceph cluster.

        Once another manager leads, or the module has another ``instance``, the module ``ceph`` has
        the cluster refuse that address.
        """
        ...

    def load_database(self) -> bytes:
        """Read this module's SQLite database as it was last stored; empty if there is none.

        Raises:
            StoreUnavailableError: The store does not answer.

        """
        ...

    def store_database(self, image: bytes) -> None:
        """Replace the database that was loaded or stored before by ``image``, atomically.

        Raises:
            TooLargeError: It is above the limit. Nothing changed.
            ConflictError: Another database was stored meanwhile. Nothing changed.
            StoreUnavailableError: Nothing changed; ``OutcomeUnknownError`` if that is unknown.
            TermLostError: Nothing changed or will change.

        """
        ...

    def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace this module's health checks."""
        ...

    def set_uri(self, uri: str) -> None:
        """Publish the module's service address; an empty text removes it."""
        ...

    def update_progress_event(
        self, evid: str, message: str, progress: float, *, shown: bool
    ) -> None:
        """Report the progress of an event, from 0 to 1; ``shown`` lists it in ``status``, too."""
        ...

    def complete_progress_event(self, evid: str) -> None:
        """Remove a completed event. No error if it is unknown."""
        ...

    def clear_all_progress_events(self) -> None:
        """Remove every event, of all modules."""
        ...

    def cluster_log(self, channel: str, priority: int, message: str) -> None:
        """Write a line to the cluster log: 0 debug, 1 info, 2 security, 3 warning, 4 error."""
        ...

    def have_store_connection(self) -> bool:
        """Return whether reads are current: the mirror got an update from the store recently."""
        ...

    def remote(
        self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a method of another module, on the caller's thread; values are copied.

        Raises:
            ImportError: No such module is running.
            NameError: It has no such method.
            RuntimeError: The method raised. The error is also of the type that the method raised,
                if that can be copied; otherwise its text is the traceback.

        """
        ...

    def notify_all(self, kind: str, notify_id: str) -> None:
        """Notify every module that has ``kind`` in its ``NOTIFY_TYPES``."""
        ...

    def send_command(
        self,
        arguments: Mapping[str, Any],
        inbuf: str | None,
        tag: str,
        *,
        absent: str,
        complete: Callable[[int, str, str], None],
    ) -> None:
        """Start a command like ``mon_command`` and return at once.

        ``complete`` is called with the result, on its own thread; then modules are notified of
        ``command`` with ``tag``. If ``absent`` is not empty, it is the reason why the command
        cannot run: the result is ``-ENXIO`` and that text. A context in another process keeps
        ``complete`` there and sends a number instead.
        """
        ...

    # -- the fleet: results are copies that the caller may change -------------------------

    def get_servers(self) -> list[dict[str, Any]]:
        """Return every host and its daemons, each as ``MgrModule.get_server`` returns it."""
        ...

    def get_metadata(self, kind: str, name: str) -> dict[str, str]:
        """Return the metadata that a daemon reported; empty if the daemon is unknown."""
        ...

    def get_daemon_status(self, kind: str, name: str) -> dict[str, str] | None:
        """Return the last status of a daemon; empty if it reported none, None if it is unknown."""
        ...

    def get_daemon_health_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """Return the health metrics of every known daemon, by name."""
        ...

    def set_device_wear_level(self, device: str, wear_level: float) -> None:
        """Store the wear level in the device's record; a value below 0 removes it."""
        ...

    def get_perf_schema(self, kind: str, name: str, *, labelled: bool) -> dict[str, dict[str, Any]]:
        """Return the counter schemas by daemon; an empty ``kind`` or ``name`` stands for all.

        For each daemon by path; with ``labelled``, a list of ``{"labels", "counters"}`` by key.
        """
        ...

    def get_daemons(self) -> list[dict[str, Any]]:
        """Return every daemon that reports, with its identity: see ``MgrModule.get_daemons``."""
        ...

    def get_counter_rows(self, kind: str, lowest_priority: int) -> list[dict[str, Any]]:
        """Return the newest values of all counters: see ``MgrModule.get_counter_rows``."""
        ...

    def get_counter(self, kind: str, name: str, path: str) -> list[list[float]]:
        """Return the last points, oldest first: ``[time, value]`` or ``[time, sum, count]``."""
        ...

    def get_latest_counter(self, kind: str, name: str, path: str) -> list[float]:
        """Return the newest point; empty if there is none."""
        ...

    def get_latest_labelled_counter(
        self, kind: str, name: str, key: str, counter: str, labels: Sequence[tuple[str, str]]
    ) -> list[float]:
        """Return the newest point of a counter with labels; empty if there is none."""
        ...

    def mon_command(self, arguments: Mapping[str, Any], inbuf: str | None) -> tuple[int, str, str]:
        """Run one of the manager's own commands; return ``(retval, stdout, stderr)``."""
        ...

    # -- on behalf of people: see ``mgr.module_api.parts.callers`` -------------------------

    def identification_required(self) -> bool:
        """Return whether clients of this cluster have to identify themselves."""
        ...

    def identify(
        self, token: str, certificate: bytes, address: str, *, encrypted: bool
    ) -> dict[str, Any] | None:
        """Return the caller that a token or a certificate names; None if it names nobody."""
        ...

    def permitted(self, caller: Mapping[str, Any], prefixes: Collection[str]) -> set[str]:
        """Return those commands of ``prefixes`` that ``caller`` may run."""
        ...

    def run_as(
        self, caller: Mapping[str, Any], words: Sequence[str], inbuf: str
    ) -> tuple[int, str, str]:
        """Run a command with the rights of ``caller``; return ``(retval, stdout, stderr)``."""
        ...
