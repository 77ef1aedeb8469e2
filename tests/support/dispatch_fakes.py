"""A dispatcher over a real store in memory, with a module that counts and a gate to control."""

from __future__ import annotations

import asyncio
import contextlib

from mgr.argument.descriptor import Signature
from mgr.audit.ring import records_in
from mgr.audit.trail import AuditLimits, AuditTrail
from mgr.command.dispatch import Dispatcher, Request
from mgr.command.journal import Journal
from mgr.command.registry import Command, Registry
from mgr.errors import NotActiveError, OverloadedError, TermLostError
from tests.support.leading import leading

COMMANDS = (
    Command(Signature.parse("counter show"), "", "r", module="counter"),
    Command(Signature.parse("counter add name=by,type=CephInt"), "", "rw", module="counter"),
    Command(Signature.parse("counter set"), "", "rw", module="counter", idempotent=True),
)
ADD = ("counter", "add", "1")


class Gate:
    """A gate that is open, shut, or shut for good, as the test sets it."""

    term = 7

    def __init__(self, clock):
        self._clock = clock
        self.is_open = True
        self.draining = False
        self.reopened = asyncio.Event()

    def accepts(self):
        return self.is_open and not self.draining

    def term_valid(self):
        return self.is_open

    async def wait_accepting(self, *, until_s):
        await self._wait(until_s, NotActiveError("b:1"))

    async def wait_answerable(self, *, until_s):
        try:
            await self.wait_term_valid(until_s=until_s)
        except TermLostError:
            raise NotActiveError(None) from None

    async def wait_term_valid(self, *, until_s):
        await self._wait(until_s, TermLostError("over"))

    def shut(self):
        self.is_open = False
        self.reopened.clear()

    def open(self):
        self.is_open = True
        self.reopened.set()

    async def _wait(self, until_s, refusal):
        try:
            async with asyncio.timeout(max(0.0, until_s - self._clock.now())):
                await self.reopened.wait()
        except TimeoutError:
            raise refusal from None


class Counter:
    """A module that counts; ``pause`` keeps its command running until the test ends that."""

    def __init__(self):
        self.value = 0
        self.calls = 0
        self.result = None
        self.failure = None
        self.starting = None
        self.pause = None
        self.begun = asyncio.Event()

    is_ready = False

    async def ready(self, *, until_s):
        if self.starting:
            raise self.starting

    async def run(self, command, arguments, inbuf, *, deadline_s, caller, permit):
        if isinstance(self.failure, OverloadedError):
            raise self.failure
        permit()
        self.calls += 1
        self.begun.set()
        if self.pause:
            await self.pause.wait()
        if self.failure:
            raise self.failure
        self.value += arguments.get("by", 0)
        return self.result or (0, str(self.value), inbuf)


class Bench:
    """A dispatcher with everything that a test controls."""

    def __init__(self, term, *, hold_s=1.0, sinks=None):
        self.term = term
        # Stands still: how long the machine takes for a test decides nothing. Waits are real.
        self.clock = term.clock
        self.gate = Gate(self.clock)
        self.counter = Counter()
        self.registry = Registry()
        self.registry.put("counter", COMMANDS)
        self.journal = self.book(term)
        self.audit = AuditTrail(
            keys=term.keys,
            mirror=term.mirror,
            writer=term.fenced,
            manager="a",
            clock=term.clock,
            limits=lambda: AuditLimits(changes=1000, change_chars=1 << 20),
            is_secret=lambda _: False,
            sinks=sinks,
        )
        self.dispatcher = Dispatcher(
            registry=self.registry,
            permit=term.access.check,
            runner_of=lambda _: self.counter,
            gate=self.gate,
            journal=self.journal,
            audit=self.audit,
            clock=self.clock,
            tasks=term.tasks,
            hold_s=hold_s,
        )

    def book(self, term):
        return Journal(
            term.fenced, term.keys, term.mirror, term.store, term=term.term, clock=term.clock
        )

    def records(self):
        """The audit, as every manager sees it."""
        return records_in(self.term.mirror, self.term.keys)

    async def execute(self, *words, within_s=None, **fields):
        deadline_s = None if within_s is None else self.clock.now() + within_s
        return await self.dispatcher.execute(Request(words, deadline_s=deadline_s, **fields))


@contextlib.asynccontextmanager
async def bench(*, store=None, clock=None, **options):
    async with leading(store, clock) as term:
        yield Bench(term, **options)
