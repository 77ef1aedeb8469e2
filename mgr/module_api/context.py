"""Everything a module can reach. The host implements it; ``mgr.testing`` fakes it.

Rules of this border: a module knows neither the event loop, nor etcd, nor gRPC; whatever
crosses is a plain value that could be pickled, so that a module may one day live in a process
of its own. Every method may be called from any thread of the module. Reads are served from
memory; writes wait until the store has them and are then visible to every thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

OptionValue = bool | int | float | str | None


class StandbyContext(Protocol):
    """What a waiting module can reach."""

    @property
    def manager_id(self) -> str:
        """The name of this manager: the ``x`` of ``mgr.x``."""
        ...

    def get_option(self, module: str, name: str, *, localized: bool = False) -> OptionValue:
        """The stored value of ``mgr/<module>/<name>``, typed as ``module`` declared it.

        None where nothing is stored: defaults are the module class's own business. With
        ``localized``, ``mgr/<module>/<manager id>/<name>`` is preferred.

        Raises:
            ValueError: The stored text does not fit the declared type.

        """
        ...

    def get_native_option(self, name: str) -> OptionValue:
        """An option of the manager itself, typed, its default where unset.

        Raises:
            KeyError: No such option.

        """
        ...

    def get_store(self, key: str) -> str | None:
        """The value of this module's ``key``, None if absent."""
        ...

    def get_active_uri(self) -> str:
        """The address the active instance of this module published; empty if none is known."""
        ...

    def get(self, data_name: str) -> Any:
        """A named document (``mgr_map``, ``health``, ...); None for an unknown name.

        A standby knows ``mgr_ips`` only.
        """
        ...


class ModuleContext(StandbyContext, Protocol):
    """What a module of the active manager can reach."""

    def get_term(self) -> int:
        """The fencing token of this manager's term: grows for ever, never repeats."""
        ...

    def get_foreign_option(self, entity: str, name: str) -> OptionValue:
        """An option of the manager itself, as ``entity`` would read it.

        Raises:
            KeyError: No such option (``option not found: ...``), or ``invalid entity: ...``.

        """
        ...

    def set_option(
        self, module: str, name: str, value: str | None, *, localized: bool = False
    ) -> None:
        """Store ``mgr/<module>/<name>`` in section ``mgr``; None removes it.

        Raises:
            ValueError: The text does not fit the declaration; says why. Nothing changed.

        """
        ...

    def set_store(self, key: str, value: str | None) -> None:
        """Store this module's ``key``; None removes it."""
        ...

    def commit_store(
        self, changes: Mapping[str, str | None], expected: Mapping[str, str | None]
    ) -> bool:
        """Store all of ``changes`` in one transaction, if this module's keys stand as expected.

        None removes a key, or expects it to be absent. False: they do not; nothing changed.

        Raises:
            TermLostError: The term is over. Nothing changed.
            StoreError: It did not work, or is unknown to have worked; see ``mgr.errors``.

        """
        ...

    def watch_store(self, prefix: str) -> None:
        """From now on, notify the module of ``STORE`` with each of its keys that begins so."""
        ...

    def unwatch_store(self, prefix: str) -> None:
        """End what ``watch_store`` began with the same prefix."""
        ...

    def get_store_prefix(self, prefix: str) -> dict[str, str]:
        """This module's keys that begin with ``prefix``, whole keys, ascending."""
        ...

    def get_map(self, name: str) -> tuple[int, Any]:
        """A published map's version and the map, read only; 0 and None where there is none."""
        ...

    def get_map_versions(self) -> dict[str, int]:
        """The version of every published map, by name."""
        ...

    def set_map(self, name: str, text: str, expected_version: int | None) -> int | None:
        """Publish a JSON object; its version, or None if another version than expected is there.

        0 expects that there is none, None expects nothing.

        Raises:
            ValueError: The name is taken or is none, or the text cannot be published.

        """
        ...

    def remove_map(self, name: str, expected_version: int | None) -> bool | None:
        """Withdraw a map: whether there was one; None if another version than expected is there.

        ``expected_version`` as for ``set_map``.
        """
        ...

    def load_database(self) -> bytes:
        """This module's SQLite database as it was last kept, as of now; empty if there is none.

        Raises:
            StoreUnavailableError: The store is silent.

        """
        ...

    def store_database(self, image: bytes) -> None:
        """Keep ``image`` instead of the database that was loaded or kept before, all or nothing.

        Raises:
            TooLargeError: It is above the limit. Nothing changed.
            ConflictError: Somebody else kept another one meanwhile. Nothing changed.
            StoreUnavailableError: Nothing changed; ``OutcomeUnknownError`` if nobody knows.
            TermLostError: Nothing changed, nor will it.

        """
        ...

    def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace this module's checks."""
        ...

    def set_uri(self, uri: str) -> None:
        """Publish the module's service address; empty withdraws it."""
        ...

    def update_progress_event(
        self, evid: str, message: str, progress: float, *, shown: bool
    ) -> None:
        """Say how far something is, from 0 to 1; ``shown``: to people, too."""
        ...

    def complete_progress_event(self, evid: str) -> None:
        """It is done. No error where it is not known."""
        ...

    def clear_all_progress_events(self) -> None:
        """Forget every event, of whichever module."""
        ...

    def cluster_log(self, channel: str, priority: int, message: str) -> None:
        """Write a line to the cluster log: 0 debug, 1 info, 2 security, 3 warning, 4 error."""
        ...

    def have_store_connection(self) -> bool:
        """Whether what is read now is current: the mirror heard from the store just now."""
        ...

    def remote(
        self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a method of another module, on the caller's thread, arguments by value.

        Raises:
            ImportError: No such module is running.
            NameError: It has no such method.
            RuntimeError: The method raised. It is of the type that the method raised as well,
                where that can be copied; else its text is the traceback.

        """
        ...

    def notify_all(self, kind: str, notify_id: str) -> None:
        """Notify every module that asked for ``kind``."""
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
        """As ``mon_command``, and return at once; then ``command`` is notified with ``tag``.

        ``complete`` gets the answer, on a thread of its own: a context in another process keeps
        it there and sends a number instead. If ``absent`` says why nobody can run the command,
        the answer is ``-ENXIO`` and that.
        """
        ...

    # -- the fleet: whatever comes out is the caller's own --------------------------------

    def get_servers(self) -> list[dict[str, Any]]:
        """Every host and its daemons, in the form of ``MgrModule.get_server``."""
        ...

    def get_metadata(self, kind: str, name: str) -> dict[str, str]:
        """What a daemon said of itself; empty if it is not known."""
        ...

    def get_daemon_status(self, kind: str, name: str) -> dict[str, str] | None:
        """What a daemon last reported; empty if it did not, None if it is not known."""
        ...

    def get_daemon_health_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """Every known daemon by name, and its health metrics."""
        ...

    def set_device_wear_level(self, device: str, wear_level: float) -> None:
        """Store it with what else is known of the device; below 0, forget it."""
        ...

    def get_perf_schema(self, kind: str, name: str, *, labelled: bool) -> dict[str, dict[str, Any]]:
        """What daemons count, by daemon; an empty ``kind`` or ``name`` stands for all.

        By path, or, ``labelled``, by key a list of ``{"labels", "counters"}``.
        """
        ...

    def get_daemons(self) -> list[dict[str, Any]]:
        """Every daemon that reports, and who it is: see ``MgrModule.get_daemons``."""
        ...

    def get_counter_rows(self, kind: str, lowest_priority: int) -> list[dict[str, Any]]:
        """The newest values of all counters: see ``MgrModule.get_counter_rows``."""
        ...

    def get_counter(self, kind: str, name: str, path: str) -> list[list[float]]:
        """The last points, from old to new: ``[time, value]`` or ``[time, sum, count]``."""
        ...

    def get_latest_counter(self, kind: str, name: str, path: str) -> list[float]:
        """The newest point; empty if there is none."""
        ...

    def get_latest_labelled_counter(
        self, kind: str, name: str, key: str, counter: str, labels: Sequence[tuple[str, str]]
    ) -> list[float]:
        """The newest point; empty if there is none."""
        ...

    def mon_command(self, arguments: Mapping[str, Any], inbuf: str | None) -> tuple[int, str, str]:
        """Run one of the manager's own commands; ``(retval, stdout, stderr)``."""
        ...
