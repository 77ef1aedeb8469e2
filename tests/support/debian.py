"""Packages of any Debian release, unpacked beside the machine: nothing is installed.

apt checks their signatures; its own state is not touched. The mirrors are this machine's own.
"""

from __future__ import annotations

import fcntl
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parents[2] / ".cache"
PATIENCE_S: Final = 120


def unpacked(suite: str, packages: Sequence[str], home: Path) -> Path:
    """Return the folder with what is in these ``packages``; fetched once, by one process at a time.

    Raises:
        OSError: They cannot be had; the text says why.
        subprocess.SubprocessError: apt or dpkg took too long.

    """
    root = home / "root"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=home) as work:
                _download(suite, packages, Path(work))
                for package in Path(work).glob("*.deb"):
                    _run(["dpkg", "-x", str(package), f"{work}/root"], Path(work))
                Path(work, "root").rename(root)
    return root


def _download(suite: str, packages: Sequence[str], work: Path) -> None:
    for folder in ("lists/partial", "cache/archives/partial", "parts"):
        (work / folder).mkdir(parents=True)
    (work / "sources.list").write_text(_sources(suite))
    apart = {
        "Dir::Etc::SourceList": work / "sources.list",
        "Dir::Etc::SourceParts": work / "parts",
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work / "cache",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        # Unpacked by whoever runs the tests, who need not be root.
        "APT::Sandbox::User": "root",
    }
    options = [part for key, value in apart.items() for part in ("-o", f"{key}={value}")]
    _run(["apt-get", "-q", *options, "update"], work)
    _run(["apt-get", "-q", *options, "download", *packages], work)


def _sources(suite: str) -> str:
    """Return this machine's own Debian mirrors as source lines for another release."""
    release = Path("/etc/os-release").read_text()
    here = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    targets = _run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)",
            "Created-By: Packages",
        ],
        Path("/"),
    )
    lines = {}
    for target in targets.splitlines():
        origin, uri, codename, component = target.split("|")
        if origin == "Debian" and component == "main" and here and codename.startswith(here[1]):
            lines[f"deb {uri} {suite}{codename.removeprefix(here[1])} main\n"] = None
    if not lines:
        raise OSError("this machine names no Debian mirror")
    return "".join(lines)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise OSError(f"{command[0]}: {' '.join(last) or done.returncode}")
    return done.stdout
