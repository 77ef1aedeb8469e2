"""Decides by which name a module's folder is imported, and says why a module does not load."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final

import mgr
from mgr.store.keys import NAME
from mgr.text import error_text, typed_error_text

IN_MODULE_PATH: Final = "mgr_module_path"
"""Parent of the packages of modules whose own name is that of another package."""
ALLOWED_NAMES: Final = "1 to 63 ASCII letters, digits, _ and -, beginning with a letter or digit"
PRODUCT: Final = f"{Path(mgr.__file__).parent}/"
"""The folder of our own code, whose lines tell the author of a module nothing."""


CALLED_ON_THREADS: Final = ("serve", "shutdown", "notify", "config_notify", "handle_command")
"""Methods that the host calls and does not await."""


class InvalidModuleError(Exception):
    """A package was imported and is not a valid module; the text gives the reason."""


def is_allowed(name: str) -> bool:
    """Return whether a module's folder may be called ``name``."""
    return NAME.fullmatch(name) is not None and "." not in name


def package_of(place: Path) -> str:
    """Return the name by which to import the folder ``place``, whose parent is in ``sys.path``.

    It is the folder's name, or, if importing that gives another package (a standard or an installed
    one), a name of ours. The other package is not imported.
    """
    if not _is_taken(place):
        return place.name
    parent = sys.modules.setdefault(IN_MODULE_PATH, ModuleType(IN_MODULE_PATH))
    # Without folders that were in module_path before and still have a module of this name.
    folders = [f for f in getattr(parent, "__path__", ()) if not Path(f, place.name).is_dir()]
    vars(parent)["__path__"] = [*folders, str(place.parent)]
    return f"{IN_MODULE_PATH}.{place.name}"


def describe_error(error: BaseException, folder: Path) -> str:
    """Return the error's text with the line of the module in ``folder`` that caused it.

    If no line is the module's, it is the innermost one that is not ours.
    """
    if isinstance(error, SyntaxError):
        # Python names no file if it is no text at all.
        return f"{error.msg} ({error.filename or folder}:{error.lineno or 1})"
    # Frames of the import machinery surround the module's own, and may be the innermost.
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
    ]
    own = [frame for frame in frames if frame.filename.startswith(f"{folder}/")]
    foreign = [frame for frame in frames if not frame.filename.startswith(PRODUCT)]
    line = next((chosen[-1] for chosen in (own, foreign, frames) if chosen), None)
    text = error_text(error) if isinstance(error, ImportError) else typed_error_text(error)
    # A text that names a line of this file names a better one than that which raised.
    if line is None or f"{line.filename}:" in text:
        return text
    return f"{text} ({line.filename}:{line.lineno})"


def refuse_coroutines(*classes: type | None) -> None:
    """Check that no class of a module defines as a coroutine what the host calls on a thread.

    Raises:
        InvalidModuleError: One does; the text names the method and its line.

    """
    for cls in filter(None, classes):
        for name in CALLED_ON_THREADS:
            method = getattr(cls, name, None)
            if inspect.iscoroutinefunction(method):
                code = inspect.unwrap(method).__code__
                raise InvalidModuleError(
                    f"{cls.__name__}.{name} is a coroutine function, which nothing awaits: write "
                    f"`def {name}`, and asyncio.run() inside "
                    f"({code.co_filename}:{code.co_firstlineno})"
                )


def _is_taken(place: Path) -> bool:
    try:
        spec = importlib.util.find_spec(place.name)
    except ValueError:  # it is a module without a spec, like __main__
        return True
    found = (spec and spec.submodule_search_locations) or ()
    return place.resolve() not in [Path(each).resolve() for each in found]
