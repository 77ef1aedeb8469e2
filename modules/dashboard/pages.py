"""Every page, in the order of the navigation."""

from __future__ import annotations

from typing import Final

from . import overview
from .page import Page

PAGES: Final = (
    Page("overview", "/", "Overview", "status", overview.content),
)
