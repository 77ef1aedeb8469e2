"""The laboratory: three etcds, three managers, clients, and what records and checks them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc

from mgr.clock import CLOCK
from mgr.errors import MgrError
from mgr.failpoint import VARIABLE, Point
from mgr.store import api, etcd3_stubs
from mgr.store.api import Delete, Operation
from mgr.store.etcd import EtcdStore
from mgr.store.keys import Keys
from tests.support import process
from tests.support.cluster import Cluster, Manager, wait_for
from tests.support.etcd import MEMBERS, MEMORY, EtcdCluster
from tests.support.faults import peers
from tests.support.faults.followers import DAEMON, Followers
from tests.support.faults.load import Load, Record
from tests.support.faults.namespaces import Namespaces
from tests.support.faults.replay import RecordedHistory, history, replay_log
from tests.support.faults.sink import Actor, Sink
from tests.support.faults.verdict import judge, keeps_secret
from tests.support.faults.wires import Wires

ETCD: Final = {"heartbeat-interval": "50", "election-timeout": "500"}
"""For a quick network: what the fast profile is meant for."""
NAMES: Final = ("a", "b", "c")
MODULES: Final = Path(__file__).parent / "modules"
TEN_DAYS_S: Final = 864_000
CLOCKS: Final = {
    name: ("unshare", "--time", "--boottime", str(days * TEN_DAYS_S))
    for name, days in (("b", 1), ("c", 2))
}
STATUS = etcd3_stubs.method("Maintenance", "Status")
MARK: Final = "MGR_LAB"
"""In the environment of every process of a laboratory's managers: which one, and whose."""
EFFECTS: Final = "MGR_LAB_EFFECTS"
"""What the ledger says of its effects."""
TERMS_MAX: Final = 5
"""How many terms may end while it is looked who follows the active."""
ACTING_S: Final = 0.3
"""Whoever has not acted for so long does not act any more; many times their period."""
GONE_S: Final = 3.0
"""In which what a manager started must have ended with it."""
SECRET: Final = "hunter2-do-not-log"
"""Stored as a value; nobody may write it into a log."""


def keeps_to_the_table(log: Path) -> list[str]:
    """The phases that a manager logged are a walk through the state machine of the product."""
    trouble = replay_log(log)
    return [trouble] if trouble else []


UNPRIVILEGED: Final = ("setpriv", "--bounding-set", "-sys_resource")
"""Before the command of a manager, which may then raise no hard limit, as in a container."""
_CAP_SYS_RESOURCE: Final = 24
LOG_CHECKS: Final = (keeps_secret(SECRET), keeps_to_the_table)
"""What the log of each manager is asked for in the end."""


class Lab(contextlib.ExitStack):
    """Use as a context manager. ``judged`` tells what must never have happened and did.

    With ``wired``, a manager reaches the etcds over ``cables`` of its own, the bundle with its
    name. With ``namespaces``, every etcd and manager has a host of its own on ``net``. With
    ``clocks``, two of the managers live in time namespaces: their boot clocks show other days.

    With ``external`` a module acts outside all the time and asks nobody; its worker may not
    outlive a deadline. Without it, no module acts outside, and a worker may be suspended.
    """

    def __init__(
        self,
        *,
        wired: bool = False,
        namespaces: bool = False,
        clocks: bool = False,
        external: bool = True,
        clients: int = 2,
        pause_s: float = 0.005,
        etcd_flags: Mapping[str, str] | None = None,
        environments: Mapping[str, Mapping[str, str]] | None = None,
        **settings: Any,
    ) -> None:
        """Start everything; ``settings`` are the managers'."""
        super().__init__()
        self.record = Record()
        self.external = external
        self.left_behind: list[str] = []
        """Processes that lived on after their manager, in words."""
        self._frozen: list[int] = []
        self._mark = uuid.uuid4().hex
        self._mends: list[Callable[[], None]] = []
        try:
            self.directory = Path(self.enter_context(_directory()))
            hosts, within = self._hosts(namespaces=namespaces, clocks=clocks)
            if _may_raise_limits():
                managers = {name: (*within.get(name, ()), *UNPRIVILEGED) for name in NAMES}
                within = {**within, **managers}
            flags = {**ETCD, **(etcd_flags or {})}
            self.etcd = self.enter_context(
                EtcdCluster(self.directory / "etcd", flags=flags, hosts=hosts, within=within)
            )
            self.sink = self.enter_context(Sink(self.directory))
            self.callback(self._kill_leftovers)
            own = self._cabled() if wired else {}
            self.cluster = self.enter_context(
                Cluster(
                    self.directory,
                    self.etcd.endpoints,
                    names=NAMES,
                    own=own,
                    environments=self._environments(environments or {}),
                    hosts=hosts,
                    within=within,
                    **{"profile": "fast", "module_path": MODULES, "log_format": "json", **settings},
                )
            )
            self._settle()
            self.followers = self.enter_context(Followers(self.cluster.hosts))
            load = Load(self.record, self.cluster.client, clients, pause_s, acts=external)
            self.load = self.enter_context(load)
        except BaseException:
            self.close()
            raise

    def _hosts(
        self, *, namespaces: bool, clocks: bool
    ) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
        """Addresses by name, and what to put before a command; none: this machine's own."""
        if not namespaces:
            return {}, CLOCKS if clocks else {}
        self.net = self.enter_context(Namespaces((*MEMBERS, *NAMES)))
        self._mends.append(self.net.heal)
        return self.net.addresses, {name: self.net.within(name) for name in (*MEMBERS, *NAMES)}

    def _cabled(self) -> dict[str, dict[str, str]]:
        """Lay the cables; the settings of each manager that has them."""
        self.cables = self.enter_context(
            Wires(
                dict.fromkeys(NAMES, self.etcd.endpoints),
                {name: partial(self._party, name) for name in NAMES},
            )
        )
        self._mends.append(self.cables.mend)
        return {name: {"etcd": ",".join(self.cables.addresses(name))} for name in NAMES}

    def _party(self, name: str, near_port: int, far_port: int) -> str:
        """Whether it was the guard or the worker of manager ``name`` that connected."""
        guard = self.cluster.managers[name].guard_pid
        return peers.party(guard, process.descendants(guard), peers.inode(near_port, far_port))

    def _environments(self, given: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        effects = "external" if self.external else "store"
        return {
            name: {
                VARIABLE: str(self._points(name)),
                MARK: f"{self._mark}:{name}",
                EFFECTS: effects,
                **given.get(name, {}),
            }
            for name in NAMES
        }

    def _settle(self) -> None:
        self.keys = Keys(self.cluster.name)
        self.recorder = self.enter_context(RecordedHistory(self.etcd.endpoints, self.keys))
        self.cluster.settled(40)
        self.cluster.enable("ledger")
        self.cluster.run("config", "set", "mgr", "mgr/ledger/sink", str(self.sink.path))
        if self.external:
            self.cluster.run("config", "set", "mgr", "mgr/ticker/ticks", str(self.sink.ticks_path))
            self.cluster.enable("ticker")
        self.cluster.run("config-key", "set", "secret", SECRET)

    # -- looking ----------------------------------------------------------------------------------

    def settled(self) -> Manager:
        """Return the active, once the others are warm standbys and clients are served."""
        active = self.cluster.settled(60)
        since_s = CLOCK.now()
        wait_for(lambda: self.record.first_after(since_s, 0), "an answer", 30)
        return active

    def standby(self) -> Manager:
        """Some manager that is not the active."""
        active = self.cluster.settled(60)
        return next(m for m in self.cluster.managers.values() if m is not active)

    def acting(self) -> list[Actor]:
        """Threads and processes of modules that act now, of whatever term."""
        since_s = CLOCK.now() - ACTING_S
        return [each for each in list(self.sink.ticks.actors.values()) if each.last_s > since_s]

    def helpers(self) -> dict[int, str]:
        """The processes among them, and how each was started."""
        words = [each.who.split("/") for each in self.acting() if each.who.startswith("helper/")]
        return {int(pid): how for _, how, pid in words}

    def etcd_leader(self) -> str:
        """The name of the etcd that leads."""
        return wait_for(self._etcd_leader, "a leader among the etcds")

    def _etcd_leader(self) -> str | None:
        for member in self.etcd.members:
            with grpc.insecure_channel(member.address) as channel:
                ask = channel.unary_unary(
                    STATUS.path,
                    request_serializer=STATUS.request.SerializeToString,
                    response_deserializer=STATUS.response.FromString,
                )
                with contextlib.suppress(grpc.RpcError):
                    said = ask(STATUS.request(), timeout=0.5)
                    if said.leader and said.leader == said.header.member_id:
                        return member.name
        return None

    # -- breaking ---------------------------------------------------------------------------------

    def arm(self, name: str, point: Point, signal_name: str = "SIGSTOP") -> Path:
        """Have manager ``name`` send itself a signal at ``point``, once; gone when it did."""
        file = self._points(name) / point
        file.write_text(signal_name, encoding="ascii")
        return file

    def disarm(self, name: str) -> None:
        """Have manager ``name`` pass every point again."""
        for point in Point:
            (self._points(name) / point).unlink(missing_ok=True)

    def freeze_host(self, manager: Manager) -> None:
        """Stop everything of a manager: its host stands still, and its clocks go on."""
        pids = [manager.guard_pid, *process.descendants(manager.guard_pid)]
        for pid in pids:
            send_signal(pid, signal.SIGSTOP)
        self._frozen += pids

    def resume_hosts(self) -> None:
        """Let every host that stands still go on: all its processes at once, the guard last."""
        self.sink.ticks.resumed_s.update(dict.fromkeys(self._frozen, CLOCK.now()))
        for pid in reversed(self._frozen):
            send_signal(pid, signal.SIGCONT)
        self._frozen.clear()

    def break_module(self, how: str) -> None:
        """Ask the active's ledger to break; returns at once."""

        def ask() -> None:
            with contextlib.suppress(MgrError), self.cluster.client() as client:
                client.execute(["ledger", "break"], {"how": how}, timeout_s=5)

        thread = threading.Thread(target=ask, name=f"break {how}")
        thread.start()
        self.callback(thread.join)

    def pause(self, seconds: float) -> None:
        """Let time pass, with everybody at work."""
        threading.Event().wait(seconds)

    def in_store(self, *operations: Operation) -> None:
        """The store, to write to it as an operator could."""
        asyncio.run(_committed(self.etcd.endpoints, operations))

    def read(self, key: str) -> api.Record | None:
        """One key of the store, as an operator sees it."""
        return asyncio.run(_read(self.etcd.endpoints, key))

    def forget_deposition(self) -> None:
        """There is one deposition in ten seconds; runs are not to wait for each other."""
        self.in_store(Delete(self.keys.deposed))

    # -- judging ----------------------------------------------------------------------------------

    def judged(self) -> list[str]:
        """Stop the clients, let everything recover, and tell every violation."""
        self.load.__exit__(None, None, None)
        try:
            self.cluster.settled(60)
        except TimeoutError as error:
            return [str(error), *self.left_behind]
        self.bury()
        lagging = self.lagging()
        counts = json.loads(self.cluster.run("ledger", "counts", timeout_s=30).stdout)
        self.recorder.catch_up()
        return (
            lagging
            + history(self.recorder.entries)
            + judge(
                self.record,
                self.recorder,
                counts,
                self.sink,
                final=lambda key: self.cluster.run("ledger", "get", key=key, timeout_s=30),
                logs={name: m.log for name, m in self.cluster.managers.items()},
                log_checks=LOG_CHECKS,
                followed=self.followers.seen,
                leftovers=self.left_behind,
            )
        )

    def found(self) -> dict[object, str]:
        """Every violation that can be seen while it all runs, each under a key that stays."""
        ticks = self.sink.ticks
        texts = (*self.recorder.violations, *self.followers.seen.violations, *self.left_behind)
        late = {key: ticks.describe(actor) for key, actor in ticks.late().items()}
        return {**{text: text for text in texts}, **late}

    def lagging(self) -> list[str]:
        """Who follows the active and is not on the newest term soon, now that there is one.

        The time counts from the beginning of a term: it starts again if that one ends meanwhile,
        as it may while etcd comes back.
        """
        found: list[str] = []
        for _ in range(TERMS_MAX):
            term = self.recorder.terms[-1].term
            found = self.followers.lagging(
                term, lambda: self.cluster.run("tell", ".".join(DAEMON), "ping", timeout_s=2)
            )
            if not found or self.recorder.terms[-1].term == term:
                break
        return found

    def leftovers(self) -> dict[int, str]:
        """Processes that a manager started and that live on after it, with its name."""
        # In this order: what a manager starts in between is not taken for what one left behind.
        marked = process.marked(MARK, self._mark)
        below = {
            name: {manager.guard_pid, *process.descendants(manager.guard_pid)}
            for name, manager in self.cluster.managers.items()
            if manager.running
        }
        owners = {pid: value.partition(":")[2] for pid, value in marked.items()}
        return {
            pid: name
            for pid, name in owners.items()
            if pid not in below.get(name, ()) and not process.gone(pid)
        }

    def bury(self) -> None:
        """Note and end what a dead manager left behind, once it had its time to end by itself."""
        try:
            wait_for(lambda: not self.leftovers(), "all to end with their manager", GONE_S)
        except TimeoutError:
            self._end_leftovers()

    def _end_leftovers(self) -> None:
        for pid, name in self.leftovers().items():
            self.left_behind.append(
                f"process {pid} ({process.name_of(pid)}) of manager {name} lives on after it"
            )
            send_signal(pid, signal.SIGKILL)

    def _kill_leftovers(self) -> None:
        """Whatever a manager left behind, the laboratory does not."""
        for pid in process.marked(MARK, self._mark):
            send_signal(pid, signal.SIGKILL)

    def heal_network(self) -> None:
        """Mend every cable and switch."""
        for mend in self._mends:
            mend()

    def _points(self, name: str) -> Path:
        folder = self.directory / f"points-{name}"
        folder.mkdir(exist_ok=True)
        return folder


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _may_raise_limits() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    capabilities = int(status.partition("CapEff:")[2].split()[0], 16)
    return bool(capabilities >> _CAP_SYS_RESOURCE & 1)


def _directory() -> tempfile.TemporaryDirectory[str]:
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="mgr-lab-", dir=place, ignore_cleanup_errors=True)


async def _read(endpoints: tuple[str, ...], key: str) -> api.Record | None:
    store = EtcdStore(endpoints)
    try:
        return await store.get(key, timeout_s=5)
    finally:
        await store.close()


async def _committed(endpoints: tuple[str, ...], operations: tuple[Operation, ...]) -> None:
    store = EtcdStore(endpoints)
    try:
        await store.commit(operations)
    finally:
        await store.close()
