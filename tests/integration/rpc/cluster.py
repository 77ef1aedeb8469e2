"""Managers of a pretended cluster: real servers and streams, roles and views set by hand."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from mgr.access.table import Access
from mgr.argument.descriptor import Signature
from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.command.dispatch import Answer
from mgr.command.registry import Command
from mgr.election.records import Presence
from mgr.errors import NotActiveError
from mgr.host.cluster_view import LeaderView, redirect_error
from mgr.rpc.server import serve
from mgr.settings import Settings
from mgr.store.api import Record, Revision
from mgr.store.keys import Keys
from mgr.worker.gate import Gate

COMMANDS = (
    Command(Signature.parse("echo name=text,type=CephString"), "Say it again", "r"),
    Command(Signature.parse("count"), "Add one", "rw"),
    Command(Signature.parse("take"), "Say what was put in", "r", hidden=True),
    Command(
        Signature.parse("tell name=target,type=CephString name=args,type=CephString,n=N"),
        "Tell a daemon",
        "rw",
        hidden=True,
    ),
    Command(Signature.parse("tick"), "Count to three", "r", poll=True, hidden=True),
    Command(
        Signature.parse("push name=force,type=CephBool,req=false,positional=false"),
        "Push",
        "r",
        hidden=True,
    ),
)


KEYS = Keys("pretended")


LONG_S = 3600
"""For as long as a test lasts."""


class Shifted:
    """The real clock, which a test sets ahead."""

    def __init__(self):
        self.ahead_s = 0.0

    def now(self):
        return CLOCK.now() + self.ahead_s


class Rights:
    """A mirror that shows a table of capabilities, and nothing else."""

    def __init__(self):
        self.records = {}
        self.followers = []

    def set(self, rights):
        self.put({KEYS.access_of(client): text for client, text in rights.items()})

    def put(self, changes):
        """Change records by key; None takes one away."""
        for key, text in changes.items():
            if text is None:
                self.records.pop(key, None)
            else:
                self.records[key] = Record(key, text, Revision(1), Revision(1))
        for follower in self.followers:
            follower(changes)

    def get(self, key):
        return self.records.get(key)

    def list(self, prefix):
        return {key: each for key, each in self.records.items() if key.startswith(prefix)}


@dataclass
class View:
    """What a manager knows; keeps the promises of ``mgr.host.cluster_view.ClusterView``."""

    now: LeaderView | None = None
    waiting: list[Presence] = field(default_factory=list)
    age: float = 0.01
    published: dict[str, str] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    watched: int = 0
    rights: Rights = field(default_factory=Rights)

    def __post_init__(self):
        self.access = Access(self.rights, KEYS)

    def follow_access(self, callback):
        self.rights.followers.append(callback)

    def leader(self):
        return self.now

    def presences(self):
        return self.waiting

    def age_s(self):
        return self.age

    def services(self):
        return self.published if self.now else {}

    async def changes(self):
        self.watched += 1
        said = self.now
        yield said
        while True:
            if self.now == said:
                await self.changed.wait()
            else:
                said = self.now
                yield said

    def set(self, leader):
        self.now = leader
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Ledger:
    """What the cluster's store would hold: which request was applied, and its answer."""

    def __init__(self):
        self.count = 0
        self.answers = {}


class Active:
    """The role of a manager that leads: answers, and remembers by request id."""

    state = "active"
    audit = None
    issuer = None

    def __init__(self, name, term, ledger):
        self.name = name
        self.term = term
        self.ledger = ledger
        self.log = ClusterLog()
        self.refused = []
        self.fleet = Fleet(CLOCK, self.log, term=term, name=name, on_refusal=self.refused.append)
        self.begun = []
        self.cancelled = []
        self.requests = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.fails = []
        self.said = None

    async def execute(self, request):
        self.requests.append(request)
        words = list(request.words)
        if words[0] == "wait":
            self.begun.append(words[1])
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(words[1])
                raise
        await self.hold.wait()
        if words[0] == "boom":
            raise RuntimeError("a secret of the inside")
        if words[0] == "raise":
            raise self.fails.pop(0)
        if self.said:
            return self.said
        if words[0] == "tick":
            count = len(self.requests)
            return Answer(0, str(count)) if count < 4 else Answer(-11, "", "enough")
        if words[0] == "count":
            if request.request_id not in self.ledger.answers:
                self.ledger.count += 1
                self.ledger.answers[request.request_id] = str(self.ledger.count)
            return Answer(0, self.ledger.answers[request.request_id], "", self.term)
        if words[0] == "refuse":
            return Answer(-22, "", "no", self.term)
        return Answer(0, " ".join(words[1:]) or request.input.decode(), self.name, self.term)

    def describe(self):
        return COMMANDS, f"etag-{self.name}"

    async def fail(self, name, successor, caller=None):
        return f"{name or self.name} gives way to {successor or 'anyone'}"


class Standby:
    """The role of a manager that waits: always the same refusal, always current."""

    state = "standby"
    log = None
    maps = None
    fleet = None
    audit = None
    issuer = None

    def __init__(self, view):
        self.view = view
        self.asked = 0

    async def execute(self, request):
        self.asked += 1
        raise self.refusal()

    def describe(self):
        raise self.refusal()

    async def fail(self, name, successor, caller=None):
        raise self.refusal()

    def refusal(self):
        leader = self.view.leader()
        if leader is None:
            return NotActiveError(None)
        return redirect_error(leader)


class Manager:
    """One manager: a real gRPC server before a role and a view."""

    def __init__(self, name, ledger):
        self.name = name
        self.ledger = ledger
        self.view = View()
        self.clock = Shifted()
        self.limits = ClientLimits(self.clock.now)
        self.gate = Gate(self.clock, self.view.leader)
        self.role = Standby(self.view)
        self.server = None
        self.signs = False

    async def start(self, listen="127.0.0.1:0", tls=None, tasks=None, signer=None, **settings):
        self.server = await serve(
            Settings(id=self.name, grpc_listen=listen, **settings),
            role_of=lambda: self.role,
            view=self.view,
            gate=self.gate,
            clock=self.clock,
            incarnation=f"{self.name}-1",
            limits=self.limits,
            tls=tls,
            tasks=tasks,
            signer=signer,
        )
        return self

    @property
    def address(self):
        return self.server.address

    def lead(self, term):
        self.role = Active(self.name, term, self.ledger)
        self.prove(term)
        self.server.set_serving(True)
        return self.role

    def prove(self, term):
        """The guard has proven ``term``."""
        self.gate.extend(term, self.clock.now() + LONG_S)

    def suspend(self):
        """The deadline passes, as it does when etcd does not answer."""
        self.clock.ahead_s += self.gate.deadline_s - self.clock.now()

    def leader_view(self, term, address=None):
        return LeaderView(
            name=self.name,
            incarnation=f"{self.name}-1",
            grpc_address=address or self.address,
            http_address="127.0.0.1:1",
            version="1",
            term=term,
            since="2026-01-01T00:00:00+00:00",
            join_address=self.server.join_address,
            age_s=self.view.age,
        )

    def presence(self):
        return Presence(
            name=self.name,
            incarnation=f"{self.name}-1",
            host="h",
            boot_id="b",
            pid_namespace="n",
            pid=1,
            pid_started=1,
            grpc_address=self.address,
            http_address="127.0.0.1:1",
            version="1",
            warm=True,
            signs=self.signs,
        )


class Cluster:
    """Several managers that agree on the active, unless set otherwise."""

    def __init__(self, managers):
        self.managers = {manager.name: manager for manager in managers}

    def __getitem__(self, name):
        return self.managers[name]

    @property
    def hosts(self):
        return [manager.address for manager in self.managers.values()]

    def promote(self, name, term, *, among=None):
        """Let ``name`` lead, and those ``among`` the managers know it."""
        role = self[name].lead(term)
        for other in among or self.managers:
            manager = self[other]
            manager.view.waiting = [each.presence() for each in self.managers.values()]
            manager.view.set(self[name].leader_view(term))
            if other != name:
                manager.role = Standby(manager.view)
        return role


class Tasks:
    """Stands for a task group, which a fixture cannot enter and leave in different tasks."""

    def __init__(self):
        self.tasks = []

    def create_task(self, work, name=None):
        self.tasks.append(asyncio.get_running_loop().create_task(work, name=name))
        return self.tasks[-1]

    def end(self):
        for task in self.tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def cluster(*names, **settings):
    """Run managers of these names; none leads yet."""
    ledger, tasks = Ledger(), Tasks()
    managers = [Manager(name, ledger) for name in names]
    try:
        for manager in managers:
            await manager.start(**{"tasks": tasks, **settings})
        yield Cluster(managers)
    finally:
        for manager in managers:
            if manager.server:
                await manager.server.close(0)
        tasks.end()


async def until(condition):
    """Wait for what must become true; the suite's limit is the limit."""
    while not condition():  # noqa: ASYNC110 - many conditions, none of which has an event
        await asyncio.sleep(0.01)
