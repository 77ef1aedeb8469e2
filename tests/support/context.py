"""What the host provides to a module, in a dictionary: for tests of modules, without a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mgr.active.remote import Remote
from mgr.config.schema import OptionSpec
from mgr.errors import InvalidArgumentError
from mgr.module_api.context import OptionValue


class Context:
    """Keeps the promises of ``ModuleContext``; what a module did can be read off it.

    Several modules may share a manager: give their contexts the same ``neighbours``.
    """

    def __init__(
        self,
        module: str = "test",
        cls: type | None = None,
        *,
        manager_id: str = "a",
        neighbours: dict[str, Any] | None = None,
    ) -> None:
        self.manager_id = manager_id
        self.module = module
        self.neighbours = {} if neighbours is None else neighbours
        """Running modules by name; ``remote`` reaches them."""
        self.stored_options: dict[str, str] = {}
        """Stored text by ``<module>/<option>``, or ``<module>/<manager>/<option>``."""
        self.native: dict[str, OptionValue] = {"debug_mgr": "20/20", "log_file": ""}
        self.store: dict[str, str] = {}
        self.documents: dict[str, Any] = {"mgr_ips": {"ips": ["127.0.0.1"]}}
        self.health: dict[str, Any] = {}
        self.uri = ""
        self.active_uri = ""
        self.cluster_lines: list[tuple[str, int, str]] = []
        self.commands: list[tuple[dict[str, Any], str | None]] = []
        self.answer: tuple[int, str, str] = (0, "", "")
        """What ``mon_command`` says."""
        self.connected = True
        self.term = 1
        self._specs: dict[tuple[str, str], OptionSpec] = {}
        if cls is not None:
            self.declare(module, cls)

    def declare(self, module: str, cls: Any) -> None:
        """Know the options of a module, as the host does once it has loaded it."""
        cls._register_options(module)
        for entry in cls.MODULE_OPTIONS:
            spec = OptionSpec.from_declaration(entry)
            self._specs[module, spec.name] = spec

    def get_option(self, module: str, name: str, *, localized: bool = False) -> OptionValue:
        text = self.stored_options.get(f"{module}/{self.manager_id}/{name}") if localized else None
        text = self.stored_options.get(f"{module}/{name}") if text is None else text
        spec = self._specs.get((module, name))
        return text if text is None or spec is None else spec.parse(text)

    def get_native_option(self, name: str) -> OptionValue:
        return self.native[name]

    def set_option(
        self, module: str, name: str, value: str | None, *, localized: bool = False
    ) -> None:
        key = f"{module}/{self.manager_id}/{name}" if localized else f"{module}/{name}"
        if value is None:
            self.stored_options.pop(key, None)
            return
        spec = self._specs.get((module, name))
        try:
            self.stored_options[key] = value if spec is None else spec.normalise(value)
        except InvalidArgumentError as error:
            raise ValueError(str(error)) from None

    def get_store(self, key: str) -> str | None:
        return self.store.get(key)

    def set_store(self, key: str, value: str | None) -> None:
        if value is None:
            self.store.pop(key, None)
        else:
            self.store[key] = value

    def get_store_prefix(self, prefix: str) -> dict[str, str]:
        return {key: self.store[key] for key in sorted(self.store) if key.startswith(prefix)}

    def get_active_uri(self) -> str:
        return self.active_uri

    def get(self, data_name: str) -> Any:
        if data_name in self.documents:
            return self.documents[data_name]
        if data_name == "health":
            return {"json": json.dumps({"checks": _shown(self.health)})}
        if data_name == "mgr_map":
            return {"services": {self.module: self.uri} if self.uri else {}}
        return dict(self.native) if data_name == "config" else None

    def get_term(self) -> int:
        return self.term

    def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        self.health = dict(checks)

    def set_uri(self, uri: str) -> None:
        self.uri = uri

    def cluster_log(self, channel: str, priority: int, message: str) -> None:
        self.cluster_lines.append((channel, priority, message))

    def have_store_connection(self) -> bool:
        return self.connected

    def remote(
        self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        return Remote(self.neighbours.get).call(module, method, args, kwargs)

    def mon_command(self, arguments: Mapping[str, Any], inbuf: str | None) -> tuple[int, str, str]:
        self.commands.append((dict(arguments), inbuf))
        return self.answer


def _shown(checks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    grades = {"warning": "HEALTH_WARN", "error": "HEALTH_ERR"}
    return {
        code: {
            "severity": grades.get(check.get("severity", ""), "HEALTH_OK"),
            **{key: value for key, value in check.items() if key != "severity"},
        }
        for code, check in checks.items()
    }


def run(cls: Any, name: str = "test", **options: object) -> tuple[Any, Context]:
    """One active module and its context, with options set as an operator would."""
    context = Context(name, cls)
    for option, value in options.items():
        context.set_option(name, option, str(value))
    module = cls(name, context, 0)
    context.neighbours[name] = module
    return module, context


def command(module: Any, prefix: str, inbuf: str = "", /, **arguments: Any) -> Any:
    """Have a module answer one command, as the host does."""
    return module._handle_command(inbuf, {"prefix": prefix, **arguments})
