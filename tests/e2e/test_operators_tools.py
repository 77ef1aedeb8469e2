"""``mgrctl doctor``, ``support-bundle`` and ``config edit`` before a real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.docs.test_answer_schemas import check

MGRCTL = Path(sys.executable).with_name("mgrctl")
SECRET = "hunter2"


@pytest.fixture
def mgrctl(start, tmp_path):
    """Run it before two managers, one of which has a setting of its own."""
    cluster = start(names=("a", "b"), own={"b": {"hold_s": "4"}})
    cluster.active(120)

    def run(*words, **environment):
        return subprocess.run(
            [MGRCTL, "-m", ",".join(cluster.hosts), "-t", "30", *map(str, words)],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)} | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    run.cluster = cluster
    return run


@pytest.mark.timeout(400)  # a dozen programs, one after the other
def test_the_tools_of_operators(mgrctl, tmp_path):
    """One cluster for all three: each starts real processes."""
    the_options_are_edited(mgrctl, tmp_path)
    what_is_wrong_is_found(mgrctl)
    the_bundle_has_no_secret(mgrctl, tmp_path)
    every_answer_fits_its_schema(mgrctl.cluster)


def the_options_are_edited(mgrctl, tmp_path):
    """In the user's editor, in one version; a wrong value changes nothing and the text is kept."""
    assert mgrctl("config", "set", "mgr", "mgr/hello/place", "Rome").returncode == 0
    secret = ("mgr", "mgr/hello/api_token", SECRET, "--force")
    assert mgrctl("config", "set", *secret).returncode == 0
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i -e s/Rome/Oslo/ "$1"\nprintf \'%s\' "$MORE" >> "$1"\n')
    editor.chmod(0o755)

    done = mgrctl("config", "edit", VISUAL=str(editor))
    wrong = mgrctl(
        "config", "edit", VISUAL=str(editor), MORE="mgr.a:\n  mgr/nix: x\n", TMPDIR=tmp_path
    )
    same = mgrctl("config", "edit", VISUAL="true")

    assert (done.returncode, done.stderr) == (0, "+ mgr mgr/hello/place = Oslo\n")
    assert wrong.returncode == 22
    assert "unrecognized config option 'mgr/nix'" in wrong.stderr
    [kept] = tmp_path.glob("mgrctl-options-*")
    assert kept.read_text().endswith("nix: x\n")
    tried = mgrctl("config", "edit", "--from", kept, "--dry-run")
    assert (tried.returncode, "unrecognized config option 'mgr/nix'" in tried.stderr) == (22, True)
    assert (same.returncode, same.stderr) == (0, "nothing changed\n")
    assert mgrctl("config", "get", "mgr", "mgr/hello/place").stdout == "Oslo\n"
    assert mgrctl("config", "get", "mgr", "mgr/hello/api_token").stdout == f"{SECRET}\n"


def what_is_wrong_is_found(mgrctl):
    """A setting that differs, an option that nobody declares; the clocks of one host agree."""
    done = mgrctl("doctor", "-f", "json")

    document = json.loads(done.stdout)
    found = {(each["subject"], each["text"]) for each in document["findings"]}
    assert document["managers"] == ["a", "b"]
    assert ("settings", "hold_s differs (mgr.a: 5.0; mgr.b: 4.0)") in found
    assert any(subject == "options" and "api_token" in text for subject, text in found)
    assert not [text for subject, text in found if subject in {"clocks", "reach", "access"}]
    assert done.returncode == document["status"] == 1


def the_bundle_has_no_secret(mgrctl, tmp_path):
    """And all that was asked for; no file is replaced unasked."""
    path = tmp_path / "b.tar.gz"
    done = mgrctl("support-bundle", path)

    assert done.returncode == 0, done.stderr
    with tarfile.open(path) as archive:
        files = {each.name.removeprefix("b/"): archive.extractfile(each).read() for each in archive}
    assert SECRET.encode() not in b"".join(files.values())
    index = json.loads(files["index.json"])
    assert [each for each in index["files"] if "missing" in each] == []
    assert json.loads(files["status.json"])["mgrmap"]["available"] is True
    assert {
        "doctor.json",
        "managers.json",
        "audit-ls-1000.json",
        "log-last-1000.json",
    } <= files.keys()
    assert mgrctl("support-bundle", path).returncode == 22


def every_answer_fits_its_schema(cluster):
    """What only a real cluster answers; the rest is in tests/docs/test_answer_schemas.py."""
    with cluster.client() as client:
        for words in ("status", "mgr dump", "mgr metadata", "mgr module ls", "mgr history",
                      "health", "service dump", "device ls", "audit ls", "etcd status", "log last",
                      "config show-with-defaults mgr", "get_command_descriptions"):  # fmt: skip
            answer = client.execute(words.split(), {"format": "json"})
            assert answer.retval == 0, answer
            check(words.removesuffix(" mgr"), json.loads(answer.stdout))
