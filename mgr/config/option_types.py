"""The types of options: the text each accepts, its stored form, and the Python value read.

Error texts are those that Ceph's monitors print (reference: module interface 5.1), so that scripts
and documentation written for Ceph stay valid.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mgr.errors import InvalidArgumentError

Value = bool | int | float | str

SI: Final = {suffix: 10 ** (3 * power) for power, suffix in enumerate("KMGTPE", 1)}
IEC: Final = {suffix: 2 ** (10 * power) for power, suffix in enumerate("KMGTPE", 1)}
DIGITS_MAX: Final = 100
"""No type holds a longer number. Python itself raises ValueError from some thousand digits on."""
CHARS_MAX: Final = 256
"""No value of a type other than ``str`` and ``addrvec`` is longer."""
ADDRESSES_MAX: Final = 64
"""Limit of the addresses of an ``addrvec``."""
INT64: Final = (-(2**63), 2**63 - 1)
UINT64: Final = (0, 2**64 - 1)

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
SPANS: Final[dict[str, int]] = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), _MINUTE),
    **dict.fromkeys(("h", "hr", "hour", "hours"), _HOUR),
    **dict.fromkeys(("d", "day", "days"), _DAY),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 7 * _DAY),
    **dict.fromkeys(("mo", "month", "months"), 30 * _DAY),
    **dict.fromkeys(("y", "yr", "year", "years"), 365 * _DAY),
}
"""Seconds in each unit of ``secs``. A month has 30 days and a year 365, as in Ceph."""

TRUE_TEXTS: Final = frozenset({"1", "true", "True", "on", "yes"})
"""Texts that a module reads as True. Only ``true`` is stored, except with ``--force``."""


@dataclass(frozen=True, slots=True)
class OptionType:
    """One type of option.

    Attributes:
        parse: Checks text as typed; returns the value that is compared with the bounds.
        text: Returns that value in its stored form.
        read: Returns the Python value of stored text; raises ValueError where it does not fit.
        ordered: Whether the type can have bounds.

    """

    parse: Callable[[str], Value]
    text: Callable[[Value], str]
    read: Callable[[str], Value]
    ordered: bool = False


def refuse(why: str) -> InvalidArgumentError:
    """Return the error for an invalid value, with Ceph's wording."""
    return InvalidArgumentError(f"error parsing value: {why}")


def _whole(text: str, bounds: tuple[int, int]) -> int:
    if not re.fullmatch(r"[ \t\n\v\f\r]*[+-]?[0-9]+", text):
        raise refuse(f"Expected option value to be integer, got '{text}'")
    return _within(_number(text), text, bounds)


def _number(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise refuse(f"The option value '{digits[:DIGITS_MAX]}...' seems to be invalid")
    return int(digits)


def _within(value: int, text: str, bounds: tuple[int, int]) -> int:
    low, high = bounds
    if value < low == 0:
        raise refuse(f"strict_si_cast: value should not be negative, got '{text}'")
    if not low <= value <= high:
        raise refuse(f"The option value '{text}' seems to be invalid")
    return value


def _with_si_suffix(bounds: tuple[int, int]) -> Callable[[str], Value]:
    def parse(text: str) -> Value:
        scale = SI.get(text[-1:])
        if scale is not None:
            return _within(_whole(text[:-1], INT64) * scale, text, bounds)
        if re.fullmatch(r"[+-]?[0-9]+[A-Za-z]", text):
            raise refuse("strict_si_cast: unit prefix not recognized")
        return _whole(text, bounds)

    return parse


def _size(text: str) -> Value:
    found = re.fullmatch(r"([+-]?[0-9]+)([A-Za-z]*)", text)
    if not found:
        raise refuse(f"Expected option value to be integer, got '{text}'")
    digits, unit = found.groups()
    prefix = re.fullmatch(r"(?:([KMGTPE])i?)?B?", unit)
    if not prefix:
        raise refuse(f"strict_iecstrtoll: unit prefix not recognized '{unit}' ")
    return _within(_number(digits) * IEC.get(prefix[1], 1), text, UINT64)


def _real(text: str) -> Value:
    # Python accepts blanks around a number and underscores in it; Ceph does not.
    if not re.search(r"[\s_]", text):
        try:
            return float(text)
        except ValueError:
            pass
    raise refuse(f"strict_strtod: expected double, got: '{text}'")


def _truth(text: str) -> Value:
    lower = text.lower()
    return lower == "true" if lower in {"true", "false"} else _whole(text, INT64) != 0


_SPAN_PART: Final = re.compile(r"([0-9]+)\s*([A-Za-z]*)\s*")


def span_s(text: str) -> int:
    """Return the whole seconds of a time span such as ``1h30m``; a bare number is seconds.

    Raises:
        InvalidArgumentError: ``text`` is no time span.

    """
    if len(text) > DIGITS_MAX:
        raise refuse(f"The option value '{text[:DIGITS_MAX]}...' seems to be invalid")
    text = text.strip()
    total = place = 0
    while True:
        found = _SPAN_PART.match(text, place)
        if not found:
            raise refuse("expected digit")
        digits, unit = found.groups()
        if unit not in SPANS:
            raise refuse(f"unrecogized unit '{unit}'")  # Ceph's own spelling
        total = _within(total + _number(digits) * SPANS[unit], text, INT64)
        place = found.end()
        if place == len(text):
            return total


ADDRESS: Final = re.compile(
    r"(?:(?P<kind>v1|v2|any):)?"
    # A port needs brackets around an IPv6 host; without them all colons are the host's.
    r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9.]+)(?::(?P<port>[0-9]{1,5}))?|(?P<bare>[0-9A-Fa-f:.]+))"
    r"(?:/(?P<nonce>[0-9]+))?"
)


def _address(text: str) -> Value:
    # The full form, as Ceph prints it: with type, host, port and nonce.
    found = ADDRESS.fullmatch(text)
    host = _host(found["host"] or found["bare"]) if found else None
    if not found or host is None or _number(found["port"] or "0") > 65535:
        raise refuse(f"'{text}' is not an address: [v1:|v2:]host[:port][/nonce]")
    port, nonce = _number(found["port"] or "0"), _number(found["nonce"] or "0")
    return f"{found['kind'] or 'v2'}:{host}:{port}/{nonce}"


def _host(text: str) -> str | None:
    try:
        parsed = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return f"[{parsed}]" if parsed.version == 6 else str(parsed)


def _addresses(text: str) -> Value:
    inner = text[1:-1] if text.startswith("[v") and text.endswith("]") else text
    texts = inner.split(",", ADDRESSES_MAX)
    if len(texts) > ADDRESSES_MAX:
        raise refuse(f"more than {ADDRESSES_MAX} addresses")
    parts = [str(_address(part)) for part in texts]
    return parts[0] if len(parts) == 1 else f"[{','.join(parts)}]"


def _uuid(text: str) -> Value:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise refuse(f"'{text}' is not a UUID") from None


def _read_whole(text: str) -> Value:
    return int(text, 0)


def _read_truth(text: str) -> Value:
    return text in TRUE_TEXTS


def _short(parse: Callable[[str], Value], chars_max: int = CHARS_MAX) -> Callable[[str], Value]:
    """Return ``parse``, which refuses a longer text: parsing it could take long."""

    def parse_short(text: str) -> Value:
        if len(text) > chars_max:
            raise refuse(f"The option value '{text[:DIGITS_MAX]}...' seems to be invalid")
        return parse(text)

    return parse_short


_PLAIN: Final = OptionType(parse=str, text=str, read=str)

OPTION_TYPES: Final[dict[str, OptionType]] = {
    "str": _PLAIN,
    "int": OptionType(_short(_with_si_suffix(INT64)), str, _read_whole, ordered=True),
    "uint": OptionType(_short(_with_si_suffix(UINT64)), str, _read_whole, ordered=True),
    "size": OptionType(_short(_size), str, _read_whole, ordered=True),
    "float": OptionType(_short(_real), lambda value: f"{value:f}", float, ordered=True),
    "bool": OptionType(_short(_truth), lambda value: str(value).lower(), _read_truth),
    # Spans are whole seconds in the store and floats in Python: modules rely on both.
    "secs": OptionType(span_s, str, float, ordered=True),
    "millisecs": OptionType(_short(lambda text: _whole(text, UINT64)), str, float, ordered=True),
    "addr": OptionType(_short(_address), str, str),
    "addrvec": OptionType(_short(_addresses, ADDRESSES_MAX * CHARS_MAX), str, str),
    "uuid": OptionType(_short(_uuid), str, str),
}


def option_type(name: str) -> OptionType:
    """Return the type called ``name``; for an unknown name ``str``, as modules expect."""
    return OPTION_TYPES.get(name, _PLAIN)
