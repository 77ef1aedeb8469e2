"""The file of a backup: what is read is what was written, or an error."""

from __future__ import annotations

import gzip
import json
import stat

import pytest

from mgr.backup_file import BackupHeader, BackupWriter, read_backup
from mgr.errors import InvalidArgumentError

HEADER = BackupHeader(
    cluster="test", revision=41, term=7, made_at="2026-01-01T00:00:00+00:00", made_by="1.0"
)
RECORDS = [("config/mgr/a", "1"), ("kv/\u00e4", "two\nlines"), ("z", "")]


def written(path, records=RECORDS):
    """Write a backup; its digest."""
    writer = BackupWriter(path, HEADER)
    try:
        writer.add(records)
        return writer.commit()
    finally:
        writer.discard()


def lines_of(path):
    """Its lines, unpacked."""
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def test_a_backup_is_read_as_it_was_written(tmp_path):
    """Header, records and digest; only its owner can read it, and nothing else is left."""
    path = tmp_path / "b"
    digest = written(path)

    found = read_backup(path)

    assert (found.header, list(found.records), found.sha256) == (HEADER, RECORDS, digest)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_content_gives_the_same_file(tmp_path):
    """So that two copies can be compared."""
    written(tmp_path / "b")
    written(tmp_path / "c")

    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_a_backup_that_fails_leaves_the_old_file(tmp_path):
    """And no draft."""
    path = tmp_path / "b"
    path.write_bytes(b"old")

    writer = BackupWriter(path, HEADER)
    writer.add(RECORDS)
    writer.discard()

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("missing", [1, 2, 4])
def test_a_file_that_was_cut_off_is_refused(tmp_path, missing):
    """Between two lines, where nothing else would show it."""
    path = tmp_path / "b"
    written(path)
    path.write_bytes(gzip.compress(b"".join(lines_of(path)[:-missing])))

    with pytest.raises(InvalidArgumentError, match="cut off"):
        read_backup(path)


@pytest.mark.parametrize(
    ("line", "old", "new"),
    [(0, b"41", b"42"), (1, b'"1"', b'"2"'), (4, b'"records":3', b'"records":2')],
)
def test_a_changed_file_is_refused(tmp_path, line, old, new):
    """Whatever was changed: header, record or end."""
    path = tmp_path / "b"
    written(path)
    lines = lines_of(path)
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new)
    path.write_bytes(gzip.compress(b"".join(lines)))

    with pytest.raises(InvalidArgumentError, match="damaged"):
        read_backup(path)


def test_every_changed_byte_of_the_file_is_noticed(tmp_path):
    """By gzip's own sum or by ours; but for the bytes in gzip's header that mean nothing."""
    path = tmp_path / "b"
    written(path)
    data = path.read_bytes()
    for position in range(10, len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(InvalidArgumentError, match=str(path)):
            read_backup(path)


def test_a_later_version_names_the_program_that_can_read_it(tmp_path):
    """Guessing would restore it wrongly."""
    path = tmp_path / "b"
    header = json.dumps({"format": "mgrd-backup", "version": 2, "cluster": "t", "revision": 1,
                         "term": 1, "made_at": "", "made_by": "9.9"})  # fmt: skip
    path.write_bytes(gzip.compress(f"{header}\n".encode()))

    with pytest.raises(InvalidArgumentError, match=r"version 2 .* mgrd 9\.9 or later"):
        read_backup(path)


@pytest.mark.parametrize(
    "data", [b"", b"text", gzip.compress(b"", mtime=0), gzip.compress(b"{}\n", mtime=0)]
)
def test_what_is_no_backup_is_refused(tmp_path, data):
    """Also an empty file."""
    path = tmp_path / "b"
    path.write_bytes(data)

    with pytest.raises(InvalidArgumentError, match=str(path)):
        read_backup(path)
