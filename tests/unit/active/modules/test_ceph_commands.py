"""Whose command it is, the manager's or one for a Ceph cluster, and what becomes of the latter."""

import asyncio
import errno
import json

import pytest

from mgr.active.documents.documents import Documents
from mgr.active.modules.ceph_commands import FIRST_S, CephCommands, CephTarget
from mgr.argument.descriptor import Signature
from mgr.command.answer import Answer
from mgr.command.registry import BUILTIN, Command, Registry
from mgr.command.request import Request


class Ceph:
    """The module, as far as it is called."""

    def __init__(self):
        self.sent = []

    def run_command(self, *given):
        self.sent.append(given)
        return -errno.ENOENT, "data", "text"


class Modules:
    """Which modules run."""

    def __init__(self):
        self.enabled = ("ceph", "volumes")
        self.instances = {"ceph": Ceph()}
        self.errors = {}

    def instance_of(self, module):
        return self.instances.get(module)

    def error_of(self, module):
        return self.errors.get(module, "")


class Fleet:
    def __init__(self):
        self.daemons = {"osd.7": object()}


@pytest.fixture
def modules():
    return Modules()


@pytest.fixture
def allowed():
    """Whether the manager may act."""
    return [True]


@pytest.fixture
def ceph(modules, allowed):
    registry = Registry()
    for module, prefix in [
        (BUILTIN, "config set"), (BUILTIN, "osd blocklist ls"), (BUILTIN, "auth get"),
        ("volumes", "fs volume ls"), ("balancer", "balancer status"),
    ]:  # fmt: skip
        command = Command(Signature.parse(prefix), "", "r", module=module)
        registry.put(module, [*(c for c in registry.all() if c.module == module), command])

    async def own(request):
        return Answer(0, "own", " ".join(request.words))

    return CephCommands(own, registry, modules, Fleet(), lambda: allowed[0])


def target(ceph, prefix, **arguments):
    return ceph.target_of(Request(prefix.split(), arguments))


@pytest.mark.parametrize("prefix", ["config set", "fs volume ls", "auth get", "tell mgr.a status"])
def test_words_that_the_manager_has_are_its_own(ceph, prefix):
    """Also those of modules, if they are enabled here."""
    assert target(ceph, prefix) is None


@pytest.mark.parametrize("prefix", ["osd pool create", "balancer status", "osd blocklist ls"])
def test_other_words_are_for_the_monitors(ceph, prefix):
    """So are those of a module that is not enabled here, and those that only stand for Ceph's."""
    assert target(ceph, prefix) == CephTarget("mon", "", prefix)


def test_a_key_of_ceph_is_not_a_client_of_the_manager(ceph):
    """The argument tells: the words are the same."""
    assert target(ceph, "auth get", entity="client.nfs") == CephTarget("mon", "", "auth get")
    assert target(ceph, "auth get", client="web") is None


def test_a_daemon_that_reports_here_gets_its_commands_from_here(ceph):
    """Any other one of Ceph's types is Ceph's."""
    assert target(ceph, "tell osd.7 perf dump") is None
    assert target(ceph, "tell rgw.a help") is None
    assert target(ceph, "tell osd.8 perf dump") == CephTarget("osd", "8", "perf dump")
    assert target(ceph, "tell pg.1.0 query") == CephTarget("pg", "1.0", "query")


def test_without_the_module_everything_is_the_managers(ceph, modules):
    """As it is without a Ceph."""
    modules.enabled = ("volumes",)

    assert target(ceph, "osd pool create") is None


async def test_what_ceph_answers_is_the_answer(ceph, modules):
    """Arguments arrive as JSON with their prefix, input as text."""
    request = Request(["osd", "pool", "create"], {"pool": "p", "pg_num": 8}, b"in")

    answer = await ceph.execute(request)

    assert (answer.retval, answer.stdout, answer.stderr) == (-errno.ENOENT, "data", "text")
    [(kind, name, command, inbuf)] = modules.instances["ceph"].sent
    assert (kind, name, inbuf) == ("mon", "", "in")
    assert json.loads(command) == {"prefix": "osd pool create", "pool": "p", "pg_num": 8}


async def test_own_commands_are_run_as_before(ceph):
    """By the dispatcher, with everything that it checks."""
    assert (await ceph.execute(Request(["config", "set"]))).stdout == "own"


async def test_a_manager_past_its_deadline_sends_nothing(ceph, modules, allowed):
    """Another one may lead by now."""
    allowed[0] = False

    answer = await ceph.execute(Request(["osd", "pool", "create"]))

    assert answer.retval == -errno.EAGAIN
    assert modules.instances["ceph"].sent == []


async def test_a_module_that_does_not_run_says_why(ceph, modules):
    """At once: it will not come."""
    modules.instances.clear()
    modules.errors["ceph"] = "its serve raised"

    answer = await ceph.execute(Request(["osd", "pool", "create"]))

    assert answer.retval == -errno.EAGAIN
    assert "its serve raised" in answer.stderr


async def test_an_exception_of_the_module_is_an_answer(ceph, modules):
    """Whoever sent the command is not broken by it."""
    modules.instances["ceph"] = object()

    answer = await ceph.execute(Request(["osd", "pool", "create"]))

    assert answer.retval == -errno.EIO
    assert "ceph" in answer.stderr


class Unpickled:
    """Would be made in whatever process reads it."""

    made = False

    def __reduce__(self):
        return Unpickled.make, ()

    @staticmethod
    def make():
        Unpickled.made = True


@pytest.mark.parametrize("returned", [Unpickled(), None, ("x",), ("zero", "", "")])
async def test_only_plain_answers_are_read(ceph, modules, returned):
    """The worker runs nothing that the module's process sends."""
    modules.instances["ceph"].run_command = lambda *_given: returned

    answer = await ceph.execute(Request(["osd", "pool", "create"]))

    assert answer.retval == -errno.EIO
    assert not Unpickled.made


async def test_the_first_documents_are_waited_for(ceph, modules):
    """Until they are there, or will not come; other documents change meanwhile."""
    documents = Documents({"health": dict}, lambda _name: None)

    async with asyncio.timeout(FIRST_S / 2), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(ceph.wait_documents(documents))
        await asyncio.sleep(0)
        documents.mark_changed("health")
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiting.done()
        documents.put_ceph({"osd_map": {}})

    documents.drop_ceph()
    async with asyncio.timeout(FIRST_S / 2), asyncio.TaskGroup() as tasks:
        tasks.create_task(ceph.wait_documents(documents))
        await asyncio.sleep(0)
        modules.errors["ceph"] = "it has failed"
        documents.mark_changed("health")
