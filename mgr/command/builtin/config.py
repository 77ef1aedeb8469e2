"""Commands ``config``: options of the manager and its modules, by section."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from mgr.access.caps import SECRETS, AccessRequest
from mgr.audit.author import author_of
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.config.ceph_conf import read_conf, write_conf
from mgr.config.history import ConfigVersion, OptionChange
from mgr.config.schema import OptionSpec
from mgr.config.values import StoredOption, sections_of
from mgr.election.records import Presence, decode
from mgr.errors import InvalidArgumentError, NotFoundError, NotPermittedError
from mgr.store.api import Delete, Put
from mgr.store.limits import check_commit
from mgr.text import one_line

WHO = "name=who,type=CephString"
LOG_DEFAULT = 10
"""Versions that `config log` shows if no number is given."""
HEADINGS = ("WHO", "MASK", "LEVEL", "OPTION", "VALUE", "RO")


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Config(context)
    return [
        builtin(
            f"config set {WHO} name=name,type=CephString name=value,type=CephObjectname "
            "name=force,type=CephBool,req=false,positional=false",
            "Set a configuration option for one or more entities",
            "rw",
            noun.set,
        ),
        builtin(
            f"config rm {WHO} name=name,type=CephString",
            "Clear a configuration option for one or more entities",
            "rw",
            noun.rm,
        ),
        builtin(
            f"config get {WHO} name=key,type=CephString,req=false",
            "Show configuration option(s) for an entity",
            "r",
            noun.get,
        ),
        builtin("config dump", "Show all configuration option(s)", "r", noun.dump),
        builtin(
            "config ls name=all,type=CephBool,req=false,positional=false",
            "List available configuration options; --all: also those that change nothing here",
            "r",
            noun.ls,
        ),
        builtin(
            "config help name=key,type=CephString",
            "Describe a configuration option",
            "r",
            noun.help,
        ),
        builtin(
            f"config show {WHO} name=key,type=CephString,req=false",
            "Show the configuration in effect for a daemon",
            "r",
            noun.show,
        ),
        builtin(
            f"config show-with-defaults {WHO}",
            "Show the configuration in effect for a daemon, defaults included",
            "r",
            noun.show_with_defaults,
        ),
        *_history_commands(noun),
    ]


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``config apply`` is to do; ``version`` None: whatever was changed meanwhile."""

    set: tuple[tuple[str, str, str], ...] = ()
    rm: tuple[tuple[str, str], ...] = ()
    version: int | None = None


class _Config:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context
        self._values = context.config
        self._schemas = context.config.schemas

    async def set(self, call: Call) -> Reply:
        who, name = call["who"], _normal(call["name"])
        force = bool(call.get("force"))
        put = self._values.prepare(
            who, name, call["value"], force=force, known_types=self._known_types()
        )
        await self._context.history.ensure([put], by=author_of(call.caller))
        return Reply()

    async def rm(self, call: Call) -> Reply:
        who, name = call["who"], _normal(call["name"])
        sections_of(who)
        # Deleted even if absent: an earlier write with an unknown outcome may still take effect.
        removal = Delete(self._context.keys.option(who, name))
        await self._context.history.commit([removal], by=author_of(call.caller))
        return Reply()

    async def get(self, call: Call) -> Reply:
        entity = self._entity(call["who"])
        if call.get("key") is None:
            data = {
                name: {
                    "value": self._values.shown(name, option.value),
                    "section": option.section,
                    "mask": {},
                    "can_update_at_runtime": self._runtime(name),
                }
                for name, option in entity.items()
            }
            return Reply(data, plain=self._table(list(entity.values())))
        value = self._effective_value(call, entity)
        return Reply(value, plain=f"{value}\n")

    async def dump(self, _call: Call) -> Reply:
        options = self._values.dump()
        data = [
            {
                "section": option.section,
                "name": option.name,
                "value": self._values.shown(option.name, option.value),
                "level": self._level(option.name),
                "can_update_at_runtime": self._runtime(option.name),
                "mask": "",
            }
            for option in options
        ]
        return Reply(data, plain=self._table(options))

    async def ls(self, call: Call) -> Reply:
        everything = bool(call.get("all"))
        found = {
            name: remark
            for name, remark in self._schemas.remarks().items()
            if everything or not remark
        }
        lines = (f"{name}  ({remark})" if remark else name for name, remark in found.items())
        return Reply(list(found), plain="\n".join(lines))

    async def help(self, call: Call) -> Reply:
        key = _normal(call["key"])
        spec = self._schemas.find(key)
        if spec is None:
            raise NotFoundError(
                f"configuration option '{key}' not recognized{self._suggestion(key)}"
            )
        return Reply(spec.describe(), plain=_help_text(spec))

    async def show(self, call: Call) -> Reply:
        entity = self._entity(call["who"])
        if call.get("key") is not None:
            value = self._effective_value(call, entity)
            return Reply(value, plain=f"{value}\n")
        return self._values_reply({name: (option.value, "mon") for name, option in entity.items()})

    async def show_with_defaults(self, call: Call) -> Reply:
        known = {name: self._schemas.find(name) for name in self._schemas.names()}
        values = {name: (spec.default_text, "default") for name, spec in known.items() if spec}
        entity = self._entity(call["who"])
        values |= {name: (each.value, "mon") for name, each in entity.items() if each.value}
        return self._values_reply(dict(sorted(values.items())))

    async def log(self, call: Call) -> Reply:
        versions = self._context.history.versions()[: call.get("num", LOG_DEFAULT)]
        data = [
            {
                "version": version.number,
                "timestamp": version.at,
                "name": version.text,
                "by": version.by,
                "changes": [_change(each) for each in self._masked(version)],
            }
            for version in versions
        ]
        return Reply(
            data,
            plain="\n".join(
                line for each in versions for line in _version_lines(each, self._masked(each))
            ),
        )

    async def reset(self, call: Call) -> Reply:
        if await self._context.history.reset(call["num"], by=author_of(call.caller)):
            return Reply()
        return Reply(note=f"the options already equal version {call['num']}: nothing changed")

    async def assimilate(self, call: Call) -> Reply:
        puts, rejected = [], []
        for line in read_conf(call.inbuf):
            try:
                puts.append(self._values.prepare(*line, known_types=self._known_types()))
            except InvalidArgumentError:
                rejected.append(line)
        if puts:
            # In one transaction: all or nothing, and one version for `config reset`.
            author = author_of(call.caller)
            await self._context.history.ensure(puts, "assimilate-conf", by=author)
        text = write_conf(rejected)
        return Reply(text, plain=text.rstrip("\n"))

    async def apply(self, call: Call) -> Reply:
        order = _order(call.inbuf)
        if operations := self._prepared(order):
            await self._context.history.commit(
                operations, "apply", by=author_of(call.caller), after=order.version
            )
        return _counts(order)

    async def check(self, call: Call) -> Reply:
        order = _order(call.inbuf)
        check_commit(self._prepared(order))
        return _counts(order)

    def _prepared(self, order: _Order) -> list[Put | Delete]:
        puts = [
            self._values.prepare(who, _normal(name), value, known_types=self._known_types())
            for who, name, value in order.set
        ]
        for who, _ in order.rm:
            sections_of(who)
        removals = [Delete(self._context.keys.option(who, _normal(name))) for who, name in order.rm]
        return [*puts, *removals]

    async def minimal_conf(self, _call: Call) -> Reply:
        fsid = str(self._values.manager_option("fsid"))
        records = self._context.mirror.list(self._context.keys.managers).values()
        presences = [found for each in records if (found := decode(each.value, Presence))]
        addresses = " ".join(sorted(each.grpc_address for each in presences))
        # The managers take the place of Ceph's monitors: the first contact of a client.
        lines = [("global", "fsid", fsid), ("global", "mon_host", addresses)]
        text = f"# minimal ceph.conf for {fsid}\n{write_conf(lines)}"
        return Reply(text, plain=text.rstrip("\n"))

    def _known_types(self) -> frozenset[str]:
        """Return the types of the daemons that joined the cluster."""
        prefix = self._context.keys.daemons
        found = self._context.mirror.list(prefix)
        return frozenset(key.removeprefix(prefix).partition(".")[0] for key in found)

    def _entity(self, who: str) -> dict[str, StoredOption]:
        try:
            return self._values.entity(who)
        except InvalidArgumentError:
            raise InvalidArgumentError(f"unrecognized entity '{who}'") from None

    def _effective_value(self, call: Call, entity: Mapping[str, StoredOption]) -> str:
        key = _normal(call["key"])
        request = AccessRequest("config get", SECRETS, arguments={**call.arguments, "key": key})
        if self._values.is_secret(key) and not self._context.access.is_allowed(
            call.caller, request
        ):
            # Not the mask: a script would take it for the value.
            raise NotPermittedError(
                f"option '{key}' is a secret: reading it needs 'allow *', or 'allow command "
                f'"config get" with key={key}\''
            )
        spec = self._schemas.find(key)
        option = entity.get(key)
        if spec is None and option is None:
            raise NotFoundError(f"unrecognized key '{key}'{self._suggestion(key)}")
        return (option.value if option else "") or (spec.default_text if spec else "")

    def _suggestion(self, key: str) -> str:
        near = self._schemas.nearest(key)
        return f"; did you mean '{near}'?" if near else ""

    def _level(self, name: str) -> str:
        spec = self._schemas.find(name)
        return spec.level if spec else "unknown"

    def _runtime(self, name: str) -> bool:
        spec = self._schemas.find(name)
        return spec.runtime if spec else False

    def _masked(self, version: ConfigVersion) -> list[OptionChange]:
        """Return the changes of ``version`` without secrets."""
        shown = self._values.shown
        return [
            OptionChange(
                section=each.section,
                name=each.name,
                previous=None if each.previous is None else shown(each.name, each.previous),
                value=None if each.value is None else shown(each.name, each.value),
            )
            for each in version.changes
        ]

    def _values_reply(self, values: Mapping[str, tuple[str, str]]) -> Reply:
        data = [
            {"name": name, "value": self._values.shown(name, value), "source": source}
            for name, (value, source) in values.items()
        ]
        rows = [(each["name"], each["value"], each["source"]) for each in data]
        return Reply(data, plain=table(("NAME", "VALUE", "SOURCE"), rows))

    def _table(self, options: list[StoredOption]) -> str:
        return table(
            HEADINGS,
            (
                (
                    option.section,
                    "",
                    self._level(option.name),
                    option.name,
                    self._values.shown(option.name, option.value),
                    "" if self._runtime(option.name) else "*",
                )
                for option in options
            ),
        )


def _history_commands(noun: _Config) -> list[BuiltinCommand]:
    return [
        builtin(
            "config log name=num,type=CephInt,range=0,req=false",
            "Show recent history of config changes",
            "r",
            noun.log,
        ),
        builtin(
            "config reset name=num,type=CephInt,range=0",
            "Revert configuration to a historical version specified by <num>",
            "rw",
            noun.reset,
        ),
        builtin(
            "config assimilate-conf",
            "Assimilate options from a conf (-i FILE), and return those that could not be",
            "rw",
            noun.assimilate,
        ),
        builtin(
            "config apply",
            'Set and remove options in one transaction, from JSON (-i FILE): {"set": [[who, name, '
            'value]], "rm": [[who, name]], "version": the newest of config log}',
            "rw",
            noun.apply,
        ),
        builtin(
            "config check",
            "Say whether config apply would take the values of this JSON (-i FILE); change nothing",
            "r",
            noun.check,
        ),
        builtin(
            "config generate-minimal-conf",
            "Generate a minimal conf: the cluster's id and the addresses of its managers",
            "r",
            noun.minimal_conf,
        ),
    ]


def _order(text: str) -> _Order:
    try:
        return msgspec.json.decode(text, type=_Order)
    except msgspec.MsgspecError as error:
        raise InvalidArgumentError(f"-i: {error}") from None


def _counts(order: _Order) -> Reply:
    return Reply({"set": len(order.set), "removed": len(order.rm)}, plain="")


def _normal(name: str) -> str:
    return "_".join(name.split())


def _change(change: OptionChange) -> dict[str, str]:
    # The section is part of the name here, as in Ceph.
    shown = {"name": f"{change.section}/{change.name}"}
    if change.previous is not None:
        shown["previous_value"] = change.previous
    if change.value is not None:
        shown["new_value"] = change.value
    return shown


def _version_lines(version: ConfigVersion, changes: Iterable[OptionChange]) -> Iterator[str]:
    text = f" --- {version.text}" if version.text else ""
    by = f" --- by {version.by}" if version.by else ""
    yield f"--- {version.number} --- {version.at}{text}{by} ---"
    for change in changes:
        name = f"{change.section}/{change.name}"
        if change.previous is not None:
            yield f"- {name} = {one_line(change.previous)}"
        if change.value is not None:
            yield f"+ {name} = {one_line(change.value)}"


def _help_text(spec: OptionSpec) -> str:
    lines = [f"{spec.name} - {spec.desc}", f"  ({spec.type}, {spec.level})"]
    if spec.default is not None:
        lines.append(f"  Default: {spec.default_text}")
    if spec.enum_allowed:
        lines.append(f"  Possible values:  {' '.join(spec.enum_allowed)}")
    bounds: list[tuple[str, Any]] = [("Minimum", spec.min), ("Maximum", spec.max)]
    lines += [f"  {word}: {bound}" for word, bound in bounds if bound is not None]
    lines.append(f"  Can update at runtime: {str(spec.runtime).lower()}")
    if spec.secret:
        lines.append("  Secret: shown to administrators only")
    if spec.remark:
        lines.append(f"  Note: {spec.remark}")
    if spec.tags:
        lines.append(f"  Tags: {', '.join(spec.tags)}")
    if spec.see_also:
        lines.append(f"  See also: [{','.join(spec.see_also)}]")
    if spec.long_desc:
        lines += ["", spec.long_desc]
    return "\n".join(lines)
