"""Print the commands and options of every module in the given folders, as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from mgr.argument.descriptor import Signature
from mgr.argument.types import CephChoices
from mgr.config.schema import OptionSpec
from mgr.host.finder import ALL, find_modules
from mgr.module_api.option import standard_options

WORDS = {
    "CephBool": "true",
    "CephEntityAddr": "127.0.0.1:0/1",
    "CephFilepath": "/nowhere/file",
    "CephFloat": "1.0",
    "CephIPAddr": "127.0.0.1",
    "CephInt": "1",
    "CephName": "osd.0",
    "CephOsdName": "0",
    "CephPgid": "1.0",
    "CephUUID": "11111111-2222-3333-4444-555555555555",
}
"""A test value for each argument type; other types get a plain word."""
SENSIBLE = {
    "influx config-set": ["interval", "30"],
    "insights prune-health": ["1"],
    "mgr self-test cluster-log": ["audit", "info", "tried"],
    "mgr self-test config get": ["testkey"],
    "mgr self-test config get_localized": ["testkey"],
    "mgr self-test eval": ["1"],
    "mgr self-test health clear": ["WORD"],
    "mgr self-test health set": ["{}"],
    "mgr self-test module": ["crash"],
    "telegraf config-set": ["interval", "15"],
    "test_orchestrator load_data": [],
    "zabbix config-set": ["interval", "60"],
}
"""Test values of arguments for which a plain word makes the module raise, in Ceph, too."""
CRASH = {
    "crash_id": "tried",
    "timestamp": "2026-01-02T03:04:05.678901Z",
    "entity_name": "osd.1",
    "process_name": "ceph-osd",
    "utsname_hostname": "one",
    "backtrace": ["main() [0xabc]"],
}
INPUTS = {
    "crash post": json.dumps(CRASH),
    "test_orchestrator load_data": json.dumps({"inventory": [], "daemons": []}),
}
VALUES = {"int": "1", "uint": "1", "size": "1", "float": "1", "secs": "1", "millisecs": "1"}
"""Test values of options without a default, by type."""


def all_declarations(folders):
    """Return for each module its commands with test arguments, and its options with a value."""
    catalogue = asyncio.run(find_modules(folders, skip=[ALL], limit_s=60))
    standard = {option["name"] for option in standard_options()}
    return {
        name: {
            "commands": [_command(Signature.parse(one.signature_text)) for one in found.commands],
            "options": [
                _option(OptionSpec.from_declaration(each, module=name))
                for each in found.options
                if each["name"] not in standard
            ],
        }
        for name, found in catalogue.items()
    }


def _command(signature):
    needed = [_word(argument.type) for argument in signature.arguments if argument.required]
    words = SENSIBLE.get(signature.prefix, needed)
    return {"words": [*signature.words, *words], "input": INPUTS.get(signature.prefix, "")}


def _word(kind):
    if isinstance(kind, CephChoices):
        return kind.strings[0]
    return WORDS.get(type(kind).__name__, "word")


def _option(spec):
    free_value = (spec.enum_allowed or [VALUES.get(spec.type, "true")])[0]
    value = spec.default_text or spec.normalise(free_value)
    free = spec.type == "str" and not spec.enum_allowed
    return {"name": spec.name, "value": value, "free": free}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.stdout.write(json.dumps(all_declarations(sys.argv[1:])))
