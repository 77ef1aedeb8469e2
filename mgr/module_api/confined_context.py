"""A module context that denies what the module's manifest does not list.

It wraps the context on the manager's side. A module in a process of its own cannot get behind it;
a module in a thread of the worker shares its memory, so there it finds mistakes and is no barrier.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn, cast

from mgr.module_api.context import ModuleContext, OptionValue
from mgr.module_api.manifest import Manifest

FREE: Final = (
    "get_term",
    "get_native_option",
    "get_active_uri",
    "load_database",
    "store_database",
    "set_health_checks",
    "set_uri",
    "update_progress_event",
    "complete_progress_event",
    "clear_all_progress_events",
    "cluster_log",
    "have_store_connection",
    "notify_all",
    "register_ceph_client",
    "identification_required",
    "identify",
    "permitted",
)
"""Methods that reach nothing but the module's own data, and what every module may tell."""
OWN_DOCUMENTS: Final = frozenset({"mgr_ips"})
"""Documents about this manager, which every module may read."""
METADATA: Final = "_metadata"
TELL: Final = "tell"
MANAGER: Final = "mgr"


def confined(context: ModuleContext, module: str, manifest: Manifest | None) -> ModuleContext:
    """Return ``context`` itself, or what enforces ``manifest`` if it wants that."""
    if manifest is None or not manifest.enforce:
        return context
    return cast("ModuleContext", ConfinedContext(context, module, manifest))


class ConfinedContext:
    """Implements ``mgr.module_api.context.ModuleContext`` over another one.

    A method that is denied raises ``PermissionError``, a command is answered ``-EACCES``, and lists
    leave out what may not be read. A method that is neither in ``FREE`` nor defined here does not
    exist, so that a new one is denied until somebody has decided about it.
    """

    def __init__(self, context: ModuleContext, module: str, manifest: Manifest) -> None:
        self._inner = context
        self._module = module
        self._manifest = manifest
        for name in FREE:
            setattr(self, name, getattr(context, name))

    @property
    def manager_id(self) -> str:
        """See ``mgr.module_api.context``."""
        return self._inner.manager_id

    # -- options and entries ----------------------------------------------------------------

    def get_option(self, module: str, name: str, *, localized: bool = False) -> OptionValue:
        """See ``mgr.module_api.context``."""
        self._check_option(module, name)
        return self._inner.get_option(module, name, localized=localized)

    def set_option(
        self, module: str, name: str, value: str | None, *, localized: bool = False
    ) -> None:
        """See ``mgr.module_api.context``."""
        self._check_option(module, name)
        self._inner.set_option(module, name, value, localized=localized)

    def get_foreign_option(self, entity: str, name: str) -> OptionValue:
        """See ``mgr.module_api.context``."""
        if not self._manifest.allows_option(name):
            self._deny(f"read the option {name!r} of {entity}", "options")
        return self._inner.get_foreign_option(entity, name)

    def get_store(self, key: str) -> str | None:
        """See ``mgr.module_api.context``."""
        self._check_keys([key])
        return self._inner.get_store(key)

    def set_store(self, key: str, value: str | None) -> None:
        """See ``mgr.module_api.context``."""
        self._check_keys([key])
        self._inner.set_store(key, value)

    def commit_store(
        self, changes: Mapping[str, str | None], expected: Mapping[str, str | None]
    ) -> bool:
        """See ``mgr.module_api.context``."""
        self._check_keys([*changes, *expected])
        return self._inner.commit_store(changes, expected)

    def watch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self._check_keys([prefix])
        self._inner.watch_store(prefix)

    def unwatch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self._inner.unwatch_store(prefix)

    def get_store_prefix(self, prefix: str) -> dict[str, str]:
        """See ``mgr.module_api.context``."""
        self._check_keys([prefix])
        return self._inner.get_store_prefix(prefix)

    # -- documents and maps -----------------------------------------------------------------

    def get(self, data_name: str) -> Any:
        """See ``mgr.module_api.context``."""
        of_daemons = data_name.endswith(METADATA) and self._manifest.allows_type(
            data_name.removesuffix(METADATA)
        )
        if not of_daemons and data_name not in OWN_DOCUMENTS:
            self._check_map(data_name)
        return self._inner.get(data_name)

    def get_map(self, name: str) -> tuple[int, Any]:
        """See ``mgr.module_api.context``."""
        self._check_map(name)
        return self._inner.get_map(name)

    def get_map_versions(self) -> dict[str, int]:
        """See ``mgr.module_api.context``."""
        found = self._inner.get_map_versions()
        return {name: found[name] for name in found if self._manifest.allows_map(name)}

    def set_map(self, name: str, text: str, expected_version: int | None) -> int | None:
        """See ``mgr.module_api.context``."""
        self._check_map(name)
        return self._inner.set_map(name, text, expected_version)

    def remove_map(self, name: str, expected_version: int | None) -> bool | None:
        """See ``mgr.module_api.context``."""
        self._check_map(name)
        return self._inner.remove_map(name, expected_version)

    def set_ceph_documents(self, texts: Mapping[str, str]) -> None:
        """See ``mgr.module_api.context``."""
        for name in texts:
            self._check_map(name)
        self._inner.set_ceph_documents(texts)

    def set_device_wear_level(self, device: str, wear_level: float) -> None:
        """See ``mgr.module_api.context``."""
        self._check_map("devices")
        self._inner.set_device_wear_level(device, wear_level)

    # -- other modules and commands ---------------------------------------------------------

    def remote(
        self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """See ``mgr.module_api.context``."""
        if module != self._module and not self._manifest.allows_remote(module, method):
            self._deny(f"call {module}.{method}", "remote")
        return self._inner.remote(module, method, args, kwargs)

    def mon_command(self, arguments: Mapping[str, Any], inbuf: str | None) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        if why := self._denied_command(arguments):
            return -errno.EACCES, "", why
        return self._inner.mon_command(arguments, inbuf)

    def run_as(
        self, caller: Mapping[str, Any], words: Sequence[str], inbuf: str
    ) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        if why := self._denied_command({"prefix": " ".join(words)}):
            return -errno.EACCES, "", why
        return self._inner.run_as(caller, words, inbuf)

    def send_command(
        self,
        arguments: Mapping[str, Any],
        inbuf: str | None,
        tag: str,
        *,
        absent: str,
        complete: Callable[[int, str, str], None],
    ) -> None:
        """See ``mgr.module_api.context``."""
        if why := self._denied_command(arguments):
            complete(-errno.EACCES, "", why)
            self._inner.notify_all("command", tag)
            return
        self._inner.send_command(arguments, inbuf, tag, absent=absent, complete=complete)

    # -- the fleet --------------------------------------------------------------------------

    def get_servers(self) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        kept = (
            {
                **server,
                "services": [
                    each
                    for each in server["services"]
                    if self._manifest.allows_daemon(f"{each['type']}.{each['id']}")
                ],
            }
            for server in self._inner.get_servers()
        )
        return [server for server in kept if server["services"]]

    def get_daemons(self) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        return [
            each for each in self._inner.get_daemons() if self._manifest.allows_daemon(each["name"])
        ]

    def get_metadata(self, kind: str, name: str) -> dict[str, str]:
        """See ``mgr.module_api.context``."""
        self._check_daemon(kind, name)
        return self._inner.get_metadata(kind, name)

    def get_daemon_status(self, kind: str, name: str) -> dict[str, str] | None:
        """See ``mgr.module_api.context``."""
        self._check_daemon(kind, name)
        return self._inner.get_daemon_status(kind, name)

    def get_daemon_health_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """See ``mgr.module_api.context``."""
        return self._of_allowed(self._inner.get_daemon_health_metrics())

    def get_perf_schema(self, kind: str, name: str, *, labelled: bool) -> dict[str, dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        return self._of_allowed(self._inner.get_perf_schema(kind, name, labelled=labelled))

    def get_counter_rows(self, kind: str, lowest_priority: int) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        entries = self._inner.get_counter_rows(kind, lowest_priority)
        if self._manifest.allows_daemons_of(kind):
            return entries
        kept = ({**entry, "rows": self._of_allowed(entry["rows"])} for entry in entries)
        return [entry for entry in kept if entry["rows"]]

    def get_counter(self, kind: str, name: str, path: str) -> list[list[float]]:
        """See ``mgr.module_api.context``."""
        self._check_daemon(kind, name)
        return self._inner.get_counter(kind, name, path)

    def get_latest_counter(self, kind: str, name: str, path: str) -> list[float]:
        """See ``mgr.module_api.context``."""
        self._check_daemon(kind, name)
        return self._inner.get_latest_counter(kind, name, path)

    def get_latest_labelled_counter(
        self, kind: str, name: str, key: str, counter: str, labels: Sequence[tuple[str, str]]
    ) -> list[float]:
        """See ``mgr.module_api.context``."""
        self._check_daemon(kind, name)
        return self._inner.get_latest_labelled_counter(kind, name, key, counter, labels)

    # -- inside -----------------------------------------------------------------------------

    def _of_allowed(self, by_daemon: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: value for name, value in by_daemon.items() if self._manifest.allows_daemon(name)
        }

    def _check_option(self, module: str, name: str) -> None:
        if module != self._module and not self._manifest.allows_option(f"{module}/{name}"):
            self._deny(f"reach the option {module}/{name}", "options")

    def _check_keys(self, keys: Iterable[str]) -> None:
        for key in keys:
            if not self._manifest.allows_key(key):
                self._deny(f"reach its key {key!r}", "store")

    def _check_map(self, name: str) -> None:
        if not self._manifest.allows_map(name):
            self._deny(f"reach the document or map {name!r}", "maps")

    def _check_daemon(self, kind: str, name: str) -> None:
        if not self._manifest.allows_daemon(f"{kind}.{name}"):
            self._deny(f"reach the daemon {kind}.{name}", "daemons")

    def _denied_command(self, arguments: Mapping[str, Any]) -> str:
        words = str(arguments.get("prefix", "")).split()
        if words[:1] == [TELL]:
            more = arguments.get("args", ())
            rest = [*words[1:], *([more] if isinstance(more, str) else map(str, more))]
            target = str(arguments.get("target", "")) or "".join(rest[:1])
            if target.partition(".")[0] != MANAGER:
                allowed = self._manifest.allows_daemon(target)
                return "" if allowed else self._why(f"send commands to {target}", "daemons")
            # ``tell mgr`` runs a command of the active itself.
            words = rest if "target" in arguments else rest[1:]
        allowed = self._manifest.allows_command(words)
        return "" if allowed else self._why(f"send the command {' '.join(words)!r}", "commands")

    def _deny(self, what: str, entry: str) -> NoReturn:
        raise PermissionError(errno.EACCES, self._why(what, entry))

    def _why(self, what: str, entry: str) -> str:
        return f"module {self._module!r} may not {what}: {entry!r} of its manifest does not list it"
