"""Modules: which run, what they are and need, their options, and what the log says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .options import form_of
from .page import NotFoundError, PageRequest
from .reader import Reader, Sourced

BUTTONS: Final = frozenset(
    {
        "mgr module enable",
        "mgr module disable",
        "mgr module reload",
        "mgr module release",
        "config set",
        "config rm",
    }
)
LOG_LINES: Final = 1000
SHOWN_LINES: Final = 50
ORDER: Final = ("error", "quarantined", "on", "always on", "off")


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``modules.html``."""
    return {
        "modules": modules(request.reader),
        "services": services(request.reader),
        "may": request.viewer.permitted(BUTTONS),
    }


def detail(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``module.html``."""
    reader, name = request.reader, request.params["name"]
    known = modules(reader)
    found = next((each for each in known.value or () if each["name"] == name), None)
    if found is None:
        raise NotFoundError(f"there is no module {name!r} on the active manager")
    may = request.viewer.permitted({*BUTTONS, "config dump", "log last"})
    return {
        "title": name,
        "modules": known,
        "module": found,
        "options": options_of(reader, name) if "config dump" in may else None,
        "services": services(reader),
        "log": log_of(reader, name) if "log last" in may else None,
        "may": may,
    }


def modules(reader: Reader) -> Sourced:
    """Return every module of the active manager, those in trouble first."""

    def read() -> list[dict[str, Any]]:
        listed = reader.command("mgr module ls")
        known = {each["name"]: each for each in reader.document("mgr_map")["available_modules"]}
        quarantined: Mapping[str, str] = listed["quarantined_modules"]
        on = set(listed["enabled_modules"])
        always = set(listed["always_on_modules"]) - set(listed["force_disabled_modules"])
        found = []
        for name in sorted({*known, *on, *always, *quarantined}):
            error = known.get(name, {}).get("error_string", "")
            state = (
                "quarantined" if name in quarantined
                else "error" if error and name in on | always
                else "always on" if name in always
                else "on" if name in on
                else "off"
            )  # fmt: skip
            effects = listed["module_effects"].get(name, {})
            found.append(
                {
                    "name": name,
                    "state": state,
                    "error": quarantined.get(name) or error,
                    "can_run": known.get(name, {}).get("can_run", False),
                    "effects": effects.get("effects", ""),
                    "effects_source": effects.get("source", ""),
                }
            )
        return sorted(found, key=lambda each: (ORDER.index(each["state"]), each["name"]))

    return reader.shared("modules", "modules of the active", read)


def services(reader: Reader) -> Sourced:
    """Return the addresses that modules publish, by module."""
    return reader.shared(
        "services", "service keys in etcd", lambda: dict(reader.document("mgr_map")["services"])
    )


def options_of(reader: Reader, module: str) -> Sourced:
    """Return a module's options with their values, as the forms show them."""

    def read() -> list[dict[str, Any]]:
        known = reader.document("mgr_map")["available_modules"]
        declared: Iterable[Mapping[str, Any]] = next(
            (each["module_options"].values() for each in known if each["name"] == module), ()
        )
        prefix = f"mgr/{module}/"
        stored = {
            each["name"].removeprefix(prefix): each["value"]
            for each in reader.command("config dump")
            if each["name"].startswith(prefix) and each["section"] == "mgr"
        }
        return [
            form_of(f"{prefix}{spec['name']}", spec, stored.get(spec["name"])) for spec in declared
        ]

    return reader.shared(f"options of {module}", "options in etcd", read)


def log_of(reader: Reader, module: str) -> Sourced:
    """Return the lines of the cluster log that name a module, newest first."""

    def read() -> list[dict[str, Any]]:
        lines = reader.command("log last", num=LOG_LINES, level="debug", channel="*")
        about = [each for each in lines if module in each["message"] or module == each["name"]]
        return about[::-1][:SHOWN_LINES]

    return reader.shared(f"log of {module}", "the cluster log", read)
