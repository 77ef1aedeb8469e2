"""Real zygotes and processes, without a worker."""

import asyncio
from textwrap import dedent

import pytest

from mgr.module_process.declarations import Declarations
from mgr.module_process.load_order import LoadOrder
from mgr.module_process.processes import ModuleProcesses
from mgr.module_process.start import spawn_zygote

ORDER = LoadOrder("info", "text", "a")


@pytest.fixture
async def processes():
    """Start processes for modules; all of them end with the test."""
    async with asyncio.TaskGroup() as tasks:
        made = ModuleProcesses(tasks, spawn_zygote, None)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def declarations(processes):
    """Read what modules declare."""
    return Declarations(processes, ORDER, limit_s=10)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for modules, and what writes one into it."""
    place = tmp_path / "modules"
    place.mkdir()

    def write(name, text):
        (place / name).mkdir(exist_ok=True)
        (place / name / "__init__.py").write_text("")
        (place / name / "module.py").write_text(dedent(text))
        return place / name

    monkeypatch.syspath_prepend(str(place))
    write.path = str(place)
    return write
