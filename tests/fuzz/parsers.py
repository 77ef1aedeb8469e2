"""Every parser that a client can reach, with valid samples and the errors that it may raise."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mgr.access.caps import AccessRequest, Caps, matches_pattern
from mgr.access.certificate import read_certificate
from mgr.access.identity import Identity
from mgr.access.tokens import Tokens
from mgr.argument.cluster_types import BY_NAME
from mgr.argument.descriptor import Signature
from mgr.argument.tell import daemon_command_arguments, resolve_target
from mgr.cluster.maps import _check_text
from mgr.cluster.validation import checked_name, checked_text, checked_texts
from mgr.command.registry import Command, Registry
from mgr.command.request import Request, checked_request_id
from mgr.config.ceph_conf import read_conf
from mgr.config.option_types import OPTION_TYPES
from mgr.config.values import sections_of
from mgr.errors import MgrError
from mgr.likeness import Typed
from mgr.link import UNREADABLE, from_guard, from_worker
from mgr.pki.authority import (
    Authority,
    Subject,
    common_name,
    has_signed,
    is_proven,
    load_certificate,
    requested_key,
)
from mgr.pki.join_token import JoinToken
from mgr.pki.private_key import PrivateKey
from mgr.pki.subject import addresses_of
from mgr.pki.token_text import TokenText
from mgr.rpc.codec import arguments_in
from mgr.rpc.edge import lenient
from mgr.rpc.fleet_codec import daemon_status_in, open_request_in
from mgr.rpc.local_frames import REQUEST, FrameReader, FrameTooLargeError
from mgr.rpc.v1 import certificate_pb2, command_pb2, manager_pb2
from mgr.rpc.v1 import cluster_pb2 as pb
from mgr.store.keys import Keys
from mgr.text import for_terminal, one_line
from modules.crash import report

TYPES = dict(BY_NAME)
SET = (
    "config set name=who,type=CephString name=name,type=CephString "
    "name=value,type=CephObjectname name=force,type=CephBool,req=false,positional=false"
)
LAST = (
    "log last name=num,type=CephInt,range=1,req=false "
    "name=level,type=CephChoices,strings=debug|info,req=false"
)
OF_TYPES = [f"t {name} name=x,type={name},n=N,req=false" for name in TYPES]
REGISTRY = Registry()
REGISTRY.put(
    "m",
    [
        Command(Signature.parse(text), "", "r")
        for text in (SET, LAST, "log name=text,type=CephObjectname,n=N", *OF_TYPES)
    ],
)
LINES = [
    "config set mgr debug_mgr 5 --force",
    "config set global --name=a --value b",
    "log last 7 info",
    "log a b c",
    "tell osd.1 dump x",
    "tell mgr.a config get x",
    *(f"t {kind} 1 1.2.3.4:80/5 osd.1 true" for kind in TYPES),
]
VALUES = [
    "1", "0x1F", "1.5", "true", "osd.3", "1.2.3.4:80/7", "[::1]:80", "v2:[1.2.3.4:1,1.2.3.5:2]",
    "1h30m", "10G", "d94a64ae-7d33-4a5e-9a6d-6ea1cfa8b5c7", "1.a3", "a|b",
]  # fmt: skip
CAPS = [
    "allow *",
    "allow rw, allow module=hello r",
    'allow command "map set" with name=a network 10.0.0.0/8',
    'profile daemon name=host.*; allow command x with a regex "[a-z]+" b prefix "c"',
    "allow role operator",
]
CONFS = ["[global]\n a b = 1 ; c\n[mgr.a]\nx=2\n", "# c\n[mgr]\na = b\n  more\n"]
REPORTS = [
    json.dumps({"crash_id": "a", "timestamp": "2026-01-01T00:00:00.1Z", "backtrace": ["f()+0x1"]}),
    json.dumps(
        {"crash_id": "b", "timestamp": "2026-01-01 00:00:00.1+02:00", "entity_name": "osd.1"}
    ),
]
MAPS = ['{"a": [1, 2.5, "x", null, {"b": {}}]}', '{"e": 1e308, "s": "\\\\ud83d"}']
LINKS = [b'{"type":"heartbeat"}', b'{"type":"promote","term":1}', b'{"type":"resign","reason":"x"}']
EXECUTES = [
    command_pb2.ExecuteRequest(
        words=["config", "set"],
        arguments={"a": command_pb2.Value(integer=1)},
        input=b"x",
        request_id="r",
    ).SerializeToString()
]
SESSIONS = [command_pb2.SessionRequest(id=1, execute=command_pb2.ExecuteRequest(words=["a"]))]
STREAMED = [
    pb.ReportRequest(open=pb.Open(type="osd", id="1", host="h", metadata={"a": "b"}, version="1")),
    pb.ReportRequest(report=pb.Report(sequence=1, values=[1.0], status=pb.Texts(texts={"a": "b"}))),
    pb.ReportRequest(
        declare=pb.Declare(counters=[pb.CounterDeclaration(group="g", name="n", bounds=[1.0])])
    ),
]
EXPECTED = (MgrError,)
AT = "2026-01-01T00:00:00+00:00"
_KEY = PrivateKey()
SIGNING_REQUEST = _KEY.request("host.x")
_SUBJECT = Subject("host.x", server=True, addresses=("10.0.0.1", "db1.example"))
CERTIFICATE = (
    Authority.generate("fuzz").sign(SIGNING_REQUEST, _SUBJECT, dt.timedelta(days=1)).encode()
)
TOKEN_TEXTS = [f"{'0' * 16}.{'A' * 43}.{'f' * 64}", f"{'a' * 12}.{'A' * 43}"]


class _NoRecords:
    """A ``Reader`` of an empty store."""

    def get(self, _key: str) -> None:
        return None

    def list(self, _prefix: str) -> dict[str, Any]:
        return {}

    def age_s(self) -> float:
        return 0.0


TOKENS = Tokens(_NoRecords(), Keys("fuzz"))


@dataclass(frozen=True)
class Target:
    """One parser: what is parsed, from what, and what it may raise."""

    name: str
    run: Callable[[Any], object]
    samples: Sequence[Any]
    errors: tuple[type[BaseException], ...] = EXPECTED


def _words(line: str) -> object:
    words = line.split(" ")
    request = Request(words)
    assert request.digest
    if daemon_command_arguments(words, {}) is None:
        _, words = resolve_target(words, "a")
    return REGISTRY.find(words)


def _caps(text: str) -> object:
    caps = Caps.parse(text)
    return caps.allow(AccessRequest("x", "rw", arguments={"a": "abc", "b": "cd", "name": "a"}))


def _conf(text: str) -> object:
    return [sections_of(section) for section, _, _ in read_conf(text)]


def _types(text: str) -> None:
    for kind in TYPES.values():
        _quietly(kind().read, text)
        _quietly(kind().accept, text)
    for option in OPTION_TYPES.values():
        _quietly(lambda text, option=option: option.text(option.parse(text)), text)


def _quietly(parse: Callable[[str], object], text: str) -> None:
    with contextlib.suppress(MgrError):
        parse(text)


def _texts(text: str) -> None:
    _quietly(checked_request_id, text)
    _quietly(lambda text: checked_name(text[:3], text[3:]), text)
    _quietly(lambda text: checked_text("x", text), text)
    _quietly(lambda text: checked_texts("x", {text: text}), text)
    assert not {"\x1b", "\n", "\u202e", "\0"} & set(one_line(text))
    assert len(for_terminal(text).encode()) >= len(text)
    Typed(text).likeness("config set")


def _report(data: bytes) -> object:
    message = _received("ClusterService/Report", pb.ReportRequest, data)
    if isinstance(message, pb.ReportRequest):
        open_request_in(message.open)
        return daemon_status_in(message.report)
    return None


def _execute(data: bytes) -> object:
    message = _received("CommandService/Execute", command_pb2.ExecuteRequest, data)
    if isinstance(message, command_pb2.ExecuteRequest):
        arguments = arguments_in(message.arguments)
        return REGISTRY.find(tuple(message.words), arguments) if message.words else None
    return None


def _received(method: str, kind: Any, data: bytes) -> object:
    return lenient(kind.FromString, f"/mgr.rpc.v1.{method}")(data)


def _every_request(data: bytes) -> None:
    for file, service in (
        (command_pb2, "CommandService"),
        (manager_pb2, "ManagerService"),
        (pb, "ClusterService"),
        (certificate_pb2, "CertificateService"),
    ):
        for method in file.DESCRIPTOR.services_by_name[service].methods:
            kind = getattr(file, method.input_type.name)
            _received(f"{service}/{method.name}", kind, data)


def _frames(data: bytes) -> None:
    reader, found = FrameReader(REQUEST, 100), []
    half = len(data) // 2
    for part in (data[:half], data[half:]):
        found += reader.feed(part)
    assert sum(len(message) for _, message in found) <= len(data)


def _presented(data: bytes) -> None:
    certificate = load_certificate(data)
    assert not (common_name(certificate) and is_proven(certificate, SIGNING_REQUEST, data))
    has_signed(load_certificate(CERTIFICATE), certificate)
    addresses_of(certificate)


def _tokens(text: str) -> None:
    _quietly(TokenText.parse, text)
    for header in (text, f"Bearer {text}"):
        _quietly(lambda value: TOKENS.authenticate(value, "10.0.0.1"), header)
    name, _, pattern = text.partition(" ")
    matches_pattern(name, pattern)
    _quietly(Identity.of_entry, text)
    token = JoinToken(secret_hash="", profile="daemon", name=pattern, expires_at=AT)
    if token.admits(name):
        assert matches_pattern(name, pattern)


TARGETS = (
    Target("words", _words, LINES),
    Target("shell words", shlex.split, LINES, (ValueError,)),
    Target("types", _types, VALUES),
    Target("capabilities", _caps, CAPS),
    Target(
        "descriptor",
        Signature.parse,
        ["a b name=x,type=CephInt,range=1|9,n=N -- name=y,type=CephBool,req=false"],
    ),
    Target("conf", _conf, CONFS),
    Target("crash report", report.parse, REPORTS, (ValueError,)),
    Target("map", lambda text: _check_text("m", text), MAPS),
    Target("texts", _texts, [*LINES, *VALUES, *CONFS]),
    Target("link from worker", from_worker, LINKS, UNREADABLE),
    Target("link from guard", from_guard, LINKS, UNREADABLE),
    Target("execute", _execute, EXECUTES),
    Target("report", _report, [each.SerializeToString() for each in STREAMED]),
    Target("every request", _every_request, [*EXECUTES, SESSIONS[0].SerializeToString()]),
    Target(
        "frames",
        _frames,
        [REQUEST.pack(3, 1, 1, 0) + b"abc" + REQUEST.pack(0, 2, 2, 5)],
        (FrameTooLargeError,),
    ),
    Target("tokens and names", _tokens, [*TOKEN_TEXTS, "host.a host.*", "uri:a:b dns:*.x"]),
    Target("signing request", requested_key, [SIGNING_REQUEST]),
    Target("client certificate", read_certificate, [CERTIFICATE]),
    Target("presented certificate", _presented, [CERTIFICATE]),
    Target(
        "json",
        msgspec.json.decode,
        [each.encode() for each in MAPS],
        (msgspec.MsgspecError, UnicodeDecodeError, RecursionError),
    ),
)
