"""Records as store entries: one that is larger than an entry may be stands in several. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final

PART_BYTES_MAX: Final = 60_000
"""Of one entry: the store's limit is 64 KiB, unless it is set to another."""
CHANGES_MAX: Final = 100
BYTES_MAX: Final = 1_300_000
"""Entries changed in one transaction, and their size, unless it is a single record: etcd has
limits for both."""

Changes = dict[str, str | None]


def split(text: str) -> list[str]:
    """Return ``text`` in pieces of at most ``PART_BYTES_MAX`` bytes each."""
    data = text.encode()
    pieces: list[str] = []
    start = 0
    while start < len(data) or not pieces:
        end = min(start + PART_BYTES_MAX, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        pieces.append(data[start:end].decode())
        start = end
    return pieces


def joined(entries: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the pieces of each record by its name: ``web``, ``web/1``, ``web/2``."""
    found = {}
    for name in entries:
        if "/" not in name:
            more = itertools.count(1)
            rest = itertools.takewhile(lambda key: key in entries, (f"{name}/{n}" for n in more))
            found[name] = [entries[name], *(entries[key] for key in rest)]
    return found


def changes(key: str, text: str | None, before: int) -> Changes:
    """Return the entries that store ``text`` under ``key``, where ``before`` pieces were."""
    pieces: list[str | None] = [] if text is None else [*split(text)]
    pieces += [None] * (before - len(pieces))
    return {f"{key}/{n}" if n else key: piece for n, piece in enumerate(pieces)}


def batches(records: Mapping[str, Changes]) -> Iterator[dict[str, Changes]]:
    """Yield ``records`` in transactions; a record is never divided between two."""
    batch: dict[str, Changes] = {}
    count = size = 0
    for name, each in records.items():
        its_size = sum(len(key) + len((text or "").encode()) for key, text in each.items())
        if batch and (count + len(each) > CHANGES_MAX or size + its_size > BYTES_MAX):
            yield batch
            batch, count, size = {}, 0, 0
        batch[name] = each
        count += len(each)
        size += its_size
    if batch:
        yield batch
