"""Which values are secrets, and what is shown instead of them.

An option is secret if its module says so (``Option(..., secret=True)``). Modules written for Ceph
cannot say it, so a name that ends like that of a secret counts as well, unless the module declares
``secret=False``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

MASK: Final = "********"
"""Shown instead of a secret in every listing, log, history and error."""

SECRET_NAME: Final = re.compile(
    r"(?:.*[/_.-])?(?:password|passwd|passphrase|secret|token|"
    r"(?:api|access|secret|private)[_-]?key)",
    re.IGNORECASE,
)
"""Names of options that hold secrets, such as ``registry_password`` or ``RGW_API_SECRET_KEY``."""

SECRET_ARGUMENTS: Final[Mapping[str, tuple[str, str]]] = {
    "config set": ("name", "value"),
    "config-key set": ("key", "val"),
    "config-key put": ("key", "val"),
}
"""Commands with a value that may be a secret: the arguments with its name, and with the value."""


def is_secret_name(name: str) -> bool:
    """Return whether an option called ``name`` holds a secret, if its module does not say."""
    return SECRET_NAME.fullmatch(name) is not None


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
