"""Etcd's gRPC protocol, taken from the installed ``etcd3`` package (docs/adr/0001).

The stubs in etcd3 0.12.0 were generated in 2020, and protobuf refuses to run such code since its
release 4. But each stub contains its serialised file descriptor as a literal. This module parses
the literal with ``ast``, adds the fields that etcd has gained since, and loads the result into a
separate protobuf pool. No code of the package runs, and a module that has its own etcd client
conflicts neither with our names nor with our pool.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DISTRIBUTION: Final = "etcd3"
VERSION: Final = "0.12.0"
PACKAGE: Final = "etcdserverpb"
# Each after the files it imports.
FILES: Final = ("kv", "auth", "rpc")

_Kind = descriptor_pb2.FieldDescriptorProto
_Field = tuple[str, int, "_Kind.Type.ValueType", str]

NEWER_FIELDS: Final[dict[str, tuple[_Field, ...]]] = {
    "WatchRequest": (
        ("progress_request", 3, _Kind.TYPE_MESSAGE, f".{PACKAGE}.WatchProgressRequest"),
    ),
    "WatchCreateRequest": (
        ("watch_id", 7, _Kind.TYPE_INT64, ""),
        ("fragment", 8, _Kind.TYPE_BOOL, ""),
    ),
    "WatchResponse": (("fragment", 7, _Kind.TYPE_BOOL, ""),),
    "Member": (("isLearner", 5, _Kind.TYPE_BOOL, ""),),
    "StatusResponse": (
        ("dbSizeInUse", 9, _Kind.TYPE_INT64, ""),
        ("isLearner", 10, _Kind.TYPE_BOOL, ""),
        ("dbSizeQuota", 12, _Kind.TYPE_INT64, ""),
    ),
}
"""The fields that etcd has added since 2020 and that we use, by message."""
NEWER_MESSAGES: Final = ("WatchProgressRequest",)
IN_ONEOF: Final = {"progress_request": 0}
"""``WatchRequest`` is one of create, cancel and, since 3.4, progress."""


class Method(NamedTuple):
    """One method of an etcd service: its path and message classes, as gRPC channels need them."""

    path: str
    request: Any
    response: Any


def message(name: str) -> Any:
    """Return the class of the message ``name`` of etcd's protocol, such as ``"RangeRequest"``."""
    descriptor = _pool().FindMessageTypeByName(f"{PACKAGE}.{name}")
    return message_factory.GetMessageClass(descriptor)


def enum_value(message_name: str, name: str) -> int:
    """Return the number of ``name``, a value of one of the enums inside ``message_name``."""
    descriptor = _pool().FindMessageTypeByName(f"{PACKAGE}.{message_name}")
    return int(descriptor.enum_values_by_name[name].number)


def method(service: str, name: str) -> Method:
    """Return one method, such as ``method("KV", "Range")``."""
    descriptor = _pool().FindServiceByName(f"{PACKAGE}.{service}").methods_by_name[name]
    return Method(
        f"/{PACKAGE}.{service}/{name}",
        message_factory.GetMessageClass(descriptor.input_type),
        message_factory.GetMessageClass(descriptor.output_type),
    )


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    """Return the protobuf pool with etcd's protocol.

    Raises:
        ImportError: The package is not installed, or not in the one supported version.

    """
    folder = _installed()
    pool = descriptor_pool.DescriptorPool()
    for stem in FILES:
        pool.Add(_completed(_read(folder / f"{stem}_pb2.py")))
    return pool


def _installed() -> Path:
    try:
        version = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        version = "none"
    # ``find_spec`` of a top-level name finds the package without running it.
    spec = util.find_spec(DISTRIBUTION)
    if version != VERSION or spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"etcd's protocol is read from {DISTRIBUTION}=={VERSION}; installed: {version}"
        )
    return Path(spec.submodule_search_locations[0]) / "etcdrpc"


def _read(path: Path) -> descriptor_pb2.FileDescriptorProto:
    """Return the file descriptor contained in the generated file at ``path``."""
    for line in path.read_text().splitlines():
        name, _, expression = line.strip().rstrip(",").partition("=")
        if name != "serialized_pb":
            continue
        # Either b'...' or, for Python 2, _b('...'). Only this line is parsed: parsing the whole
        # file would delay every start by a quarter of a second.
        node = ast.parse(expression, mode="eval").body
        serialized = ast.literal_eval(node.args[0] if isinstance(node, ast.Call) else node)
        if isinstance(serialized, str):
            serialized = serialized.encode("latin-1")
        return descriptor_pb2.FileDescriptorProto.FromString(serialized)
    raise ImportError(f"{path} carries no serialised descriptor")


def _completed(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """Add the fields and messages that etcd has gained since the package was made."""
    if file.package != PACKAGE:
        return file
    for name in NEWER_MESSAGES:
        file.message_type.add(name=name)
    for known in file.message_type:
        for name, number, kind, type_name in NEWER_FIELDS.get(known.name, ()):
            field = known.field.add(name=name, number=number, type=kind, label=_Kind.LABEL_OPTIONAL)
            if type_name:
                field.type_name = type_name
            if name in IN_ONEOF:
                field.oneof_index = IN_ONEOF[name]
    return file
