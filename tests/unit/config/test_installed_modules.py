"""Packages in etcd: in chunks, whole or refused, and never more than the records name."""

from __future__ import annotations

import hashlib
import secrets

import pytest

from mgr.cli.module_install import BYTES_MAX
from mgr.config.installed_modules import (
    CHUNK_CHARS,
    PACKAGE_BYTES_MAX,
    InstalledModule,
    PackageVersion,
    chunks,
    encode,
    installed_modules,
    lacking,
    stored_package,
    unused_chunks,
)
from mgr.errors import InvalidArgumentError
from mgr.link import ModuleReport
from mgr.store.api import Put
from tests.support.leading import leading

DATA = secrets.token_bytes(PACKAGE_BYTES_MAX)
DIGEST = hashlib.sha256(DATA).hexdigest()
VERSION = PackageVersion(digest=DIGEST, size=len(DATA), at="now", by="client.ada")
RECORD = InstalledModule(current=VERSION)


def test_the_command_line_has_the_managers_limit():
    """It may not import the managers' code."""
    assert BYTES_MAX == PACKAGE_BYTES_MAX


async def test_a_package_is_stored_in_chunks_and_read_as_it_was():
    """One that is changed, incomplete or gone is refused, by its digest."""
    async with leading() as term:
        puts = list(chunks(term.keys, DIGEST, DATA))
        for put in puts:
            await term.fenced.commit([put])
        assert max(len(put.value) for put in puts) == CHUNK_CHARS
        assert stored_package(term.mirror, term.keys, VERSION) == DATA

        for value in (puts[1].value[::-1], "", "no base64!"):
            await term.fenced.commit([Put(puts[1].key, value)])
            with pytest.raises(InvalidArgumentError, match="in etcd is damaged"):
                stored_package(term.mirror, term.keys, VERSION)
        for put in puts:
            await term.fenced.delete(put.key)
        with pytest.raises(InvalidArgumentError, match=f"{DIGEST[:12]} in etcd is missing"):
            stored_package(term.mirror, term.keys, VERSION)


async def test_chunks_that_no_record_names_are_unused():
    """Those of the version before are used: it can be rolled back to."""
    async with leading() as term:
        keys = term.keys
        for digest in ("a" * 64, "b" * 64, "c" * 64):
            await term.fenced.put(keys.package_chunk(digest, 0), "x")
        record = InstalledModule(
            current=PackageVersion(digest="a" * 64, size=1, at=""),
            previous=PackageVersion(digest="c" * 64, size=1, at=""),
        )
        await term.fenced.put(keys.installed_module("greeter"), encode(record))
        await term.fenced.put(keys.installed_module("broken"), "{")
        installed = installed_modules(term.mirror, keys)

        assert installed == {"greeter": record}
        assert unused_chunks(term.mirror, keys, installed) == [keys.package_chunk("b" * 64, 0)]


def test_who_lacks_a_module_and_why():
    """The reason is the manager's own; one of an older version says nothing of packages."""
    reports = {
        "has": [ModuleReport(name="greeter", can_run=False, error="no", package=DIGEST)],
        "old": [ModuleReport(name="greeter", can_run=True, package="0", outdated="damaged")],
        "none": [ModuleReport(name="greeter", can_run=False, error="not allowed")],
        "silent": [],
    }

    assert lacking("greeter", RECORD, reports) == {
        "old": "damaged",
        "none": "not allowed",
        "silent": "",
    }
