"""Every name that an author needs stands in a block that is run, not only in the reference."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import DOCS

PAGES = (
    "tutorials/first-module.md",
    "how-to/write-a-module.md",
    "how-to/more-of-the-interface.md",
    "how-to/test-a-module.md",
    "how-to/write-a-manifest.md",
)
NAMES = """
    CLICommand CLIReadCommand CLIWriteCommand CLICheckNonemptyFileInput CLIRequiresDB COMMANDS
    EmptyResponder ErrorResponse ErrorResponseHandler HandleCommandResult MODULE_OPTIONS MgrModule
    MgrStandbyModule NOTIFY_TYPES NotifyType Option Responder SCHEMA can_run cluster_log
    config_notify fail_over get get_active_uri get_localized_module_option get_localized_store
    get_module_option get_perf_schema get_server get_store get_store_prefix handle_command
    have_mon_connection inbuf notify poll serve set_health_checks set_localized_module_option
    set_localized_store set_module_option set_store set_uri shutdown to_simplified wrap
""".split()  # noqa: SIM905 - one name after the other is easier to read
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def taught():
    """The words of all blocks."""
    texts = ((DOCS / page).read_text() for page in PAGES)
    return {word for text in texts for block in BLOCK.findall(text) for word in _words(block)}


def _words(block):
    return re.findall(r"\w+", block)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_interface_is_shown_at_work(taught, name):
    """``tests/docs/test_snippets.py`` runs the block."""
    assert name in taught
