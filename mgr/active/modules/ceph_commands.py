"""Decides for each command of a module whether the manager runs it or a real Ceph cluster.

The module ``ceph`` has the connection. While it is enabled, the commands that the manager and its
modules do not have themselves go to Ceph's monitors, and those to OSDs, placement groups and MDSs
that do not report to this manager go to Ceph's own (docs/adr/0065).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mgr.active.documents.documents import Documents
from mgr.active.modules.background_commands import Execute
from mgr.active.modules.modules import ActiveModules
from mgr.argument.tell import TELL
from mgr.cluster.fleet import Fleet
from mgr.command.answer import Answer
from mgr.command.registry import BUILTIN, Registry
from mgr.command.request import Request
from mgr.errors import UnknownCommandError
from mgr.host.bridge import run_in_thread, thread_name
from mgr.module_process.messages import loads
from mgr.module_process.remote import RemoteAnswer, RemoteInstance, pickled_arguments, run_remote
from mgr.tracing import carrying, part
from mgr.waiting import wait

MODULE: Final = "ceph"
METHOD: Final = "run_command"
MONITORS: Final = "mon"
TARGETS: Final = frozenset({"mon", "osd", "pg", "mds"})
"""Types of Ceph's daemons that a module may send commands to."""
STAND_INS: Final = frozenset({"osd blocklist ls"})
"""The manager's own commands that only stand for one of a Ceph cluster."""
ENTITY: Final = "entity"
"""The argument of Ceph's ``auth`` commands where the manager's own, of the same words, have
``client``: with it, keys of Ceph's users are meant."""
START_S: Final = 10.0
"""How long a command waits for the module, which starts with the term."""
ANSWER_S: Final = 40.0
"""How long an answer is waited for. Ceph's own limits are shorter; to an MDS there is none."""
FIRST_S: Final = 10.0
"""How long the documents of Ceph are waited for, once in a term."""
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class CephTarget:
    """Whom a command is sent to, and its words without that."""

    kind: str
    name: str
    prefix: str


async def call_module(
    modules: ActiveModules, module: str, method: str, payload: bytes
) -> RemoteAnswer:
    """Call a method of a running module, wherever it runs, with pickled arguments. On the loop."""
    instance = modules.instance_of(module)
    if instance is None:
        return "no module", ""
    with part(f"remote {module}.{method}"):
        if isinstance(instance, RemoteInstance):
            return await instance.call(method, payload)
        call = carrying(partial(run_remote, instance, method, payload))
        return await run_in_thread(thread_name(module, "remote"), call, module=module)


def _answer_of(answer: RemoteAnswer) -> Answer:
    match answer:
        case ("result", bytes(content)):
            # Plain values only: nothing from a module's process is unpickled in the worker.
            with contextlib.suppress(pickle.UnpicklingError, TypeError, ValueError):
                retval, stdout, stderr = loads(content)
                return Answer(int(retval), str(stdout), str(stderr))
            why = "it returned something else than an answer"
        case ("failed", str(text)):
            why = text
        case _:
            why = "it does not run, or is not the module that belongs to this manager"
    return Answer(-errno.EIO, "", f"module '{MODULE}': {why}")


class CephCommands:
    """Runs commands of modules, here or in Ceph. Use it on the loop."""

    def __init__(
        self,
        execute: Execute,
        registry: Registry,
        modules: ActiveModules,
        fleet: Fleet,
        may_begin: Callable[[], bool],
    ) -> None:
        """Run the manager's own commands with ``execute``.

        ``may_begin`` returns whether this manager may act: past its deadline nothing is sent.
        """
        self._execute = execute
        self._registry = registry
        self._modules = modules
        self._fleet = fleet
        self._may_begin = may_begin
        self._first_until_s = math.inf

    async def execute(self, request: Request) -> Answer:
        """Run a command; errors as ``mgr.command.dispatch`` raises them.

        What Ceph answers is an answer, refusals and time-outs included.
        """
        target = self.target_of(request)
        if target is None:
            return await self._execute(request)
        if not await self._started():
            why = self._modules.error_of(MODULE) or "it has not started yet"
            return Answer(-errno.EAGAIN, "", f"module '{MODULE}' does not run: {why}")
        if not self._may_begin():
            return Answer(-errno.EAGAIN, "", "this manager may not act now: nothing was sent")
        command = {**request.arguments, "prefix": target.prefix}
        given = (target.kind, target.name, json.dumps(command), request.input.decode())
        payload = pickled_arguments(MODULE, METHOD, given, {})
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await call_module(self._modules, MODULE, METHOD, payload)
        except TimeoutError:
            late = f"Ceph has not answered within {ANSWER_S:g} s: whether it ran is unknown"
            return Answer(-errno.ETIMEDOUT, "", late)
        return _answer_of(answer)

    def target_of(self, request: Request) -> CephTarget | None:
        """Return whom in Ceph a command is for; None if the manager runs it itself."""
        if MODULE not in self._modules.enabled:
            return None
        words = request.words
        if len(words) > 1 and words[0] == TELL:
            kind, _, name = words[1].partition(".")
            if kind not in TARGETS or words[1] in self._fleet.daemons:
                return None
            return CephTarget(kind, name, " ".join(words[2:]))
        if self._is_own(words, request.arguments):
            return None
        return CephTarget(MONITORS, "", " ".join(words))

    def _is_own(self, words: Sequence[str], arguments: Mapping[str, Any]) -> bool:
        try:
            command = self._registry.lookup(words)
        except UnknownCommandError:
            return False
        if command.module == BUILTIN:
            return command.prefix not in STAND_INS and ENTITY not in arguments
        return command.module in self._modules.enabled

    async def wait_documents(self, documents: Documents) -> None:
        """Wait until ``documents`` has those of Ceph for the first time in this term.

        Returns without them if they do not come: not within ``FIRST_S`` seconds from the first
        call on, or the module that publishes them does not run.
        """
        now_s = asyncio.get_running_loop().time
        self._first_until_s = min(self._first_until_s, now_s() + FIRST_S)
        # A module that fails or stops changes documents as well: health, the manager map.
        changed = asyncio.Event()
        end = documents.on_changed(lambda _names: changed.set())
        try:
            while self._may_come() and not documents.has_ceph:
                changed.clear()
                if not await wait(changed, self._first_until_s - now_s()):
                    return
        finally:
            end()

    def _may_come(self) -> bool:
        return MODULE in self._modules.enabled and not self._modules.error_of(MODULE)

    async def _started(self) -> bool:
        """Wait for the instance while it may still come."""
        for _ in range(round(START_S / POLL_S)):
            if self._modules.instance_of(MODULE) is not None:
                return True
            if not self._may_come():
                return False
            # Polling: the modules have no event for one of them.
            await asyncio.sleep(POLL_S)
        return False
