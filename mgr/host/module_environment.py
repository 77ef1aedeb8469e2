"""Libraries of a module's own: a folder of packages that its process finds before all others.

A module folder with a ``requirements.txt`` may have one. It is made on each host by ``mgrd
module-env sync`` or ``mgrctl mgr module env sync``, by uv or pip, with their own settings for the
index. A module without one runs on the libraries of the manager.

Below the folder of the setting ``module_env_dir``: ``<module>/<digest>/`` has the packages for one
content of ``requirements.txt`` and one version of Python, ``<module>/current`` is a link to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from mgr.errors import InvalidArgumentError
from mgr.settings import Settings
from mgr.text import encodable

FILE: Final = "requirements.txt"
CURRENT: Final = "current"
LOCK: Final = ".{}.lock"
"""Is locked while the environment is made: a command that is repeated waits for the first one."""
FOLDER: Final = "module-env"
"""Below ``state_dir``, unless the setting ``module_env_dir`` names another place."""
SYNC_S: Final = 900.0
"""How long making an environment may take."""
CHECK_S: Final = 60.0
DIGEST_CHARS: Final = 16
LINES_SHOWN: Final = 6
HASHES: Final = "--hash="
INTERFACE: Final = "import mgr.module_process.child, mgr_module, mgr_util"
"""What must work beside a module's libraries."""


class EnvironmentState(Enum):
    """Whether a module has libraries of its own on this host."""

    NONE = "-"
    """It has no requirements."""
    MISSING = "not made"
    OUTDATED = "outdated"
    """They were made for other requirements, or for another Python; they are used all the same."""
    CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Environments:
    """The environments of this host.

    Attributes:
        folder: Where they are; None if this manager has no place for them.

    """

    folder: Path | None

    @classmethod
    def of(cls, settings: Settings) -> Environments:
        """Return those of a manager with ``settings``."""
        if settings.module_env_dir:
            return cls(Path(settings.module_env_dir).absolute())
        return cls(Path(settings.state_dir).absolute() / FOLDER if settings.state_dir else None)

    def path(self, module: str, place: str) -> str:
        """Return the packages of ``module``, whose file is ``place``; empty if it has none."""
        if self.folder is None or requirements_of(place) is None:
            return ""
        current = self.folder / module / CURRENT
        return str(current.resolve()) if current.is_dir() else ""

    def state(self, module: str, place: str) -> EnvironmentState:
        """Return whether ``module`` has what it requires."""
        requirements = requirements_of(place)
        if requirements is None:
            return EnvironmentState.NONE
        path = self.path(module, place)
        if not path:
            return EnvironmentState.MISSING
        current = Path(path).name == digest_of(requirements)
        return EnvironmentState.CURRENT if current else EnvironmentState.OUTDATED

    def sync(self, module: str, place: str) -> str:
        """Make the environment of ``module`` if it is not current; return its digest. Blocks.

        Raises:
            InvalidArgumentError: It has no requirements, or they cannot be installed; the text has
                the installer's reason. What was there before stays.

        """
        requirements = requirements_of(place)
        if requirements is None:
            raise InvalidArgumentError(f"module '{module}' has no {FILE} beside its module.py")
        if self.folder is None:
            raise InvalidArgumentError(
                "this manager has no folder for libraries of modules: set state_dir, or "
                "module_env_dir"
            )
        home = self.folder / module
        try:
            home.mkdir(parents=True, exist_ok=True)
            with (self.folder / LOCK.format(module)).open("w") as lock:
                # Whoever has it gives it back within its own limits, or by its end.
                fcntl.flock(lock, fcntl.LOCK_EX)
                digest = digest_of(requirements)
                if self.state(module, place) is not EnvironmentState.CURRENT:
                    _make(home, digest, requirements)
        except OSError as error:
            raise InvalidArgumentError(f"libraries of module '{module}': {error}") from None
        return digest


def requirements_of(place: str) -> Path | None:
    """Return the requirements of the module whose file is ``place``; None if it has none."""
    file = Path(place)
    requirements = file.parent / FILE
    return requirements if file.name == "module.py" and requirements.is_file() else None


def digest_of(requirements: Path) -> str:
    """Return what tells requirements, the version of Python and the kind of machine apart."""
    found = hashlib.sha256(requirements.read_bytes())
    found.update(f"{sys.version_info[:2]} {platform.machine()}".encode())
    return found.hexdigest()[:DIGEST_CHARS]


def _make(home: Path, digest: str, requirements: Path) -> None:
    """Install into a new folder, and let ``current`` be that one once it works."""
    new, final = home / f".{digest}-{os.getpid()}", home / digest
    shutil.rmtree(new, ignore_errors=True)
    try:
        _run(
            [*installer(requirements), "--target", str(new), "-r", str(requirements)], home, SYNC_S
        )
        new.mkdir(exist_ok=True)  # requirements without any package
        check = [sys.executable, "-P", "-c", INTERFACE]
        try:
            _run(check, home, CHECK_S, path=os.pathsep.join([str(new), *filter(None, sys.path)]))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(
                f"the manager's interface does not work beside these libraries: {error}"
            ) from None
        shutil.rmtree(final, ignore_errors=True)
        new.rename(final)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    link = home / f".{CURRENT}-{os.getpid()}"
    link.unlink(missing_ok=True)
    before = (home / CURRENT).resolve()
    link.symlink_to(digest)
    link.replace(home / CURRENT)
    # The one before stays: a process may still import from it.
    for old in home.iterdir():
        if old not in {final, before, home / CURRENT}:
            shutil.rmtree(old, ignore_errors=True)


def installer(requirements: Path) -> list[str]:
    """Return the command that installs: uv if it is there, else pip of this Python.

    Raises:
        InvalidArgumentError: There is neither.

    """
    hashed = HASHES in requirements.read_text(errors="replace")
    # pip demands hashes for all once one has a hash; uv has to be told so.
    demand = ["--require-hashes"] if hashed else []
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable, *demand]
    if importlib.util.find_spec("pip") is not None:
        options = ["--quiet", "--no-input", "--disable-pip-version-check", *demand]
        return [sys.executable, "-P", "-m", "pip", "install", *options]
    raise InvalidArgumentError("neither uv nor pip is there: install one of them on this host")


def _run(command: list[str], folder: Path, limit_s: float, *, path: str = "") -> None:
    environment = {**os.environ, **({"PYTHONPATH": path} if path else {})}
    try:
        ended = subprocess.run(  # noqa: S603 - the operator's requirements, with the host's installer
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidArgumentError(f"{Path(command[0]).name}: not done in {limit_s:g} s") from None
    if ended.returncode:
        lines = encodable(ended.stdout.decode(errors="replace")).strip().splitlines()
        raise InvalidArgumentError(" | ".join(lines[-LINES_SHOWN:]) or str(ended.returncode))
