"""Pages that are written by the code they describe. ``make docs`` writes them."""

from __future__ import annotations

import asyncio
import errno
import inspect
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from mgr import errors
from mgr.cli.local import LOCAL_COMMANDS
from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.command.builtin.catalogue import builtins
from mgr.command.registry import Command
from mgr.config.manager_options import manager_options
from mgr.config.schema import OptionSpec
from mgr.errors import MgrError
from mgr.host.finder import DiscoveredModule, find_modules
from mgr.host.module_usage import ModuleUsageCollector
from mgr.metrics import Metrics
from mgr.module_api import MgrModule
from mgr.rpc.status import code_of
from mgr.settings import ENVIRONMENT_PREFIX, describe
from tests.docs.access_page import access
from tests.docs.answer_schemas import answers_page, schema_files
from tests.docs.isolation_page import isolation
from tests.docs.man_pages import man_pages

NAMES = {errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EAGAIN: "EAGAIN"}
"""Of the numbers with two names, the one that Ceph's documentation uses."""

DOCS = Path(__file__).parents[2] / "docs"
NEWLINE = "\n"

TITLES = {
    "module": "Life cycle, health and other modules",
    "declared": "Documents, names and the log",
    "log": "Logging",
    "parts/options": "Options",
    "parts/store": "Key/value store",
    "parts/database": "SQLite database",
    "parts/commands": "Running commands",
    "parts/callers": "Acting with the rights of a caller",
    "parts/fleet": "Daemons and hosts",
    "parts/counters": "Counters of daemons",
    "parts/maps": "Maps",
    "parts/progress": "Progress",
    "ceph/perf_query": "Performance queries (a Ceph cluster only)",
    "ceph/rados": "RADOS and CephFS (a Ceph cluster only)",
}
"""Heading of each group of methods, by the file below mgr/module_api that defines them."""

ADDITIONS = {
    "commit_store", "compare_and_set_map", "compare_and_set_store", "get_counter_rows",
    "get_daemons", "get_map", "get_map_versions", "get_term", "identification_required",
    "identify", "new_cephfs", "permitted", "remove_map", "run_as", "set_ceph_documents", "set_map",
    "unwatch_store", "watch_store",
}  # fmt: skip
"""Methods that ceph-mgr does not have."""

INTERFACE_HEAD = """\
# Module interface

The names that a module uses: `MgrModule` and its relatives, from `mgr_module`. They are those of
ceph-mgr, with the same meaning; an addition of this product is marked. How to use them is in
[write a module](../how-to/write-a-module.md). The tables of members are written by `make docs`
from `mgr/module_api/`.

## Types of command arguments

| annotation | accepted values |
|---|---|
| `str`, `int`, `float` | text (printable ASCII), a whole number (`0x1f` too), a number |
| `bool` | `--flag`; it and all parameters behind it are given as `--name value` |
| a subclass of `Enum` | one of the members' values |
| `List[T]` | one or more |
| `Tuple[T, T]` | as many as the tuple has |
| an instance such as `CephInt("0\\|5")` | what that type accepts |
| `Optional[T]` | may be left out |

## Types of options

`str int uint size float bool secs millisecs addr addrvec uuid`. A stored value is read as its type;
a default is read as the class declares it.

## Attributes of a module class

| attribute | meaning |
|---|---|
| `MODULE_OPTIONS` | list of `Option(name, type=, default=, min=, max=, runtime=, desc=, secret=)` |
| `COMMANDS` | commands as dictionaries, for `handle_command`; decorators are shorter |
| `NOTIFY_TYPES` | which notifications the module gets: `health`, the name of a map, ... |
| `ALWAYS_ON` | True: the module runs without being enabled |
| `SECRET_STORE_KEYS` | addition: entries of `set_store` that are secrets ([sealing][sealing]) |
| `EFFECTS` | addition: `external` (assumed), `store` or `none` ([what it decides][effects]) |
| `SCHEMA`, `SCHEMA_VERSIONED` | statements that make, and migrate, the SQLite database |

[effects]: ../how-to/external-effects.md
[sealing]: ../how-to/seal-secrets.md

## Limits

| what | limit |
|---|---|
| a value of the key/value store | 64 KiB of text |
| the SQLite database | 32 MiB, 8 MiB compressed |
| a map | 1 MiB, 64 levels deep; 1000 maps, 64 MiB in all |
| a command's arguments | printable ASCII |

## Members of MgrModule

"""


def settings() -> str:
    """Every setting of ``mgrd``."""
    return f"""\
# Settings

The values that one `mgrd` process gets when it starts. A later source wins: default, file
(`--config FILE`, TOML), environment, flag. Values that hold for the whole cluster are
[options](options.md). Written by `make docs` from `mgr/settings.py`.

| in the file | flag | variable | kind | default | meaning |
|---|---|---|---|---|---|
{"".join(_setting(*each) for each in describe())}"""


def commands() -> str:
    """Every command, the manager's own and those of the bundled modules."""
    nouns = groupby(own_commands(), key=lambda command: command.prefix.split()[0])
    own = "".join(f"### {noun}\n\n{_table(found)}\n" for noun, found in nouns)
    modules = "".join(
        f"### {found.name}\n\n{_table(module_commands(found))}\n" for found in bundled_modules()
    )
    return (
        f"""\
# Commands

The commands of `mgrctl` and of every gRPC client. Written by `make docs` from the commands
themselves; `mgrctl help` and `mgrctl get_command_descriptions` show the list of a running cluster.

Arguments are given in order; `[...]` is optional. Each may also be given by name, `--name value`
or `--name=value`, with dashes for underscores. `perm` is what a command needs and does: `r`
reads, `w` changes something and is applied at most once however often it is repeated, `x`
executes. Every command takes `--format`: `plain`, `json`, `json-pretty`, `yaml`, `xml`.

## Commands of the manager

{own}## Commands of mgrctl itself

No manager has a command of these names; each explains itself with `--help`.

| command | what it does |
|---|---|
{_local_commands()}
## Commands of the bundled modules

The commands of an enabled module can be run; those of a disabled one are refused with `EOPNOTSUPP`
and the module's name.

{modules}""".rstrip()
        + "\n"
    )


def error_classes() -> str:
    """Every way in which a call can fail."""
    return f"""\
# Errors

A command that ran and failed is an *answer*: its `retval` is a negative errno, its message is in
`stderr`. A call fails only when nothing ran, or when it is unknown whether the command ran
([at most once](../explanation/at-most-once.md)). Then its gRPC status carries one
`google.rpc.ErrorInfo`, domain `mgr.rpc.v1`, with one of these reasons; the Python client raises
the class. Written by `make docs` from `mgr/errors.py`.

| reason | class | gRPC status | errno | meaning |
|---|---|---|---|---|
{"".join(_error(each) for each in _family(MgrError))}"""


def options() -> str:
    """Every option of the manager: what is stored in etcd and holds for the cluster."""
    found = manager_options({})
    return f"""\
# Options

Options are stored in etcd and hold for the whole cluster. Set one with `mgrctl config set mgr NAME
VALUE` ([change options](../how-to/change-options.md)). Values of one process are
[settings](settings.md). Written by `make docs` from `mgr/config/manager_options.py`; options of a
module are shown by `mgrctl config ls` once it is loaded.

## Options that can be set

| option | type | default | range | meaning |
|---|---|---|---|---|
{"".join(_option(each) for each in found if not each.remark)}
## Options that only modules of Ceph read

They can be set, and nothing in the manager itself depends on them. `mgrctl config ls --all` lists
them too.

| option | type | default | range | meaning |
|---|---|---|---|---|
{"".join(_option(each) for each in found if each.for_modules)}
## Options that can be read only

Their values follow from the settings of the manager that is asked.

| option | meaning |
|---|---|
{"".join(f"| `{each.name}` | {_cell(each.desc)} |{NEWLINE}" for each in found if each.fixed)}"""


def metrics() -> str:
    """Every metric of a manager's own HTTP port."""
    registry = Metrics().registry
    ClientLimits(CLOCK.now, registry)
    ModuleUsageCollector(registry)
    found = [row for each in registry._collector_to_names for row in _metrics_of(each)]
    return f"""\
# Metrics

`GET /metrics` on the HTTP port of each manager, in Prometheus' text format. They describe that
manager only; the counters of daemons are exported by the module `prometheus`
([monitor and alert](../how-to/monitor.md)). Those that begin with `process_` describe the worker.
Written by `make docs` from `mgr/metrics.py`.

| metric | type | labels | meaning |
|---|---|---|---|
{"".join(found)}"""


def module_interface() -> str:
    """Every public method of ``MgrModule``, by the file that has it."""
    order = list(TITLES)
    found = sorted(_methods(), key=lambda each: (order.index(each[0]), each[1]))
    tables = "".join(
        f"### {TITLES[file]}\n\n| member | meaning |\n|---|---|\n"
        + "".join(f"{row}\n" for *_, row in rows)
        + "\n"
        for file, rows in groupby(found, key=lambda each: each[0])
    )
    return INTERFACE_HEAD + tables.rstrip() + "\n"


def decisions() -> str:
    """The list of decision records."""
    rows = [f"- [{_title(path)}]({path.name})" for path in sorted(DOCS.glob("adr/[0-9]*.md"))]
    listed = "\n".join(rows)
    return f"""\
# Decision records

One page each: context, decision, what was rejected and why, consequences. The text of an accepted
record is not edited; a later record supersedes it. Only titles and file names follow the terms of
the [glossary](../glossary.md). Code refers to a record by its number. A number that is missing (43,
48) was set aside for work that needed no record. Listed by `make docs`.

{listed}
"""


PAGES: dict[str, Callable[[], str]] = {
    "reference/access.md": lambda: access(own_commands(), commands_of_modules()),
    "reference/settings.md": settings,
    "reference/commands.md": commands,
    "reference/errors.md": error_classes,
    "reference/options.md": options,
    "reference/metrics.md": metrics,
    "reference/module-interface.md": module_interface,
    "reference/isolation.md": isolation,
    "adr/README.md": decisions,
}


class NullCollaborator:
    """Stands where a command's collaborators would: declaring one needs none of them."""

    def __getattr__(self, name: str) -> Any:
        return self


def own_commands() -> list[Command]:
    """The manager's own commands, those left out of help excepted, by their words."""
    nobody: Any = NullCollaborator()
    found = builtins(nobody).commands
    return sorted((each for each in found if not each.hidden), key=lambda each: each.prefix)


PAGES |= {f"reference/schemas/{name}": file for name, file in schema_files().items()}
PAGES["reference/answers.md"] = answers_page
PAGES |= {f"man/{name}": page for name, page in man_pages(own_commands).items()}


def bundled_modules() -> list[DiscoveredModule]:
    """The modules that come with the product, by name."""
    found = asyncio.run(find_modules((), limit_s=30))
    return [found[name] for name in sorted(found)]


def commands_of_modules() -> list[Command]:
    """The commands of all bundled modules."""
    return [each for module in bundled_modules() for each in module_commands(module)]


def module_commands(module: DiscoveredModule) -> Iterator[Command]:
    """A module's commands as the registry would hold them."""
    for each in module.commands:
        yield Command.of_module(module.name, each)


def _table(found: Iterator[Command]) -> str:
    rows = [
        f"| `{_cell(each.signature.usage())}` | `{each.perm}` | {_cell(each.help)} |\n"
        for each in found
        if not each.hidden
    ]
    return "| command | perm | what it does |\n|---|---|---|\n" + "".join(rows)


def _local_commands() -> str:
    return "".join(
        f"| `{' '.join(each.words)}` | {_cell(each.summary)} |\n" for each in LOCAL_COMMANDS
    )


def _setting(name: str, kind: str, default: Any, words: str) -> str:
    flag, variable = f"--{name.replace('_', '-')}", f"{ENVIRONMENT_PREFIX}{name.upper()}"
    return (
        f"| `{name}` | `{flag}` | `{variable}` | {kind} | {_default(name, default)} | {words} |\n"
    )


def _option(each: OptionSpec) -> str:
    low, high = (each.min, each.max)
    bounds = " ".join(
        words
        for words in (
            f"from {low}" if low is not None else "",
            f"to {high}" if high is not None else "",
        )
        if words
    )
    meaning = _cell(f"{each.desc}. {each.long_desc}" if each.long_desc else each.desc)
    return (
        f"| `{each.name}` | {each.type} | {_default('', each.default)} | {bounds} | {meaning} |\n"
    )


def _metrics_of(collector: Any) -> list[str]:
    """The rows of one metric, or of all that a collector makes when it is asked."""
    if hasattr(collector, "_labelnames"):
        return [_metric(collector)]
    made = collector.describe() if hasattr(collector, "describe") else collector.collect()
    return [
        f"| `{each.name}{'_total' * (each.type == 'counter')}` | {each.type} "
        f"| {', '.join(f'`{label}`' for label in getattr(each, '_labelnames', ()))} "
        f"| {_cell(each.documentation)} |\n"
        for each in made
    ]


def _metric(each: Any) -> str:
    name = each._name + {"counter": "_total", "info": "_info"}.get(each._type, "")
    labels = ", ".join(f"`{label}`" for label in each._labelnames)
    if each._type == "stateset":
        labels = f"`{each._name}`: {', '.join(each._states)}"
    return f"| `{name}` | {each._type} | {labels} | {_cell(each._documentation)} |\n"


def _methods() -> Iterator[tuple[str, str, str]]:
    """File, name and row of each public method and property."""
    for name in dir(MgrModule):
        raw = inspect.getattr_static(MgrModule, name)
        found = raw.fget if isinstance(raw, property) else getattr(raw, "__func__", raw)
        found = inspect.unwrap(found) if callable(found) else found
        if name.startswith("_") or not inspect.isfunction(found):
            continue
        file = found.__code__.co_filename.rpartition("module_api/")[2].removesuffix(".py")
        taken = [each for each in inspect.signature(found).parameters if each != "self"]
        shown = name if isinstance(raw, property) else f"{name}({', '.join(taken)})"
        meaning = _cell((inspect.getdoc(found) or "").split("\n\n")[0]).replace("``", "`")
        mark = " *Addition.*" if name in ADDITIONS else ""
        yield file, name, f"| `{shown}` | {meaning}{mark} |"


def _default(name: str, default: object) -> str:
    if name == "id":
        return "the host's name"
    if isinstance(default, tuple):
        default = ",".join(default)
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{text}`" if text else "empty"


def _family(root: type[MgrError]) -> Iterator[type[MgrError]]:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    ours = [each for each in classes if issubclass(each, root) and each is not root]
    return iter(sorted(ours, key=lambda each: inspect.getsourcelines(each)[1]))


def _error(each: type[MgrError]) -> str:
    meaning = " ".join((each.__doc__ or "").split()).replace("``", "`")
    status = code_of(each.__new__(each)).name
    number = NAMES.get(each.errno) or errno.errorcode[each.errno]
    return f"| `{each.reason}` | `{each.__name__}` | `{status}` | `{number}` | {meaning} |\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _title(path: Path) -> str:
    return re.sub(r"^#\s*", "", path.read_text().splitlines()[0])


if __name__ == "__main__":
    for page, text in PAGES.items():
        (DOCS / page).write_text(text())
