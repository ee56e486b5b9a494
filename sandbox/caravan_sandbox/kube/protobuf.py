"""Protobuf bodies of the few kinds that kubectl (from 1.32) sends that way; everything else has to come as JSON. Pure.

The schemas name the fields the sandbox reads, with kube's own numbers; fields they don't name are skipped.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding and `generated.proto` of
k8s.io/api/{core,rbac,authorization}/v1 and k8s.io/apimachinery/pkg/apis/meta/v1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"


class UnreadableProtobuf(ValueError):
    """The body is not such an object, or of a kind without a schema here."""


class _Shape(Enum):
    TEXT = "text"
    MAP = "map"


@dataclass(frozen=True)
class _Field:
    name: str
    shape: "_Shape | _Schema" = _Shape.TEXT
    repeated: bool = False


_Schema = Mapping[int, _Field]

_METADATA: _Schema = {
    1: _Field("name"),
    2: _Field("generateName"),
    3: _Field("namespace"),
    11: _Field("labels", _Shape.MAP),
    12: _Field("annotations", _Shape.MAP),
}
_SUBJECT: _Schema = {1: _Field("kind"), 2: _Field("apiGroup"), 3: _Field("name"), 4: _Field("namespace")}
_ROLE_REF: _Schema = {1: _Field("apiGroup"), 2: _Field("kind"), 3: _Field("name")}
_BINDING: _Schema = {
    1: _Field("metadata", _METADATA),
    2: _Field("subjects", _SUBJECT, repeated=True),
    3: _Field("roleRef", _ROLE_REF),
}
_RESOURCE_ATTRIBUTES: _Schema = {
    1: _Field("namespace"),
    2: _Field("verb"),
    3: _Field("group"),
    4: _Field("version"),
    5: _Field("resource"),
    6: _Field("subresource"),
    7: _Field("name"),
}
_ACCESS_SPEC: _Schema = {
    1: _Field("resourceAttributes", _RESOURCE_ATTRIBUTES),
    2: _Field("nonResourceAttributes", {1: _Field("path"), 2: _Field("verb")}),
}
_SCHEMAS: Mapping[str, _Schema] = {
    "Namespace": {1: _Field("metadata", _METADATA)},
    "ClusterRoleBinding": _BINDING,
    "RoleBinding": _BINDING,
    "SelfSubjectAccessReview": {1: _Field("metadata", _METADATA), 2: _Field("spec", _ACCESS_SPEC)},
    "SelfSubjectRulesReview": {1: _Field("metadata", _METADATA), 2: _Field("spec", {1: _Field("namespace")})},
    "SelfSubjectReview": {1: _Field("metadata", _METADATA)},
}
_UNKNOWN: _Schema = {1: _Field("typeMeta", {1: _Field("apiVersion"), 2: _Field("kind")})}  # runtime.Unknown
_RAW = 2  # runtime.Unknown's field with the object itself


def decode(body: bytes) -> dict[str, Any]:
    """The object as its JSON would read. Raises UnreadableProtobuf."""
    if not body.startswith(MAGIC):
        raise UnreadableProtobuf("the body does not begin as Kubernetes' protobuf does")
    envelope = body[len(MAGIC) :]
    kind = str(_message(envelope, _UNKNOWN).get("typeMeta", {}).get("kind"))
    schema = _SCHEMAS.get(kind)
    if schema is None:
        raise UnreadableProtobuf(f"the sandbox reads a {kind} as JSON only")
    raw = b"".join(value for number, value in _fields(envelope) if number == _RAW)
    return _message(raw, schema)


def _message(data: bytes, schema: _Schema) -> dict[str, Any]:
    message: dict[str, Any] = {}
    for number, value in _fields(data):
        field = schema.get(number)
        if field is None:
            continue
        if field.shape is _Shape.MAP:
            entry = _message(value, {1: _Field("key"), 2: _Field("value")})
            message.setdefault(field.name, {})[entry.get("key", "")] = entry.get("value", "")
            continue
        decoded = _text(value) if isinstance(field.shape, _Shape) else _message(value, field.shape)
        if field.repeated:
            message.setdefault(field.name, []).append(decoded)
        elif decoded != "":  # what JSON leaves out, protobuf writes as the empty text
            message[field.name] = decoded
    return message


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise UnreadableProtobuf("a text is not UTF-8") from error


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(field number, bytes) of every length-delimited field; numbers are skipped, no schema here has any."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            _, position = _varint(data, position)
            continue
        if wire_type != 2:
            raise UnreadableProtobuf(f"wire type {wire_type}")
        length, position = _varint(data, position)
        if position + length > len(data):
            raise UnreadableProtobuf("the body ends in the middle of a field")
        yield number, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
    raise UnreadableProtobuf("the body ends in the middle of a number")
