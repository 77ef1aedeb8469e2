"""The manager's own commands over a real store in memory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator

from mgr.access.identity import INTERNAL_CALLER
from mgr.client_limits import ClientLimits
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.cluster.maps import Maps
from mgr.cluster.progress import Progress
from mgr.command.builtin.catalogue import builtins
from mgr.command.builtin.context import BuiltinContext, ModuleInfo, ReloadResult, SealStatus
from mgr.command.dispatch import Answer
from mgr.command.module_usage import ModuleUsage
from mgr.command.registry import BUILTIN, Registry
from mgr.config.history import ConfigHistory
from mgr.config.installed_modules import InstalledModule, PackageVersion
from mgr.config.manager_options import manager_options
from mgr.config.schema import Schemas
from mgr.config.values import ConfigValues
from mgr.election.records import Presence, encode
from mgr.errors import InvalidArgumentError, NotFoundError
from mgr.health.board import Board
from mgr.health.mute import decode as decode_mute
from mgr.link import ModuleReport
from mgr.module_api.manifest import Manifest
from mgr.pki.issuer import CertificateIssuer
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.signer import LocalSigner
from tests.support.leading import LeadingTerm, leading

OPTIONS = {
    "hello": [
        {"name": "place", "default": "world", "desc": "Whom to greet", "runtime": True},
        {"name": "times", "type": "uint", "default": 1, "min": 1, "max": 10, "level": 0},
        {"name": "mood", "enum_allowed": ["glad", "sad"], "see_also": ["place"], "tags": ["x"]},
    ],
}
MODULES = {
    "hello": ModuleInfo(
        name="hello",
        effects="store",
        effects_source="module",
        place="/modules/hello/module.py",
        manifest=Manifest(enforce=True, remote=("progress.update",)),
    ),
    "status": ModuleInfo(name="status", default_enabled=True),
    "lame": ModuleInfo(name="lame", can_run=False, error="no numpy"),
    "devicehealth": ModuleInfo(name="devicehealth", always_on=True),
}
USAGE = [
    ModuleUsage(
        module="status",
        isolation="thread",
        state="running",
        pid=4,
        cpu_percent=0.5,
        resident_bytes=None,
        proportional_bytes=None,
        threads=2,
        open_files=None,
        waiting=0,
        commands_per_s=0.0,
        p99_ms=None,
        interpreter_wait_ms=0.01,
        restarts=0,
    ),
    ModuleUsage(
        module="hello",
        isolation="process",
        state="on probation",
        pid=5,
        cpu_percent=12.34567,
        resident_bytes=40 << 20,
        proportional_bytes=6 << 20,
        threads=5,
        open_files=11,
        waiting=3,
        commands_per_s=100.0,
        p99_ms=2.5,
        interpreter_wait_ms=0.25,
        restarts=1,
    ),
]


class BuiltinCommands:
    """A ``BuiltinContext`` whose collaborators are real, but for the catalogue and the map."""

    def __init__(self, term: LeadingTerm):
        self.leading_term = term
        self.schemas = Schemas(manager_options({"fsid": "f-s-i-d"}))
        for module, options in OPTIONS.items():
            self.schemas.put(module, options)
        self.values = ConfigValues("a", self.schemas, term.keys)
        self.board = Board()
        self.log = ClusterLog()
        self.progress = Progress()
        self.fleet = Fleet(term.clock, self.log, term=term.term, name="mgr.a", on_refusal=print)
        self.registry = Registry()
        self.resigned = []
        self.running = []
        self.sessions = []
        self.documents = {}
        self.services = {"hello": "http://a/hello"}
        self._follow(term.keys.config, self.values.load)
        self._follow(term.keys.mutes, self._load_mutes)
        self._runner = builtins(
            BuiltinContext(
                manager_id="a",
                version="1.2.3",
                keys=term.keys,
                mirror=term.mirror,
                fenced=term.fenced,
                leases=term.store,
                issuer=CertificateIssuer(
                    sealed := SealedAuthority(term.mirror, term.keys, ""),
                    term.fenced,
                    term.store,
                    LocalSigner(sealed, lambda: 3600.0),
                ),
                config=self.values,
                history=ConfigHistory(term.keys, term.mirror, term.fenced),
                board=self.board,
                log=self.log,
                progress=self.progress,
                fleet=self.fleet,
                access=term.access,
                maps=Maps(term.mirror, term.keys, term.fenced, self),
                modules=self,
                registry=self.registry,
                clock=term.clock,
                limits=ClientLimits(term.clock.now),
                mgr_map=self.mgr_map,
                resign=self.resign,
                seals=self,
                running=lambda: [*self.running, *self._runner.running()],
                usage=self.usage,
                packages=self,
            )
        )
        self.registry.put(BUILTIN, self._runner.commands)

    async def run(self, *words, inbuf="", caller=INTERNAL_CALLER, **arguments) -> Answer:
        """Type ``words``; further ``arguments`` by name (``format="json"``)."""
        command, found = self.registry.find(words, arguments)
        return await self._runner.run(command, found, inbuf, deadline_s=float("inf"), caller=caller)

    async def json(self, *words, **arguments):
        """The answer's data."""
        return json.loads((await self.run(*words, format="json", **arguments)).stdout)

    async def join(self, name, *, warm=True, modules=()):
        """Let another manager write its presence."""
        presence = Presence(
            name=name,
            incarnation=f"{name}-1",
            host=f"host-{name}",
            boot_id="boot",
            pid_namespace="1",
            pid=1,
            pid_started=1,
            grpc_address=f"{name}:7400",
            http_address=f"{name}:7480",
            version="1.2.3",
            modules=tuple(ModuleReport(name=each, can_run=True) for each in modules),
            warm=warm,
            host_metadata={"arch": "z80"},
        )
        await self.leading_term.fenced.put(self.leading_term.keys.manager(name), encode(presence))

    def stored(self, key):
        """A key's value, as every manager's mirror shows it."""
        record = self.leading_term.mirror.get(key)
        return record.value if record else None

    # -- what the manager would provide -------------------------------------------------------

    def has_run(self, _name):
        return False

    async def still_acting(self, _name):
        return ""

    def modules(self):
        return MODULES

    def installed(self):
        version = PackageVersion(digest="ab" * 32, size=7, at="2026-01-01T00:00:00+00:00")
        return {"guests": InstalledModule(current=version, previous=version)}

    async def sync_libraries(self, name):
        return f"requirements of {name}"

    async def reload(self, name):
        if name not in MODULES:
            raise InvalidArgumentError(f"module '{name}' was not reloaded: there is none")
        return ReloadResult(runs=name == "status", digest=f"files of {name}")

    def get(self, name):
        return {"mgr_map": self.mgr_map(), **self.documents}.get(name)

    def reserved(self, name):
        return name == "mgr_map"

    def mgr_map(self):
        others = self.leading_term.mirror.list(self.leading_term.keys.managers)
        names = [key.rpartition("/")[2] for key in others]
        return {
            "epoch": 41,
            "available": True,
            "active_name": "a",
            "active_gid": 7,
            "active_change": "2026-01-01T00:00:00.123456+00:00",
            "standbys": [{"name": name, "gid": 100} for name in names if name != "a"],
            "modules": ["status"],
            "services": self.services,
            "available_modules": [{"name": name, "can_run": True} for name in MODULES],
        }

    def status(self):
        return SealStatus(enabled=True, current="k2", values={"k1": 3}, unsealed=1)

    async def usage(self, session):
        self.sessions.append(session)
        return USAGE

    async def rotate(self):
        return "k3"

    async def resign(self, *, reason, successor="", asked_by=""):
        if successor == "nobody":
            raise NotFoundError("manager 'nobody' is no warm standby")
        self.resigned.append((reason, successor))

    def _follow(self, prefix, load):
        mirror = self.leading_term.mirror
        mirror.subscribe(prefix, lambda _: load(mirror.list(prefix)))

    def _load_mutes(self, records):
        self.board.load_mutes(
            {key.rpartition("/")[2]: decode_mute(each.value) for key, each in records.items()}
        )


@contextlib.asynccontextmanager
async def builtin_commands() -> AsyncIterator[BuiltinCommands]:
    """Run the commands of the active manager ``a``."""
    async with leading() as term:
        at = BuiltinCommands(term)
        await at.join("a", modules=MODULES)
        yield at
