"""``mgrctl module new``: writes the folder of a new module, with a test that passes."""

from __future__ import annotations

import errno
import keyword
import re
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from mgr.errors import InvalidArgumentError

TEMPLATE: Final = "example"
"""Name of the module in the template; it is replaced in names and texts."""
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
LEFT_OUT: Final = re.compile(r"__pycache__|.*\.pyc")


class AlreadyThereError(InvalidArgumentError):
    """The file or folder to write is there already. Nothing was written."""

    errno = errno.EEXIST
    reason = "ALREADY_THERE"


def create_module(name: str, parent: Path) -> Path:
    """Write the folder ``parent/name``, and return it.

    Raises:
        InvalidArgumentError: ``name`` cannot be a module's, or the folder cannot be written.
        AlreadyThereError: There is such a file or folder already. Nothing was written.

    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InvalidArgumentError(
            f"a new module cannot be called {name!r}: use up to 63 of a-z, 0-9 and _, beginning "
            "with a letter"
        )
    if name in sys.stdlib_module_names:
        raise InvalidArgumentError(
            f"a new module cannot be called {name!r}: Python has a package of this name; it would "
            "load, and your tests could not import it"
        )
    folder = parent / name
    try:
        folder.mkdir(parents=True)
        for source in _template_files():
            target = folder / _renamed(source.name, name)
            target.write_text(_renamed(source.read_text(encoding="utf-8"), name), encoding="utf-8")
    except FileExistsError:
        raise AlreadyThereError(f"{folder} is there already: nothing was written") from None
    except OSError as error:
        raise InvalidArgumentError(f"cannot write {folder}: {error.strerror}") from None
    return folder


def _template_files() -> list[Traversable]:
    found = files("mgr.authoring") / "template"
    return [each for each in found.iterdir() if not LEFT_OUT.fullmatch(each.name)]


def _renamed(text: str, name: str) -> str:
    for form in (str.lower, str.upper, str.capitalize):
        text = text.replace(form(TEMPLATE), form(name))
    return text
