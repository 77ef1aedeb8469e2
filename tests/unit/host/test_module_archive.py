"""What was changed on the way is refused, whatever a file that calls itself a package has in it."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgr.errors import InvalidArgumentError, TooLargeError
from mgr.host import module_archive
from mgr.host.module_archive import INDEX, read
from tests.support.module_archive import archive_of

FILES = {"module.py": b"# a module", "README.md": b"text", "parts/one.py": b"ONE = 1"}


def rebuilt(data, change):
    """The archive with its entries changed by ``change``, a function of the dictionary of them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def index(entries, **changes):
    entries["MODULE.json"] = json.dumps({**json.loads(entries["MODULE.json"]), **changes}).encode()


def test_another_file_than_the_one_that_was_named_is_refused():
    """By its hash: nobody has to trust the way."""
    with pytest.raises(InvalidArgumentError, match="not the one that was named: sha256:"):
        read(archive_of(FILES), digest="0" * 64)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda e: e.update({"module.py": b"evil()"}), "module.py was changed"),
        (lambda e: e.update({"more.py": b""}), "not those that its index lists"),
        (lambda e: e.pop("README.md"), "not those that its index lists"),
        (lambda e: index(e, format=2), "its format is 2, and this program reads 1"),
        (lambda e: index(e, module="../greet"), "its name is '../greet'"),
        (lambda e: index(e, files={}), "it has no module.py"),
        (lambda e: e.pop("MODULE.json"), "MODULE.json"),
    ],
)
def test_what_was_changed_is_refused(change, why):
    """With what is wrong."""
    with pytest.raises(InvalidArgumentError, match=why):
        read(rebuilt(archive_of(FILES), change))


def test_a_path_that_leaves_the_folder_is_refused():
    """Also if its hash is right."""

    def escape(entries):
        text = entries.pop("README.md")
        entries["../README.md"] = text
        listed = json.loads(entries["MODULE.json"])["files"]
        index(entries, files={name.replace("README", "../README"): h for name, h in listed.items()})

    with pytest.raises(InvalidArgumentError, match=r"unsafe path '../README.md'"):
        read(rebuilt(archive_of(FILES), escape))
    with pytest.raises(InvalidArgumentError, match="not a package of a module"):
        read(b"no zip")


def test_a_package_that_grows_when_it_is_unpacked_is_refused(monkeypatch):
    """Its content is limited, too, before any of it is read."""
    data = archive_of({**FILES, "zeros.py": b"0" * 10_000})
    monkeypatch.setattr(module_archive, "BYTES_MAX", len(data) + 10)

    with pytest.raises(TooLargeError, match="unpacks to at most"):
        read(data)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "a/../b", "./a", "a//b", "a\\b", ".git/config", "__pycache__/x.pyc", "", "a/"],
)
def test_only_plain_paths_below_the_folder_are_taken(name):
    """Nothing hidden, nothing compiled."""
    with pytest.raises(InvalidArgumentError, match="not a package of a module"):
        read(archive_of({**FILES, name: b""}))


def test_links_and_other_compressions_are_refused():
    """Of bzip2, zipfile unpacks all that there is, whatever size the entry declares."""
    data = io.BytesIO(archive_of(FILES))
    with zipfile.ZipFile(data, "a") as archive:
        link = zipfile.ZipInfo("link.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidArgumentError, match=r"link\.py is a symbolic link"):
        read(data.getvalue())

    with pytest.raises(InvalidArgumentError, match="another way than deflate"):
        read(archive_of(FILES, zipfile.ZIP_BZIP2))


def test_an_entry_that_lies_of_its_size_is_not_unpacked_beyond_it():
    """The directory at the end says 4 bytes, the data has a mebibyte."""
    whole = archive_of({**FILES, "bomb.py": b"\0" * (1 << 20)})
    size = (1 << 20).to_bytes(4, "little")
    assert whole.count(size) == 2

    with pytest.raises(InvalidArgumentError, match="not a package of a module"):
        read(whole.replace(size, (4).to_bytes(4, "little")))


@given(st.binary(max_size=400))
def test_any_bytes_are_a_package_or_refused(data):
    """Nothing but the refusal is raised."""
    with pytest.raises(InvalidArgumentError):
        read(data)


@given(st.data())
def test_a_changed_byte_anywhere_is_refused_or_changes_nothing(data):
    """The hashes are of the content; a date in the archive may differ."""
    whole = bytearray(archive_of(FILES))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))

    try:
        package = read(bytes(whole))
    except (InvalidArgumentError, TooLargeError):
        return
    assert (package.name, package.files) == ("greeter", FILES)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_any_index_is_refused(index):
    """Also one that is JSON and something else."""

    def change(entries):
        entries[INDEX] = json.dumps(index).encode()

    with pytest.raises(InvalidArgumentError):
        read(rebuilt(archive_of(FILES), change))
