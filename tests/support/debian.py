"""Packages of any Debian release, unpacked beside the machine: nothing is installed.

apt checks their signatures; its own state is not touched. The mirrors are this machine's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parents[2] / ".cache"
PATIENCE_S: Final = 300


def unpacked(suite: str, packages: Sequence[str], home: Path) -> Path:
    """Return the folder with what is in these ``packages``; fetched once, by one process at a time.

    Raises:
        OSError: They cannot be had; the text says why.
        subprocess.SubprocessError: apt or dpkg took too long.

    """
    return _unpacked(suite, lambda _options, _work: packages, home)


def _unpacked(
    suite: str, choose: Callable[[Sequence[str], Path], Sequence[str]], home: Path
) -> Path:
    root = home / "root"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=home) as work:
                options = _update(Path(work), _sources(suite))
                names = dict.fromkeys(choose(options, Path(work)))
                _run(["apt-get", "-q", *options, "download", *names], Path(work))
                for package in Path(work).glob("*.deb"):
                    _run(["dpkg", "-x", str(package), f"{work}/root"], Path(work))
                Path(work, "root").rename(root)
    return root


def unpacked_with_needs(
    suite: str, packages: Sequence[str], kinds: Sequence[str], home: Path, *, whole: bool = False
) -> Path:
    """Return the folder with these ``packages``, and with those they need that are not installed.

    Of what they need, packages whose names begin with one of ``kinds`` are taken: with ``whole``
    also those that are installed here, down to the C library. Fetched once.

    Raises:
        OSError: They cannot be had; the text says why. So if this machine is of another release,
            unless ``whole``.
        subprocess.SubprocessError: apt or dpkg took too long.

    """
    if not whole and not is_this_machine(suite):
        raise OSError(f"this machine is not Debian {suite}, whose libraries they need")

    def needed(options: Sequence[str], work: Path) -> list[str]:
        install = ["install", "--simulate", "--no-install-recommends", *packages]
        if whole:
            install += ["-o", "Dir::State::status=/dev/null"]
        plan = _run(["apt-get", "-q", *options, *install], work)
        missing = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
        return [*packages, *(name for name in missing if name.startswith(tuple(kinds)))]

    return _unpacked(suite, needed, home)


def is_this_machine(suite: str) -> bool:
    """Whether this machine runs Debian ``suite``."""
    return f"VERSION_CODENAME={suite}\n" in Path("/etc/os-release").read_text()


def source_files(suite: str, source: str, patterns: Sequence[str], home: Path) -> Path:
    """Return the folder with those files of source package ``source`` that match ``patterns``.

    They are fetched once. A pattern is what tar takes with ``--wildcards``.

    Raises:
        OSError: They cannot be had; the text says why.
        subprocess.SubprocessError: apt or tar took too long.

    """
    root = home / "root"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=home) as place:
                work = Path(place)
                options = _update(work, f"{_sources(suite)}{_sources(suite, 'deb-src')}")
                # Of the three files of a source package the archive is enough. apt has checked its
                # hash, also if a mirror lacks the other two and apt fails for that.
                with contextlib.suppress(OSError):
                    _run(["apt-get", "-q", *options, "source", "--download-only", source], work)
                archive = next(work.glob("*.orig.tar.*"), None)
                if archive is None:
                    raise OSError(f"apt has no archive of source package {source}")
                (work / "root").mkdir()
                unpack = ["tar", "-xf", str(archive), "-C", "root", "--strip-components=1"]
                _run([*unpack, "--wildcards", *patterns], work)
                (work / "root").rename(root)
    return root


def _update(work: Path, sources: str) -> list[str]:
    """Make a state of apt of its own in ``work``, and return the options to use it."""
    for folder in ("lists/partial", "cache/archives/partial", "parts"):
        (work / folder).mkdir(parents=True)
    (work / "sources.list").write_text(sources)
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
    return options


def _sources(suite: str, kind: str = "deb") -> str:
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
            lines[f"{kind} {uri} {suite}{codename.removeprefix(here[1])} main\n"] = None
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
