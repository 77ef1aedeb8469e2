"""A release: ``.ci/release`` builds it, checks it and leaves it in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from tests.support.tree import COMMITTED, ROOT, name_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = f"mgrd-{PROJECT['version']}"
FILES = {f"{NAME}.tar.gz", f"{NAME}-py3-none-any.whl", f"{NAME}.cdx.json"}
BUILT_AT = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
SDIST_BYTES_MAX = 4_000_000

needs_a_release = [pytest.mark.slow, pytest.mark.timeout(600)]


def pinned(name):
    """The version of a distribution in constraints.txt."""
    (found,) = re.findall(rf"(?m)^{name}==(\S+)", (ROOT / "constraints.txt").read_text())
    return found


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """What ``make release`` leaves and says, at a date of ours and from the tree as it is."""
    if problem := no_index(tmp_path_factory.mktemp("index")):
        pytest.skip(f"NO RELEASE TESTED, because PyPI cannot be reached: {problem}")
    folder = tmp_path_factory.mktemp("release") / "dist"
    date = str(int(BUILT_AT.timestamp()))
    environment = os.environ | {
        "DRAFT": "1", "PYTHON": sys.executable, "SOURCE_DATE_EPOCH": date,
    }  # fmt: skip
    done = subprocess.run(
        [ROOT / ".ci/release", folder],
        env=environment, capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(folder=folder, said=done.stdout)


def no_index(folder):
    """Why pip cannot fetch even itself; empty if it can."""
    command = [
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir",
        "--retries", "1", "--timeout", "30", "-d", str(folder), f"pip=={pinned('pip')}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


class TestRelease:
    pytestmark = needs_a_release

    def test_its_folder_holds_the_files_and_no_other(self, release):
        assert {path.name for path in release.folder.iterdir()} == FILES | {"SHA256SUMS"}

    def test_the_checksums_are_those_of_the_files(self, release):
        lines = (release.folder / "SHA256SUMS").read_text().splitlines()
        said = {name: checksum for checksum, name in map(str.split, lines)}

        assert said == {
            name: hashlib.sha256((release.folder / name).read_bytes()).hexdigest() for name in FILES
        }

    def test_the_files_in_it_have_the_date_that_was_asked_for(self, release):
        """Not that of the build: whoever has the commit builds the same bytes again."""
        with zipfile.ZipFile(release.folder / f"{NAME}-py3-none-any.whl") as wheel:
            assert {entry.date_time for entry in wheel.infolist()} == {BUILT_AT.timetuple()[:6]}
        with tarfile.open(release.folder / f"{NAME}.tar.gz") as sdist:
            assert {entry.mtime for entry in sdist} == {BUILT_AT.timestamp()}

    def test_the_sdist_holds_what_is_committed_and_nothing_that_was_made(self, release):
        with tarfile.open(release.folder / f"{NAME}.tar.gz") as sdist:
            names = {entry.name.removeprefix(f"{NAME}/") for entry in sdist if entry.isfile()}

        assert {name_of(path) for path in COMMITTED} - names == set()
        made = re.compile(r"(^|/)(\.cache|\.venv|\.git|__pycache__|dist|\.\w+_cache)/")
        assert [name for name in names if made.search(name)] == []
        assert (release.folder / f"{NAME}.tar.gz").stat().st_size < SDIST_BYTES_MAX

    def test_the_metadata_names_the_licence_and_says_that_it_is_typed(self, release):
        with zipfile.ZipFile(release.folder / f"{NAME}-py3-none-any.whl") as wheel:
            lines = wheel.read(f"{NAME}.dist-info/METADATA").decode().splitlines()

        assert {
            "Author: The mgr authors",
            "License-Expression: Apache-2.0",
            "License-File: LICENSE",
            "Classifier: Typing :: Typed",
            "Description-Content-Type: text/markdown",
        } <= set(lines)

    def test_the_bill_of_materials_names_what_the_product_needs_as_it_is_pinned(self, release):
        bill = json.loads((release.folder / f"{NAME}.cdx.json").read_text())
        listed = {entry["name"].lower(): entry["version"] for entry in bill["components"]}

        assert bill["bomFormat"] == "CycloneDX"
        assert bill["metadata"]["component"]["name"] == "mgrd"
        assert bill["metadata"]["component"]["version"] == PROJECT["version"]
        assert {listed[name] == pinned(name) for name in ("etcd3", "grpcio", "uvloop")} == {True}
        assert listed.keys().isdisjoint({"pytest", "ruff", "twine", "pip", "setuptools", "mgrd"})

    def test_the_bill_of_materials_names_no_place_on_the_machine_that_built(self, release):
        assert "file:" not in (release.folder / f"{NAME}.cdx.json").read_text()

    def test_it_says_that_nothing_was_tagged_or_uploaded_and_what_is_next(self, release):
        assert "No tag was set and nothing was uploaded. Next" in release.said
        assert f"git tag -s v{PROJECT['version']}" in release.said


def test_the_changelog_collects_what_is_not_released_above_the_releases():
    """Before the first release there is one section; then the newest is that of this version."""
    headings = re.findall(r"(?m)^## (.*)$", (ROOT / "CHANGELOG.md").read_text())

    assert headings[0] == "[Unreleased]"
    for newest in headings[1:2]:
        assert re.fullmatch(rf"\[{re.escape(PROJECT['version'])}\] - \d{{4}}-\d\d-\d\d", newest)
