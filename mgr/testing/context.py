"""A fake of ``ModuleContext`` for tests, which keeps everything in dictionaries."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mgr.active.documents import documents
from mgr.active.documents.empty import EMPTY_CEPH_DOCUMENTS
from mgr.active.modules.remote import Remote
from mgr.cluster.frozen import freeze
from mgr.cluster.owned import owned
from mgr.config.kv import checked_key, checked_value
from mgr.config.manager_options import manager_options
from mgr.config.schema import OptionSpec
from mgr.errors import InvalidArgumentError
from mgr.health.board import Board
from mgr.health.check import Check
from mgr.host.cluster_view import LeaderView
from mgr.module_api.context import OptionValue
from mgr.module_api.notify import STORE
from mgr.testing.clock import STARTS_AT
from mgr.testing.fleet import FakeFleet
from mgr.testing.people import FakePeople

ADDRESS = "127.0.0.1"
"""Address of this manager, as modules read it."""

HOST = "host"
"""Host of this manager, as the fleet shows it."""


class Context:
    """Implements ``ModuleContext`` in memory; its attributes show what a module did.

    Several modules may share a manager: give their contexts the same ``neighbours``. After a
    failover ``store`` and ``stored_options`` are still there; everything else is lost.

    Attributes:
        neighbours: Running modules by name, for ``remote``.
        stored_options: Stored text by ``<module>/<option>``, or ``<module>/<manager>/<option>``.
        native: The manager's own options.
        store: The module's entries.
        watched_prefixes: Key prefixes that the module watches.
        database: The module's database as it is stored; empty until there is one.
        documents: Documents that ``get`` returns instead of those a manager would make.
        versions: Versions of the published documents, by name; ``last_version`` is the newest.
        health: The health checks of the module, by code.
        ceph_clients: Its addresses in a Ceph cluster: instance and address.
        progress: The progress events it reported, by id, as ``status`` lists them.
        uri: The address it published; ``active_uri`` is the address a standby module reads.
        cluster_lines: The lines it wrote to the cluster log: channel, priority, message.
        commands: The commands it sent to the manager: arguments and input.
        people: Who there is and may do what, and what was run on behalf of people.
        answer: The result of ``mon_command`` if ``answers`` has none for the prefix.
        fleet: The daemons that it sees: this manager, and those a test adds.
        wear_levels: The wear levels of devices that it set.
        connected: The result of ``have_mon_connection``.
        term: The fencing token.
        on_notification: Called with kind and id of each notification that the module caused.

    """

    def __init__(
        self,
        module: str = "test",
        cls: type | None = None,
        *,
        manager_id: str = "a",
        neighbours: dict[str, Any] | None = None,
    ) -> None:
        """Serve ``module``, whose options ``cls`` declares."""
        self._manager_id = manager_id
        self.module = module
        self.neighbours: dict[str, Any] = {} if neighbours is None else neighbours
        self.stored_options: dict[str, str] = {}
        self.native: dict[str, OptionValue] = {"debug_mgr": "20/20", "log_file": ""}
        self.store: dict[str, str] = {}
        self.watched_prefixes: set[str] = set()
        self.database = b""
        self.documents: dict[str, Any] = {"mgr_ips": {"ips": [ADDRESS]}}
        self.versions: dict[str, int] = {}
        self.last_version = 0
        self.health: dict[str, Any] = {}
        self.progress: dict[str, dict[str, Any]] = {}
        self.uri = self.active_uri = ""
        self.cluster_lines: list[tuple[str, int, str]] = []
        self.commands: list[tuple[dict[str, Any], str | None]] = []
        self.people = FakePeople()
        self.answer: tuple[int, str, str] = (0, "", "")
        self.answers: dict[str, tuple[int, str, str]] = {}
        self.wear_levels: dict[str, float] = {}
        self.fleet = FakeFleet()
        self.fleet.add(f"mgr.{manager_id}", HOST)
        self.get_servers = self.fleet.get_servers
        self.get_metadata = self.fleet.get_metadata
        self.get_daemon_status = self.fleet.get_daemon_status
        self.get_daemon_health_metrics = self.fleet.get_daemon_health_metrics
        self.get_perf_schema = self.fleet.get_perf_schema
        self.get_daemons = self.fleet.get_daemons
        self.get_counter_rows = self.fleet.get_counter_rows
        self.get_counter = self.fleet.get_counter
        self.get_latest_counter = self.fleet.get_latest_counter
        self.get_latest_labelled_counter = self.fleet.get_latest_labelled_counter
        self.connected = True
        self.term = 1
        self.on_notification: Callable[[str, Any], None] = lambda _kind, _id: None
        self.ceph_clients: list[tuple[str, str]] = []
        self._specs: dict[tuple[str, str], OptionSpec] = {}
        if cls is not None:
            self.declare(module, cls)

    @property
    def manager_id(self) -> str:
        """See ``mgr.module_api.context``."""
        return self._manager_id

    def declare(self, module: str, cls: Any) -> None:
        """Register the options of a module, as the host does when it loads the module."""
        cls._register_options(module)
        for entry in cls.MODULE_OPTIONS:
            spec = OptionSpec.from_declaration(entry)
            self._specs[module, spec.name] = spec

    # -- options ----------------------------------------------------------------------------

    def get_option(self, module: str, name: str, *, localized: bool = False) -> OptionValue:
        """See ``mgr.module_api.context``."""
        text = self.stored_options.get(f"{module}/{self.manager_id}/{name}") if localized else None
        text = self.stored_options.get(f"{module}/{name}") if text is None else text
        spec = self._specs.get((module, name))
        return text if text is None or spec is None else spec.parse(text)

    def get_native_option(self, name: str) -> OptionValue:
        """See ``mgr.module_api.context``."""
        if name in self.native:
            return self.native[name]
        spec = {spec.name: spec for spec in manager_options({})}[name]
        return spec.parse(spec.default_text) if spec.default_text else ""

    def get_foreign_option(self, entity: str, name: str) -> OptionValue:  # noqa: ARG002 - all alike here
        """See ``mgr.module_api.context``."""
        try:
            return self.get_native_option(name)
        except KeyError:
            raise KeyError(f"option not found: {name}") from None

    def set_option(
        self, module: str, name: str, value: str | None, *, localized: bool = False
    ) -> None:
        """See ``mgr.module_api.context``."""
        key = f"{module}/{self.manager_id}/{name}" if localized else f"{module}/{name}"
        if value is None:
            self.stored_options.pop(key, None)
        else:
            spec = self._specs.get((module, name))
            try:
                self.stored_options[key] = value if spec is None else spec.normalise(value)
            except InvalidArgumentError as error:
                raise ValueError(str(error)) from None
        self.on_notification("config", "")

    # -- entries ----------------------------------------------------------------------------

    def get_store(self, key: str) -> str | None:
        """See ``mgr.module_api.context``."""
        return self.store.get(key)

    def set_store(self, key: str, value: str | None) -> None:
        """See ``mgr.module_api.context``."""
        checked_key(key)
        if value is None:
            self.store.pop(key, None)
        else:
            self.store[key] = checked_value(value)
        if key.startswith(tuple(self.watched_prefixes)):
            self.on_notification(STORE, key)

    def commit_store(
        self, changes: Mapping[str, str | None], expected: Mapping[str, str | None]
    ) -> bool:
        """See ``mgr.module_api.context``."""
        for key, value in changes.items():
            checked_key(key)
            checked_value(value or "")
        if any(self.store.get(key) != value for key, value in expected.items()):
            return False
        for key, value in changes.items():
            self.set_store(key, value)
        return True

    def watch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self.watched_prefixes.add(prefix)

    def unwatch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self.watched_prefixes.discard(prefix)

    def get_store_prefix(self, prefix: str) -> dict[str, str]:
        """See ``mgr.module_api.context``."""
        return {key: self.store[key] for key in sorted(self.store) if key.startswith(prefix)}

    # -- maps -------------------------------------------------------------------------------

    def get_map(self, name: str) -> tuple[int, Any]:
        """See ``mgr.module_api.context``."""
        version = self.versions.get(name, 0)
        return (version, freeze(self.documents[name])) if version else (0, None)

    def get_map_versions(self) -> dict[str, int]:
        """See ``mgr.module_api.context``."""
        return dict(self.versions)

    def set_map(self, name: str, text: str, expected_version: int | None) -> int | None:
        """See ``mgr.module_api.context``."""
        version, document = self.get_map(name)
        if expected_version not in {None, version}:
            return None
        if document == json.loads(text):
            return version
        return self.publish(name, json.loads(text))

    def remove_map(self, name: str, expected_version: int | None) -> bool | None:
        """See ``mgr.module_api.context``."""
        version, _ = self.get_map(name)
        if version and expected_version not in {None, version}:
            return None
        if version:
            del self.documents[name], self.versions[name]
            self.on_notification(name, 0)
        return bool(version)

    def publish(self, name: str, document: Mapping[str, Any]) -> int:
        """Publish a map without the manager's checks; return its version."""
        self.documents[name] = document
        self.last_version += 1
        self.versions[name] = self.last_version
        self.on_notification(name, self.last_version)
        return self.last_version

    def set_ceph_documents(self, texts: Mapping[str, str]) -> None:
        """See ``mgr.module_api.context``. They are in ``documents`` then."""
        self.documents |= {name: json.loads(text) for name, text in texts.items()}

    def register_ceph_client(self, instance: str, address: str) -> None:
        """See ``mgr.module_api.context``."""
        self.ceph_clients.append((instance, address))

    def load_database(self) -> bytes:
        """See ``mgr.module_api.context``."""
        return self.database

    def store_database(self, image: bytes) -> None:
        """See ``mgr.module_api.context``."""
        self.database = image

    # -- state of the manager ---------------------------------------------------------------

    def get_active_uri(self) -> str:
        """See ``mgr.module_api.context``."""
        return self.active_uri

    def get_term(self) -> int:
        """See ``mgr.module_api.context``."""
        return self.term

    def have_store_connection(self) -> bool:
        """See ``mgr.module_api.context``."""
        return self.connected

    def get(self, data_name: str) -> Any:
        """Return a document that the caller may change: the test's, else the manager's."""
        document = self.documents.get(data_name)
        if document is None:
            document = self._computed_document(data_name)
        if document is None:
            return documents.default_document(data_name)
        return owned(freeze(document))

    def _computed_document(self, name: str) -> Any:
        match name:
            case "health":
                return documents.health(self.board().as_document())
            case "config":
                defaults = {spec.name: spec.default_text for spec in manager_options({})}
                return defaults | {option: str(value) for option, value in self.native.items()}
            case "mgr_map":
                return self._mgr_map()
            case _:
                return EMPTY_CEPH_DOCUMENTS.get(name) or self.fleet.document(name)

    def board(self) -> Board:
        """Return a health board with the checks of this module."""
        board = Board()
        board.set(self.module, (Check.from_module(*check) for check in self.health.items()))
        return board

    def _mgr_map(self) -> dict[str, Any]:
        address = f"{ADDRESS}:7400"
        since = STARTS_AT.isoformat()
        return documents.mgr_map(
            epoch=1,
            available=True,
            leader=LeaderView(self.manager_id, "", address, "", "", self.term, since),
            presences=(),
            enabled=sorted({self.module, *self.neighbours}),
            forced_off=(),
            available_modules=[
                {"name": name, "can_run": True, "error_string": "", "module_options": {}}
                for name in sorted({self.module, *self.neighbours})
            ],
            services={self.module: self.uri} if self.uri else {},
            always_on={},
        )

    # -- to the outside ---------------------------------------------------------------------

    def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """See ``mgr.module_api.context``."""
        before, self.health = self.health, dict(checks)
        if before != self.health:
            self.on_notification("health", "")

    def set_uri(self, uri: str) -> None:
        """See ``mgr.module_api.context``."""
        self.uri = uri

    def update_progress_event(
        self, evid: str, message: str, progress: float, *, shown: bool
    ) -> None:
        """See ``mgr.module_api.context``."""
        self.progress[evid] = {"message": message, "progress": progress, "add_to_ceph_s": shown}

    def complete_progress_event(self, evid: str) -> None:
        """See ``mgr.module_api.context``."""
        self.progress.pop(evid, None)

    def clear_all_progress_events(self) -> None:
        """See ``mgr.module_api.context``."""
        self.progress.clear()

    def cluster_log(self, channel: str, priority: int, message: str) -> None:
        """See ``mgr.module_api.context``."""
        self.cluster_lines.append((channel, priority, message))

    def remote(
        self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """See ``mgr.module_api.context``."""
        return Remote(self.neighbours.get).call(module, method, args, kwargs)

    def notify_all(self, kind: str, notify_id: str) -> None:
        """See ``mgr.module_api.context``."""
        self.on_notification(kind, notify_id)

    def send_command(
        self,
        arguments: Mapping[str, Any],
        inbuf: str | None,
        tag: str,
        *,
        absent: str,
        complete: Callable[[int, str, str], None],
    ) -> None:
        """Run ``mon_command`` and complete before this returns."""
        answer = (-errno.ENXIO, "", absent) if absent else self.mon_command(arguments, inbuf)
        complete(*answer)
        self.on_notification("command", tag)

    def set_device_wear_level(self, device: str, wear_level: float) -> None:
        """See ``mgr.module_api.context``."""
        self.wear_levels[device] = wear_level

    def mon_command(self, arguments: Mapping[str, Any], inbuf: str | None) -> tuple[int, str, str]:
        """Record the command, and return the result that the test set."""
        self.commands.append((dict(arguments), inbuf))
        return self.answers.get(str(arguments.get("prefix")), self.answer)

    # -- on behalf of people ----------------------------------------------------------------

    def identification_required(self) -> bool:
        """See ``mgr.module_api.context``."""
        return bool(self.people.tokens)

    def identify(
        self, token: str, certificate: bytes, address: str, *, encrypted: bool
    ) -> dict[str, Any] | None:
        """See ``mgr.module_api.context``."""
        return self.people.identify(token, certificate, address, encrypted=encrypted)

    def permitted(self, caller: Mapping[str, Any], prefixes: Collection[str]) -> set[str]:
        """See ``mgr.module_api.context``."""
        return self.people.permitted(caller, prefixes)

    def run_as(
        self, caller: Mapping[str, Any], words: Sequence[str], inbuf: str
    ) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        return self.people.run(caller, words, inbuf, self.answers) or self.answer
