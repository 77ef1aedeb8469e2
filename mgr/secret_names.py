"""Which names belong to secrets by their look, and what is shown instead of a secret."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "********"
"""Shown instead of a secret in every listing, log, history and error."""

SECRET_NAME: Final = re.compile(
    r"(?:.*[/_.-])?(?:password|passwd|passphrase|secret|token|"
    r"(?:api|access|secret|private)[_-]?key)",
    re.IGNORECASE,
)
"""Names of options that hold secrets, such as ``registry_password`` or ``RGW_API_SECRET_KEY``."""


def is_secret_name(name: str) -> bool:
    """Return whether an option called ``name`` holds a secret, if its module does not say."""
    return SECRET_NAME.fullmatch(name) is not None
