"""The schemas of answers: every command has one, and real answers fit, field by field."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from mgr.cli import without_active
from mgr.client.messages import Status
from tests.docs.answer_schemas import NO_DOCUMENT, SCHEMAS, strict
from tests.docs.pages import own_commands
from tests.support.builtin_commands import builtin_commands

BEFORE = (
    (("config", "set", "mgr", "mgr/hello/place", "Rome"), ""),
    (("config", "set", "mgr.a", "mgr/hello/times", "3"), ""),
    (("config", "rm", "mgr", "mgr/hello/place"), ""),
    (("config-key", "set", "k", "v"), ""),
    (("auth", "role", "set", "night", "allow r"), ""),
    (("log", "a line"), ""),
)
ASKED = (
    ("audit ls",), ("auth ls",), ("auth role ls",), ("auth token ls",), ("auth join-token ls",),
    ("auth whoami",), ("backup begin",), ("command ls",), ("config dump",),
    ("config generate-minimal-conf",), ("config get", "mgr.a"),
    ("config get", "mgr.a", "mgr/hello/times"), ("config help", "mgr/hello/times"),
    ("config log",), ("config ls",), ("config show", "mgr.a"),
    ("config show-with-defaults", "mgr.a"), ("config-key dump",), ("config-key get", "k"),
    ("config-key ls",), ("daemon ls",), ("etcd status",), ("get_command_descriptions",),
    ("health",), ("log last",), ("map ls",), ("map get", "inventory"), ("mgr compare",),
    ("mgr count-metadata", "version"), ("mgr history",), ("mgr metadata",),
    ("mgr metadata", "a"), ("mgr module info", "hello"), ("mgr module ls",),
    ("mgr module env ls",), ("mgr module installed",), ("mgr module top",),
    ("mgr services",),
    ("mgr stat",), ("mgr versions",), ("node ls",), ("secrets rotate",), ("secrets status",),
    ("service status",), ("status",), ("version",),
)  # fmt: skip


def check(words, document):
    """Compare ``document`` with the schema of ``words``; unknown fields are refused."""
    Draft202012Validator(strict(SCHEMAS[words])).validate(document)


def test_every_command_has_a_schema_or_answers_in_words():
    """And no schema is of a command that is gone."""
    commands = {each.prefix for each in own_commands()}

    assert commands - SCHEMAS.keys() == NO_DOCUMENT
    assert SCHEMAS.keys() <= commands
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


async def test_the_answers_of_commands_fit_their_schemas():
    """All that can be asked without a fleet; ``tests/e2e`` asks a real cluster."""
    async with builtin_commands() as at:
        await at.join("b", modules=("hello",))
        for words, inbuf in BEFORE:
            assert (await at.run(*words, inbuf=inbuf)).retval == 0, words
        made = await at.run("map", "set", "inventory", inbuf='{"a": 1}', format="json")
        check("map set", json.loads(made.stdout))
        applied = await at.run("config", "apply", inbuf="{}", format="json")
        check("config apply", json.loads(applied.stdout))
        for prefix, *more in ASKED:
            check(prefix, await at.json(*prefix.split(), *more))
        begun = await at.json("backup", "begin")
        check("backup page", await at.json("backup", "page", str(begun["revision"])))


def test_the_answers_without_an_active_fit_the_same_schemas():
    """A program reads the same fields, whoever answers."""
    found = {
        "h:1": Status("a", "c", "1", "i", "standby", "set down", None, (), 0.5),
        "h:2": "Connection refused",
    }

    for words in (("status",), ("health",)):
        check(words[0], json.loads(without_active.text(words, found, "json")))


@pytest.mark.parametrize(
    ("words", "document"),
    [
        ("version", {}),
        ("version", {"version": 1}),
        ("version", {"version": "1", "more": 1}),
        ("mgr compare", {"managers": ["a"], "differences": [{"kind": "clock"}]}),
        ("map ls", [{"name": "m", "version": 1, "bytes": 1, "more": 1}]),
    ],
)
def test_what_does_not_fit_is_noticed(words, document):
    """A field that is missing, of another type, or new."""
    with pytest.raises(ValidationError):
        check(words, document)
