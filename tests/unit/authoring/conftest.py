"""Small modules in folders of their own, each with one thing that is wrong."""

from __future__ import annotations

import textwrap

import pytest

from mgr.authoring.source import ModuleSource

HEAD = """\
'''A module.'''
import os
import subprocess
import threading
import time

from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule, MgrStandbyModule, Option


class Module(MgrModule):
    '''The class.'''

    EFFECTS = "store"
"""


@pytest.fixture
def write(tmp_path):
    """Write a module whose class has this body; return its source."""

    def written(body="pass", *, name="sample", head=HEAD, **files):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "module.py").write_text(head + textwrap.indent(textwrap.dedent(body), "    "))
        for file, text in files.items():
            (folder / file.replace("__", ".")).write_text(text)
        return ModuleSource.at(folder)

    return written
