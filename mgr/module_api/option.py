"""The class with which modules declare options, and the options that every module has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

LOG_LEVELS: Final = ["info", "debug", "critical", "error", "warning", ""]


class OptionLevel(IntEnum):
    """Whom an option is meant for."""

    BASIC = 0
    ADVANCED = 1
    DEV = 2
    UNKNOWN = 3


class Option(dict[str, Any]):
    """One entry of ``MODULE_OPTIONS``: a dictionary of the arguments that were given.

    ``type`` is one of str, int, uint, size, float, bool, secs, millisecs, addr, addrvec, uuid.
    ``min`` and ``max`` are inclusive. ``runtime`` declares that a change takes effect at once.
    ``secret``, an addition, declares that the value is a secret, which listings, logs and errors do
    not show; without it the name decides (``password``, ``api_key``, ...).
    """

    def __init__(  # noqa: PLR0913, PLR0917 - ceph-mgr's signature
        self,
        name: str,
        level: OptionLevel = OptionLevel.ADVANCED,
        default: Any = None,
        type: str = "str",  # noqa: A002 - ceph-mgr's word
        desc: str | None = None,
        long_desc: str | None = None,
        min: Any = None,  # noqa: A002 - as above
        max: Any = None,  # noqa: A002 - as above
        enum_allowed: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        see_also: Sequence[str] | None = None,
        runtime: bool = False,  # noqa: FBT001, FBT002 - as above
        *,
        secret: bool | None = None,
    ) -> None:
        fields = {
            "name": name,
            "level": level,
            "default": default,
            "type": type,
            "desc": desc,
            "long_desc": long_desc,
            "min": min,
            "max": max,
            "enum_allowed": enum_allowed,
            "tags": tags,
            "see_also": see_also,
            "runtime": runtime,
            "secret": secret,
        }
        super().__init__({key: value for key, value in fields.items() if value is not None})


def standard_options() -> list[Option]:
    """Return the declarations of the options that every module has."""
    return [
        Option(
            "log_level",
            default="",
            desc="Lowest level this module logs; empty: as the manager's debug_mgr says",
            enum_allowed=LOG_LEVELS,
            runtime=True,
        ),
        Option(
            "log_to_file",
            type="bool",
            default=False,
            desc="Log to a file of this module's own, beside the manager's log_file",
            runtime=True,
        ),
        Option(
            "sqlite3_killpoint",
            level=OptionLevel.DEV,
            type="int",
            default=0,
            desc="Die at this point of a schema upgrade; for tests",
            runtime=True,
        ),
        Option(
            "log_to_cluster",
            type="bool",
            default=False,
            desc="Log to the cluster log as well",
            runtime=True,
        ),
        Option(
            "log_to_cluster_level",
            default="info",
            desc="Lowest level this module logs to the cluster log",
            enum_allowed=LOG_LEVELS,
            runtime=True,
        ),
    ]


def register_options(cls: type[Any]) -> None:
    """Append the standard options to ``cls.MODULE_OPTIONS`` and collect every default.

    In place; a second call adds nothing. A module's own declaration of one of them stays.

    Raises:
        ValueError: ``MODULE_OPTIONS`` is not a sequence of dictionaries that have a ``name``.

    """
    listed = getattr(cls, "MODULE_OPTIONS", [])
    is_sequence = isinstance(listed, (list, tuple))
    if not is_sequence or not all(isinstance(each, dict) and "name" in each for each in listed):
        raise ValueError("Missing or invalid MODULE_OPTIONS attribute")
    if "MODULE_OPTIONS" not in vars(cls) or not isinstance(listed, list):
        # Never into a list that a base class shares with other modules.
        cls.MODULE_OPTIONS = listed = list(listed)
    declared = {each["name"] for each in listed}
    listed.extend(each for each in standard_options() if each["name"] not in declared)
    cls.MODULE_OPTION_DEFAULTS = {
        each["name"]: default_of(each) for each in listed if "default" in each
    }


def default_of(declaration: Mapping[str, Any]) -> Any:
    """Return the default as a module reads it: as written, or as text if no type is declared.

    An option without a type is always read as text, whether it is a default or stored.
    """
    default = declaration["default"]
    return default if "type" in declaration else str(default)


def names_of(declarations: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the names of the declared options."""
    return frozenset(each["name"] for each in declarations)
