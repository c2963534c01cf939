"""How the values of single types are read and written in a whole pool: TypeCodec, json=, numeric=, vector=.

The C part is told once, when the pool is made; a connection needs no set-up and no query. What a session is told by
Connection.set_type_codec() wins over it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from holisticpool import _core
from holisticpool.check import FORMATS
from holisticpool.exceptions import ClientConfigurationError

__all__ = ("CodecChoice", "TypeCodec", "codec_choices")

# schema or None for any, type, form, encoder, decoder, codec it is like: what the C part takes.
CodecChoice = tuple[str | None, str, str, Any, Any, str | None]


@dataclass(frozen=True)
class TypeCodec:
    """How values of a type, and of arrays, ranges and composite types of it, are read and written in a pool.

    typename, schema: which type, as in Connection.set_type_codec(); schema None is any schema.
    encoder, decoder, format: the functions and what they exchange, as there.
    codec_name: in place of functions, the built-in codec to use, as in
        Connection.set_builtin_type_codec(): "pg_contrib.hstore", or a type's name.
    """

    typename: str
    schema: str | None = "public"
    encoder: Callable[[Any], Any] | None = None
    decoder: Callable[[Any], Any] | None = None
    format: str = "text"
    codec_name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.typename, str) or not (self.schema is None or isinstance(self.schema, str)):
            raise ClientConfigurationError("TypeCodec: typename and schema are expected to be str")
        if self.format not in FORMATS:
            raise ClientConfigurationError(
                f"TypeCodec: format is expected to be one of {', '.join(FORMATS)}, got {self.format!r}"
            )
        functions = (self.encoder, self.decoder)
        if self.codec_name is None:
            if not all(callable(function) for function in functions):
                raise ClientConfigurationError(
                    f"TypeCodec({self.typename!r}): expected encoder and decoder, both callable, or codec_name"
                )
        elif functions != (None, None):
            raise ClientConfigurationError(f"TypeCodec({self.typename!r}): either functions or codec_name")
        elif not _core.has_codec(self.codec_name):
            raise ClientConfigurationError(f"TypeCodec({self.typename!r}): there is no codec named {self.codec_name!r}")

    def _choice(self) -> CodecChoice:
        typename = self.typename.lower() if self.schema == "pg_catalog" else self.typename
        if self.codec_name is not None:
            return (self.schema, typename, "like", None, None, self.codec_name)
        return (self.schema, typename, self.format, self.encoder, self.decoder, None)


def codec_choices(
    *, json: object = None, numeric: object = None, vector: object = None, type_codecs: object = None
) -> tuple[list[CodecChoice], bool]:
    """What the C part is to be told: choices, and whether vectors come as lists; see create_pool() for the parameters.

    Raises ClientConfigurationError (a ValueError) for what they do not take.
    """
    choices = _json_choices(json)
    if numeric == "float":
        choices.append(("pg_catalog", "numeric", "float", None, None, None))
    elif numeric not in (None, "decimal"):
        raise ClientConfigurationError(f"numeric is expected to be 'decimal' or 'float', got {numeric!r}")
    if vector not in (None, "text", "list"):
        raise ClientConfigurationError(f"vector is expected to be 'text' or 'list', got {vector!r}")
    if type_codecs is not None:
        if not isinstance(type_codecs, Iterable) or isinstance(type_codecs, (str, bytes)):
            raise ClientConfigurationError(f"type_codecs is expected to be a list of TypeCodec, got {type_codecs!r}")
        for codec in type_codecs:
            if not isinstance(codec, TypeCodec):
                raise ClientConfigurationError(f"type_codecs is expected to be a list of TypeCodec, got {codec!r}")
            choices.append(codec._choice())
    return choices, vector == "list"


def _json_choices(json: object) -> list[CodecChoice]:
    if json is None or json == "text":
        return []
    if json == "stdlib":
        import json as stdlib_json

        form, encoder, decoder = "json", stdlib_json.dumps, stdlib_json.loads
    elif json == "orjson":
        form = "json-bytes"
        encoder, decoder = _orjson()
    elif isinstance(json, (tuple, list)) and len(json) == 2 and all(callable(function) for function in json):
        form, (encoder, decoder) = "json", json
    else:
        raise ClientConfigurationError(
            f"json is expected to be 'text', 'stdlib', 'orjson' or a pair (encoder, decoder), got {json!r}"
        )
    return [("pg_catalog", name, form, encoder, decoder, None) for name in ("json", "jsonb")]


def _orjson() -> tuple[Any, Any]:
    try:
        orjson = importlib.import_module("orjson")
    except ImportError as error:
        raise ClientConfigurationError(
            "json='orjson' needs the package orjson: pip install 'holisticpool[orjson]', or use json='stdlib'"
        ) from error
    return orjson.dumps, orjson.loads
