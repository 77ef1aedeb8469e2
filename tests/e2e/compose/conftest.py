"""One stack for all tests of this folder: brought up once, taken down whatever happens."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from tests.e2e.compose import images
from tests.e2e.compose.engine import running_engine
from tests.e2e.compose.shell import UnavailableError, say
from tests.e2e.compose.stack import CHAOS, COMPOSE, NAMES, UP, USE, Stack

HERE = Path(__file__).parent
WHY = pytest.StashKey[str]()


def pytest_configure(config):
    """The tier has a name, so that it can be run last and left out."""
    config.addinivalue_line("markers", "compose: drives deploy/compose.yaml in real containers")


def pytest_collection_modifyitems(items):
    """All of this folder, and time for what is built before the first test."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.compose)
            item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(terminalreporter, config):
    """A tier that was left out is not a tier that passed: say so where nobody can miss it."""
    why = config.stash.get(WHY, "")
    if why:
        terminalreporter.section("THE COMPOSE TIER WAS SKIPPED", sep="!", red=True)
        terminalreporter.line(why)


@pytest.fixture(scope="session")
def unavailable(pytestconfig):
    """Skip, loudly."""

    def skip(error):
        pytestconfig.stash[WHY] = str(error)
        pytest.skip(f"THE COMPOSE TIER WAS SKIPPED: {error}")

    return skip


@pytest.fixture(scope="session")
def engine(unavailable):
    """An engine with Compose v2; stopped afterwards if it was started for this."""
    engines = running_engine()
    try:
        running = engines.__enter__()
    except UnavailableError as error:
        unavailable(error)
    try:
        yield running
    finally:
        engines.__exit__(None, None, None)


@pytest.fixture(scope="session")
def image_settings(engine, unavailable):
    """Every image that the files name is there; what Compose must be told of them."""
    try:
        return images.provide(engine)
    except UnavailableError as error:
        unavailable(error)


@pytest.fixture(scope="session")
def stack(engine, image_settings):
    """Three etcd, three managers, the load balancer, and hello with a page on each manager."""
    running = Stack(engine, image_settings)
    running.transcript.machine = f"{os.cpu_count()} cores, {platform.system()}; {engine.versions()}"
    try:
        say("up --build --wait")
        running.transcript.section("Up")
        running.as_written(UP)
        running.settled()
        running.transcript.section("A module with a page")
        running.as_written(USE)
        yield running
    except BaseException:
        say(running.typed(f"{COMPOSE} logs --no-color --tail 40", check=False))
        raise
    finally:
        running.transcript.section("Down")
        running.typed(f"{CHAOS} down -v -t 5 --remove-orphans", limit_s=120, check=False)
        running.transcript.write()
        for image in ("mgr-test", "mgr-test-chaos"):
            engine.docker("image", "rm", "-f", image, check=False)


@pytest.fixture(autouse=True)
def logs_of_a_failure(request):
    """What the managers said, under a test that failed."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed and "stack" in request.fixturenames:
        say(engine_logs(request.getfixturevalue("stack")))


def engine_logs(stack):
    """The last lines of every container."""
    return stack.engine.docker("ps", "-a") + "".join(
        f"---- {name}\n"
        + stack.engine.docker("logs", "--tail", "40", stack.container(name), check=False)
        for name in NAMES
    )
