"""Marks methods that may be called from outside: ceph-mgr's module ``cli_api`` reads the marks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import UnionType
from typing import Any, ClassVar, Final, TypeVar, Union, get_args, get_type_hints

F = TypeVar("F", bound=Callable[..., Any])

READ_METHODS: Final = (
    "db_ready",
    "get",
    "get_ceph_conf_path",
    "get_ceph_option",
    "get_counter_latest",
    "get_counter_latest_avg",
    "get_daemon_status",
    "get_foreign_ceph_option",
    "get_hostname",
    "get_kv",
    "get_latest_counter",
    "get_latest_unlabeled_counter",
    "get_localized_store",
    "get_mds_perf_counters",
    "get_mgr_ip",
    "get_osd_perf_counters",
    "get_perf_counters",
    "get_perf_schema",
    "get_server",
    "get_store",
    "get_store_prefix",
    "get_unlabeled_counter",
    "get_unlabeled_counter_latest",
    "get_unlabeled_counter_latest_avg",
    "get_unlabeled_perf_counters",
    "get_unlabeled_perf_schema",
    "have_enough_osds",
    "have_mon_connection",
    "list_servers",
    "lookup_release_name",
    "pool_exists",
    "remote",
    "reregister_mds_perf_queries",
    "send_rgwadmin_command",
    "set_uri",
)
WRITE_METHODS: Final = (
    "appify_pool",
    "clear_all_progress_events",
    "complete_progress_event",
    "create_mgr_pool",
    "create_pool",
    "remove_mds_perf_query",
    "remove_osd_perf_query",
    "rename_pool",
    "set_device_wear_level",
    "set_localized_module_option",
    "set_localized_store",
    "set_store",
)
"""Methods of ``MgrModule`` that ceph-mgr marks with the permission ``w``."""


class _Mark:
    """A decorator that sets one attribute of a function."""

    attribute: ClassVar[str]
    default: ClassVar[Any]

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, func: F) -> F:
        """Mark ``func``."""
        setattr(func, self.attribute, self.value)
        return func

    @classmethod
    def get(cls, func: Callable[..., Any]) -> Any:
        """Return the value that ``func`` is marked with, or the default."""
        return getattr(func, cls.attribute, cls.default)


class _Perm(_Mark):
    """Marks which permission a call needs."""

    attribute = "__ATTR_PERM__"
    default = "r"

    def __init__(self, value: str = "r") -> None:
        super().__init__(value)


class _Expose(_Mark):
    """Marks whether a method may be called from outside."""

    attribute = "__ATTR_EXPOSE__"
    default = False


class API:
    """``@API.expose`` publishes a method; ``@API.perm("w")`` sets the permission a call needs."""

    perm = _Perm
    expose = _Expose(True)  # noqa: FBT003 - the value of the mark


def expose(owner: type) -> None:
    """Mark the methods of ``owner``, which is ``MgrModule``, that ceph-mgr marks."""
    for name in (*READ_METHODS, *WRITE_METHODS):
        method = API.expose(getattr(owner, name))
        if name in WRITE_METHODS:
            API.perm("w")(method)
        # cli_api makes commands of the annotations, so they must be types and not texts.
        plain = inspect.unwrap(method)
        hints = get_type_hints(plain)
        plain.__annotations__ = {name: _command_type(hint) for name, hint in hints.items()}


def _command_type(hint: Any) -> Any:
    """Convert a type to one that commands support: ``Optional`` for unions, ``str`` for ``Any``."""
    if isinstance(hint, UnionType):
        return Union[tuple(_command_type(part) for part in get_args(hint))]  # noqa: UP007 - the form they know
    return str if hint is Any else hint
