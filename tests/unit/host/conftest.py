"""Folders of modules, which tests write and import, and a host that runs modules."""

import asyncio
import sys
from textwrap import dedent

import pytest

from tests.unit.host.test_runner import Host


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of modules; what was imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def write(folder):
    """Write a module's file; ``package`` is what its ``__init__`` says."""

    def write_module(name, text, package="from .module import *"):
        (folder / name).mkdir()
        (folder / name / "module.py").write_text(dedent(text))
        (folder / name / "__init__.py").write_text(package)

    return write_module


@pytest.fixture
async def host():
    """Every module is stopped in the end, as far as it can be."""
    async with asyncio.TaskGroup() as group:
        made = Host(group)
        yield made
        for runner in made.runners:
            await runner.stop(limit_s=0.05)
