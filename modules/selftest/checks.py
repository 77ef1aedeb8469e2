"""Checks of the module interface, run from inside a running module.

Each check gets the module, leaves nothing behind, and raises ``CheckFailed`` if it fails.
"""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from mgr_module import ClusterLogPrio, CommandResult

POLLS_MAX: Final = 300
PAUSE_S: Final = 0.01
"""Documents are updated shortly after a change: read up to ``POLLS_MAX`` times, this far apart."""

URI: Final = "http://selftest.invalid/"
CODE: Final = "MGR_SELFTEST"


class CheckFailed(Exception):  # noqa: N818 - reads as what it is: "CheckFailed: option ..."
    """A check failed; the text names it."""


class ModuleUnderTest(Protocol):
    """The methods that the checks call: those of ``MgrModule``, and one for ``remote``."""

    module_name: str

    def __getattr__(self, name: str) -> Any:
        """Everything that ``MgrModule`` has."""
        ...


def options_are_typed(module: ModuleUnderTest) -> None:
    """A value reads back as its declared type; a removed one as its default, as written."""
    for name, text, value in (
        ("text", "über", "über"),
        ("number", "42", 42),
        ("size", "4K", 4096),
        ("real", "1.5", 1.5),
        ("truth", "true", True),
        ("pause", "2m", 120.0),
    ):
        default = module.MODULE_OPTION_DEFAULTS[name]
        module.set_module_option(name, text)
        _expect_equal(f"option {name}", module.get_module_option(name), value)
        module.set_module_option(name, None)
        _expect_equal(f"option {name}, removed", module.get_module_option(name, "unused"), default)


def options_are_bounded(module: ModuleUnderTest) -> None:
    """A value that does not fit is refused, and nothing changes."""
    for name, bad in (("number", "101"), ("number", "many"), ("mood", "sad")):
        refused = partial(module.set_module_option, name, bad)
        _expect_raises(ValueError, f"{name}={bad}", refused)
        _expect_equal(
            f"option {name}", module.get_module_option(name), module.MODULE_OPTION_DEFAULTS[name]
        )


def options_are_declared(module: ModuleUnderTest) -> None:
    """Using an undeclared option raises an error that names it."""
    _expect_raises(RuntimeError, "undeclared", lambda: module.get_module_option("undeclared"))
    _expect_raises(RuntimeError, "undeclared", lambda: module.set_module_option("undeclared", "1"))


def options_are_localized(module: ModuleUnderTest) -> None:
    """The localized getter prefers this manager's own value; the plain one does not see it."""
    module.set_module_option("text", "everywhere")
    module.set_localized_module_option("text", "here")
    try:
        _expect_equal("localized", module.get_localized_module_option("text"), "here")
        _expect_equal("plain", module.get_module_option("text"), "everywhere")
        module.set_localized_module_option("text", None)
        _expect_equal(
            "localized, removed", module.get_localized_module_option("text"), "everywhere"
        )
    finally:
        module.set_localized_module_option("text", None)
        module.set_module_option("text", None)


def store_keeps(module: ModuleUnderTest) -> None:
    """A stored value is read back at once; None removes it; a wrong type is refused."""
    key = "check/one"
    for value in ("", "plain", "über\nzwei", "x" * 60_000):
        module.set_store(key, value)
        _expect_equal("store", module.get_store(key), value)
    module.set_store(key, None)
    _expect_equal("store, removed", module.get_store(key, "default"), "default")
    _expect_raises(TypeError, "a number", lambda: module.set_store(key, 1))
    _expect_raises(ValueError, "a NUL", lambda: module.set_store(key, "a\0b"))


def store_has_prefixes(module: ModuleUnderTest) -> None:
    """A prefix returns all keys that begin with it, full and ascending, and no others."""
    wanted = {"check/a": "1", "check/b/c": "2"}
    for key, value in {**wanted, "chess": "3"}.items():
        module.set_store(key, value)
    try:
        found = module.get_store_prefix("check/")
        _expect_equal("prefix", list(found.items()), list(wanted.items()))
    finally:
        for key in (*wanted, "chess"):
            module.set_store(key, None)


def store_compares(module: ModuleUnderTest) -> None:
    """A value is set only if the expected one is stored; several are set together or not at all."""
    one, two = "check/one", "check/two"
    done = [
        module.compare_and_set_store(one, None, "1"),
        not module.compare_and_set_store(one, None, "2"),
        not module.commit_store({one: "3", two: "3"}, {one: "2"}),
        module.get_store_prefix("check/") == {one: "1"},
        module.commit_store({one: None, two: "4"}, {one: "1", two: None}),
        module.get_store_prefix("check/") == {two: "4"},
        module.compare_and_set_store(two, "4", None),
    ]
    _expect_equal("each in turn", done, [True] * len(done))


def store_is_localized(module: ModuleUnderTest) -> None:
    """The value of this manager is preferred, then the common one, then the default."""
    _expect_equal("neither", module.get_localized_store("check/l", "default"), "default")
    module.set_store("check/l", "everywhere")
    module.set_localized_store("check/l", "here")
    try:
        _expect_equal("localized", module.get_localized_store("check/l"), "here")
        _expect_equal("plain", module.get_store("check/l"), "everywhere")
    finally:
        module.set_localized_store("check/l", None)
        module.set_store("check/l", None)


def health_is_shown(module: ModuleUnderTest) -> None:
    """A health check is shown with its severity, and removed when it is cleared."""

    def shown() -> Any:
        return json.loads(module.get("health")["json"])["checks"].get(CODE, {}).get("severity")

    check = {"severity": "warning", "summary": "a test", "count": 1, "detail": ["one line"]}
    module.set_health_checks({CODE: check})
    _wait_for("health check", shown, "HEALTH_WARN")
    module.set_health_checks({})
    _wait_for("health check, cleared", shown, None)


def remote_copies(module: ModuleUnderTest) -> None:
    """A call returns what the method returned; neither side shares an object with the other."""
    mine = {"list": [1, 2, 3]}
    returned = module.remote(module.module_name, "echo", mine, word="x")
    _expect_equal("remote", returned, [mine, "x"])
    if returned[0] is mine:
        raise CheckFailed("remote: the callee got the caller's own object")


def remote_fails_by_kind(module: ModuleUnderTest) -> None:
    """A missing module is an ImportError, a missing method a NameError; errors keep their type."""
    own = module.module_name
    _expect_raises(ImportError, "no module", lambda: module.remote("no-such-module", "echo"))
    _expect_raises(NameError, "no method", lambda: module.remote(own, "no_such_method"))
    for kind in (CheckFailed, RuntimeError):
        text = _expect_raises(kind, "raised", lambda: module.remote(own, "fail", "on purpose"))
        _expect_equal("the text of what was raised", text, "on purpose")


def cluster_log_takes_lines(module: ModuleUnderTest) -> None:
    """Every priority is accepted; a plain number is not."""
    for priority in ClusterLogPrio:
        module.cluster_log("cluster", priority, f"selftest says {priority.name}")
    _expect_raises(AttributeError, "a number", lambda: module.cluster_log("cluster", 1, "x"))


def uri_is_published(module: ModuleUnderTest) -> None:
    """A published address is among the cluster's services, and is gone after its removal."""

    def published() -> Any:
        return module.get("mgr_map")["services"].get(module.module_name)

    module.set_uri(URI)
    _wait_for("uri", published, URI)
    module.set_uri("")
    _wait_for("uri, withdrawn", published, None)


def documents_are_there(module: ModuleUnderTest) -> None:
    """The documents of every cluster exist; an unknown name is None."""
    for name in ("mgr_map", "mgr_ips", "health", "config"):
        if not isinstance(module.get(name), dict):
            raise CheckFailed(f"get({name!r}) is no dictionary")
    _expect_equal("get('no such document')", module.get("no such document"), None)


def commands_are_sent(module: ModuleUnderTest) -> None:
    """A module can wait for the result of a command it sent, also while it runs a command."""
    result = CommandResult("selftest")
    module.send_command(result, "mon", "", json.dumps({"prefix": "health"}), "selftest")
    retval, output, _ = result.wait()
    _expect_equal("sent", (retval, output.startswith("HEALTH_")), (0, True))
    answer = module.tell_command("osd", "0", {"prefix": "version"})
    _expect_equal("told to a daemon that is not there", answer[0], -errno.ENXIO)
    unknown = partial(module.send_command, result, "nothing", "0", "{}", "")
    _expect_raises(ValueError, "an unknown type of service", unknown)


def fleet_is_known(module: ModuleUnderTest) -> None:
    """This manager is among the daemons; an unknown daemon has no data."""
    own = module.get_mgr_id()
    host = module.get_metadata("mgr", own)["hostname"]
    found = [service["id"] for service in module.get_server(host)["services"]]
    _expect_equal("on its host", own in found, wanted=True)
    _expect_equal("its status", module.get_daemon_status("mgr", own), {})
    _expect_equal("nobody's metadata", module.get_metadata("osd", "no-such"), None)
    _expect_equal("nobody's counter", module.get_unlabeled_counter("osd", "0", "op"), {"op": []})
    _expect_equal("an empty map", module.get_osdmap().get_pools(), {})


def identity_is_known(module: ModuleUnderTest) -> None:
    """Name, version, term and connection have plausible values."""
    for what, holds in {
        "the manager has a name": module.get_mgr_id(),
        "the third word of the version is a number": module.version.split()[2][:1].isdigit(),
        "what is read is current": module.have_mon_connection(),
        "the term is positive": module.get_term() > 0,
    }.items():
        if not holds:
            raise CheckFailed(f"not so: {what}")
    _expect_raises(KeyError, "an unknown option", lambda: module.get_ceph_option("no_such_option"))


CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    check.__name__: check
    for check in (
        options_are_typed,
        options_are_bounded,
        options_are_declared,
        options_are_localized,
        store_keeps,
        store_has_prefixes,
        store_compares,
        store_is_localized,
        health_is_shown,
        remote_copies,
        remote_fails_by_kind,
        cluster_log_takes_lines,
        uri_is_published,
        documents_are_there,
        commands_are_sent,
        fleet_is_known,
        identity_is_known,
    )
}
"""By name, in the order in which they are run."""


def _expect_equal(what: str, found: object, wanted: object) -> None:
    if found != wanted or type(found) is not type(wanted):
        raise CheckFailed(f"{what}: expected {wanted!r}, found {found!r}")


def _expect_raises(kind: type[Exception], what: str, call: Callable[[], object]) -> str:
    """Return the text of what ``call`` raised, which must be of ``kind``."""
    try:
        call()
    except kind as error:
        return str(error)
    raise CheckFailed(f"{what}: expected {kind.__name__}, nothing was raised")


def _wait_for(what: str, read: Callable[[], object], wanted: object) -> None:
    never = threading.Event()
    for _ in range(POLLS_MAX):
        if read() == wanted:
            return
        never.wait(PAUSE_S)
    _expect_equal(what, read(), wanted)
