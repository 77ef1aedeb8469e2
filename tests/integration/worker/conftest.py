"""A real worker process over a real etcd; the test is its guard."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import msgspec
import pytest

import mgr
from mgr.client.async_client import AsyncClient
from mgr.clock import CLOCK
from mgr.config.enabled_modules import Switch
from mgr.config.enabled_modules import encode as encode_switch
from mgr.election.records import Leader
from mgr.election.records import encode as encode_record
from mgr.link import (
    ActsOutside,
    Init,
    Prepare,
    Promote,
    Ready,
    Started,
    TimeLimited,
    encode,
    from_worker,
    open_link,
)
from mgr.settings import Settings
from mgr.store.api import Created, Delete, Put
from mgr.store.etcd import EtcdStore
from mgr.store.keys import Keys

ROOT = Path(mgr.__file__).parent.parent
SPAN_S = 600
"""How long the gate is opened: the test decides when it shuts."""


class Worker:
    """A worker process, spoken to over the link as its guard speaks."""

    def __init__(self, endpoints, directory, **settings):
        self.name = settings.pop("id", "a")
        self.log = directory / f"{self.name}-{uuid.uuid4().hex[:4]}.log"
        self.settings = Settings(
            id=self.name,
            etcd=endpoints,
            **{"grpc_listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0", **settings},
        )
        self.keys = Keys(self.settings.cluster)
        self.messages = []
        self._received = asyncio.Event()

    async def start(self):
        """Start the process and begin."""
        self.store = EtcdStore(self.settings.etcd)
        ours, theirs = socket.socketpair()
        path = f"{ROOT}:{ROOT / 'mgr' / 'ceph_names'}:{os.environ.get('PYTHONPATH', '')}"
        with self.log.open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "mgr.worker", "--link-fd", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdout=output,
                stderr=output,
                process_group=0,
                env={**os.environ, "PYTHONPATH": path},
            )
        theirs.close()
        self.reader, self.writer = await open_link(ours)
        raw = msgspec.Raw(msgspec.json.encode(self.settings))
        self.send(Init(settings=raw, incarnation="i"))

    def send(self, message):
        """Tell the worker."""
        self.writer.write(encode(message))

    async def listen(self):
        """Collect what it says, until it is gone."""
        # One that goes without having read the last message resets the connection.
        with contextlib.suppress(ConnectionResetError):
            await self._listen()

    async def _listen(self):
        while line := await self.reader.readline():
            message = from_worker(line)
            if isinstance(message, ActsOutside):
                # As its guard would, once the kernel has the time limit.
                self.send(TimeLimited(term=message.term))
            self.messages.append(message)
            self._received.set()

    async def receive(self, kind, *, within_s=20):
        """Wait for the next message of a kind that was not heard before."""
        async with asyncio.timeout(within_s):
            while True:
                for message in self.messages:
                    if isinstance(message, kind):
                        self.messages.remove(message)
                        return message
                self._received.clear()
                await self._received.wait()

    async def ready(self):
        """Wait until it is warm."""
        self.opened = await self.receive(Ready, within_s=90)
        self.client = AsyncClient([self.opened.grpc_address])
        return self.opened

    async def lead(self, *, span_s=SPAN_S):
        """Acquire leadership for it, as its guard would; its gate is open for ``span_s``."""
        self.lease = (await self.store.grant(60)).lease
        record = Leader(
            name=self.name,
            incarnation="i",
            grpc_address=self.opened.grpc_address,
            http_address=self.opened.http_address,
            version="1",
            since="2026-01-01T00:00:00+00:00",
            lease_ttl_s=60,
        )
        self.term = await self.store.create(
            self.keys.leader, encode_record(record), lease=self.lease
        )
        assert self.term is not None
        self.send(Prepare(term=self.term, lease=self.lease))
        self.send(
            Promote(
                term=self.term,
                deadline_s=CLOCK.now() + span_s,
                predecessor_quiesced=True,
            )
        )
        await self.receive(Started, within_s=60)

    async def ask(self, *words, timeout_s=5, **arguments):
        """Run a command; its answer, as text."""
        answer = await self.client.execute(list(words), arguments, timeout_s=timeout_s)
        return replace(answer, stdout=answer.stdout.decode())

    async def until(self, probe, *, within_s=10):
        """Ask until ``probe`` gives something true."""
        async with asyncio.timeout(within_s):
            while not (found := await probe()):  # noqa: ASYNC110 - another process is asked
                await asyncio.sleep(0.02)
            return found

    async def switch(self, module, *, on=True):
        """Write the record that enables or disables a module."""
        key = self.keys.module(module)
        await self.store.commit([Put(key, encode_switch(Switch(enabled=on)))])

    async def release(self):
        """Release leadership, as its guard would."""
        guard = Created(self.keys.leader, self.term)
        await self.store.commit([Delete(self.keys.leader)], when=[guard])

    async def exited(self, *, within_s=5):
        """Wait for its end; the exit status."""
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    async def stop(self):
        """End it in whatever state it is."""
        if hasattr(self, "client"):
            await self.client.close()
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        self.writer.close()
        await self.store.close()


@pytest.fixture
async def workers(etcd, tmp_path):
    """Start workers of one new cluster; all of them end with the test."""
    cluster = f"t{uuid.uuid4().hex[:8]}"
    started = []

    async with asyncio.TaskGroup() as tasks:

        async def start(**settings):
            worker = Worker(etcd.endpoints, tmp_path, cluster=cluster, **settings)
            started.append(worker)
            await worker.start()
            tasks.create_task(worker.listen())
            return worker

        try:
            yield start
        except BaseException:
            for worker in started:
                sys.stderr.write(worker.log.read_text(errors="replace")[-4000:])
            raise
        finally:
            for worker in started:
                await worker.stop()


@pytest.fixture
def folder(tmp_path):
    """A folder for modules, and what writes one into it."""
    place = tmp_path / "modules"
    place.mkdir()

    def write(name, text):
        (place / name).mkdir()
        (place / name / "module.py").write_text(dedent(text))
        (place / name / "__init__.py").write_text("from .module import *")

    write.path = str(place)
    return write
