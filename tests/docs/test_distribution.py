"""A module becomes a distribution by the project file that the page shows."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile

import pytest

from mgr.authoring.scaffold import create_module
from tests.support.tree import ROOT

PAGE = ROOT / "docs/how-to/more-of-the-interface.md"
FILE = re.compile(r"^```toml\n(\[build-system\].*?)^```", re.DOTALL | re.MULTILINE)
LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
from mgr.host.finder import load, module_locations
[location] = [each for each in module_locations([]) if each.name == "guests"]
found = load(location)
print(location.package, found.error, [each.perm for each in found.commands])
"""


@pytest.mark.slow
def test_the_project_file_of_the_page_makes_a_distribution_that_is_a_module(tmp_path):
    """Built as pip does it, by the name that the page installs, found by its entry point."""
    create_module("guests", tmp_path)
    page = PAGE.read_text()
    [text] = FILE.findall(page)
    (tmp_path / "pyproject.toml").write_text(text)

    build = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    assert f"pip install {wheel.name}\n" in page
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    command = [sys.executable, "-P", "-c", LOAD, str(site)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stdout == "guests  ['r', 'rw', 'rw']\n"
