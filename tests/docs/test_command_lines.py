"""Every ``mgrctl`` line of the pages has a command behind it that takes these words."""

from __future__ import annotations

import re
import shlex

import pytest

from mgr.argument.tell import daemon_command_arguments, resolve_target
from mgr.cli import local
from mgr.cli.command_line import is_for_authors
from mgr.command.registry import BUILTIN, Registry
from tests.docs.pages import bundled_modules, module_commands, own_commands
from tests.support.tree import COMMITTED, name_of

MARKDOWN = [path for path in COMMITTED if path.suffix == ".md"]
OF_THE_CLIENT = ("help", "completion")
"""What mgrctl answers itself, beside its flags."""
RENEW = ("auth", "renew")
OF_THE_TUTORIAL = ("greet", "example")
"""The modules that docs/tutorials/first-module.md and ``mgrctl module new`` write: tested there."""
WITH_VALUE = {
    "-f", "--format", "-i", "-o", "-p", "-m", "--mgr", "-t", "--timeout", "--context",
}  # fmt: skip
EVERYWHERE = {"-f", "-i", "-o", "-p"}


def lines():
    """Each line with the page and line where it stands: from shell blocks and from prose."""
    for path in MARKDOWN:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            shell = re.findall(r"(?:^|; )\s*(mgrctl [^#;|`]+)", line)
            prose = re.findall(r"`(mgrctl [^`]+)`", line)
            for words in dict.fromkeys(found.strip() for found in [*shell, *prose]):
                yield pytest.param(words, id=f"{name_of(path)}:{number}:{words}")


@pytest.fixture(scope="module")
def registry():
    found = Registry()
    found.put(BUILTIN, own_commands())
    for module in bundled_modules():
        found.put(module.name, list(module_commands(module)))
    return found


def test_every_command_of_the_manager_is_sent_to_it():
    """None begins with words that mgrctl takes for a command of its own."""
    commands = [command.prefix.split() for command in own_commands()]
    assert ["module", "top"] in commands

    kept = [
        words
        for words in commands
        if words[0] in OF_THE_CLIENT or is_for_authors(words) or local.find(words)
    ]

    assert not kept


@pytest.mark.parametrize("line", list(lines()))
def test_a_command_line_of_a_page_is_understood(line, registry):
    """As the server would: its words are found and its arguments fit."""
    words = without_flags(shlex.split(line)[1:])
    if tuple(words) == RENEW or is_for_authors(words):
        return
    if not words or words[0] in OF_THE_CLIENT + OF_THE_TUTORIAL or local.find(words):
        return

    if request := daemon_command_arguments(words, {}):
        command, _ = registry.find(("tell",), request)
    else:
        command, _ = registry.find(resolve_target(words, "a")[1], {})

    assert command.prefix


def without_flags(words):
    """Drop the flags of mgrctl: those before the command, and those that may stand anywhere."""
    while words and words[0].startswith("-"):
        words = words[2 if words[0] in WITH_VALUE else 1 :]
    kept, rest = [], iter(words)
    for word in rest:
        if word in EVERYWHERE and not local.find(words):
            next(rest)
        elif word != "--watch":
            kept.append(word)
    return kept
