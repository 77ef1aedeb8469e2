"""Debian's packages: installed here, or those of another release unpacked beside the system.

Nothing here names a mirror: other releases come from where this machine gets its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.e2e.compose.shell import UnavailableError, run, say

CACHE: Final = Path(os.environ.get("MGR_TEST_CACHE", "/var/cache/mgr-tests"))
"""What is slow to get and the same for every run: packages, root file systems, images."""

NO_SERVICES: Final = Path("/usr/sbin/policy-rc.d")


def require_root() -> None:
    """See that packages can be installed.

    Raises:
        UnavailableError: Not as this user, or not on this system.

    """
    if os.geteuid() != 0:
        raise UnavailableError("installing a container engine needs root")
    if not shutil.which("apt-get"):
        raise UnavailableError("a container engine is installed from Debian's packages only")


def install(*packages: str) -> None:
    """Install what is missing; a fresh package's service is not started."""
    missing = [name for name in packages if not _installed(name)]
    if not missing:
        return
    require_root()
    say(f"installing {' '.join(missing)}")
    guard = not NO_SERVICES.exists()
    if guard:
        NO_SERVICES.write_text("#!/bin/sh\nexit 101\n")
        NO_SERVICES.chmod(0o755)
    try:
        apt_get("update")
        apt_get("install", "-y", "--no-install-recommends", *missing)
    finally:
        if guard:
            NO_SERVICES.unlink()


def apt_get(*words: str, options: tuple[str, ...] = (), limit_s: float = 240) -> str:
    """Run apt-get, waiting for another one to finish, trying each download three times.

    Raises:
        UnavailableError: The packages cannot be had.

    """
    patience = ("-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        return run("apt-get", "-q", *patience, *options, *words, limit_s=limit_s, environment=quiet)
    except RuntimeError as error:
        raise UnavailableError(str(error)) from None


def sources(suite: str) -> str:
    """This machine's own Debian mirrors, as source lines for another release.

    Raises:
        UnavailableError: It has none.

    """
    form = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    targets = run("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    if not targets.strip():
        apt_get("update")
        targets = run("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    rows = [line.split("|") for line in targets.splitlines() if line.count("|") == 3]
    mirrors = {uri for origin, uri, _, part in rows if origin == "Debian" and part == "main"}
    # The security archive has releases of its own; what is fetched here is only for tests.
    lines = [f"deb {uri} {suite} main" for uri in sorted(mirrors) if "security" not in uri]
    if not lines:
        raise UnavailableError("this machine gets no packages from Debian")
    return "\n".join(lines) + "\n"


class Release:
    """The packages of one Debian release, apart from this machine's own apt state."""

    def __init__(self, suite: str) -> None:
        """Know ``suite``; its lists are fetched at the first question."""
        self.suite = suite
        self.folder = CACHE / f"apt-{suite}"

    def version(self, package: str) -> str:
        """The upstream version that the release has; empty if it has none."""
        self._know()
        shown = run(
            "apt-cache", *self._options(), "show", "--no-all-versions", package, check=False
        )
        found = re.search(r"^Version: (?:\d+:)?([0-9.]+)", shown, re.MULTILINE)
        return found[1] if found else ""

    def unpack(self, *packages: str, wanted: Callable[[str], bool], version: str = "") -> Path:
        """Fetch packages with what they need and unpack those ``wanted``; the folder of it.

        apt checks signatures and sums; nothing is installed, no script of a package is run.
        """
        name = "-".join((*packages, version)) if version else "-".join(packages)
        target = CACHE / f"tree-{self.suite}-{name}"
        if target.is_dir():
            return target
        self._know()
        archives = self.folder / "cache/archives"
        shutil.rmtree(archives, ignore_errors=True)
        (archives / "partial").mkdir(parents=True)
        apt_get(
            *("install", "-y", "--download-only", "--no-install-recommends", *packages),
            options=self._options(),
        )
        fresh = target.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        for archive in sorted(archives.glob("*.deb")):
            if wanted(archive.name.partition("_")[0]):
                run("dpkg-deb", "--extract", archive, fresh)
        fresh.rename(target)
        return target

    def _know(self) -> None:
        if any(self.folder.glob("lists/*_Packages*")):
            return
        for folder in ("lists/partial", "cache/archives/partial", "parts"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        (self.folder / "sources.list").write_text(sources(self.suite))
        # Empty: nothing is installed there, so everything a package needs is fetched.
        (self.folder / "status").touch()
        say(f"reading what Debian {self.suite} has")
        apt_get("update", options=self._options())

    def _options(self) -> tuple[str, ...]:
        settings = {
            "Dir::Etc::SourceList": self.folder / "sources.list",
            "Dir::Etc::SourceParts": self.folder / "parts",
            "Dir::State::Lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        return tuple(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))


def _installed(package: str) -> bool:
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout == "installed"
