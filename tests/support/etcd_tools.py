"""``etcdctl`` and ``etcdutl`` for tests that back etcd up: on PATH, or Debian's, unpacked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support import debian
from tests.support.fetch_etcd import SUITES

PROGRAMS: Final = ("etcdctl", "etcdutl")
PACKAGES: Final = ("etcd-client", "etcd-server")
CACHE: Final = debian.CACHE / "etcd-tools"


def found() -> str:
    """Return a PATH on which both programs are.

    Raises:
        OSError: They cannot be had; the text says why.

    """
    path = os.environ["PATH"]
    if all(shutil.which(program) for program in PROGRAMS):
        return path
    tried = []
    for suite in SUITES:
        try:
            home = debian.unpacked(suite, PACKAGES, CACHE / suite) / "usr" / "bin"
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"Debian {suite}: {error}")
            continue
        missing = [program for program in PROGRAMS if not Path(home, program).exists()]
        if not missing:
            return f"{home}:{path}"
        tried.append(f"Debian {suite}: has no {', '.join(missing)}")
    raise OSError("; ".join(tried))


@pytest.fixture(scope="session")
def etcd_tools() -> str:
    """A PATH with ``etcdctl`` and ``etcdutl``; skips, saying why, where they cannot be had."""
    try:
        return found()
    except OSError as error:
        pytest.skip(f"NO ETCDCTL AND ETCDUTL, so no backup of etcd is tested: {error}")
