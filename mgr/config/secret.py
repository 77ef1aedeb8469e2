"""Which values are secrets, and what is shown instead of them.

An option is secret if its module says so (``Option(..., secret=True)``). Modules written for Ceph
cannot say it, so a name that ends like that of a secret counts as well, unless the module declares
``secret=False``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mgr.secret_names import MASK, SECRET_NAME, is_secret_name

__all__ = ["MASK", "SECRET_NAME", "is_secret_name", "masked_arguments"]

SECRET_ARGUMENTS: Final[Mapping[str, tuple[str, str]]] = {
    "config set": ("name", "value"),
    "config-key set": ("key", "val"),
    "config-key put": ("key", "val"),
}
"""Commands with a value that may be a secret: the arguments with its name, and with the value."""


def masked_arguments(
    command: str, arguments: Mapping[str, Any], is_secret: Callable[[str], bool]
) -> dict[str, Any]:
    """Return the ``arguments`` of ``command`` as they may be logged.

    ``is_secret`` says it of an option (``ConfigValues.is_secret``). Every value of the key/value
    store is taken for a secret.
    """
    shown = dict(arguments)
    if command in SECRET_ARGUMENTS:
        name, value = SECRET_ARGUMENTS[command]
        hidden = name == "key" or is_secret("_".join(str(shown.get(name, "")).split()))
        if hidden and shown.get(value):
            shown[value] = MASK
    return shown
