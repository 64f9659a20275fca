"""TOML tables: from a file to a checked Struct, and from plain values to text."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from mpcnet.errors import ConfigError

__all__ = ["convert_table", "read_toml", "render_toml"]

T = TypeVar("T", bound=msgspec.Struct)

_PLACE: Final = re.compile(r"^(?P<why>.*) - at `\$(?P<path>.*)`$", re.DOTALL)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_WORDS: Final = {"object": "a table", "array": "an array", "str": "a text", "bool": "true or false"}


def read_toml(file: Path) -> dict[str, Any]:
    """The document in a TOML file.

    Raises:
        ConfigError: it cannot be read, or is not TOML; then with the line.
    """
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise ConfigError(file, "", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(file, "", "is not a TOML file: it is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, "", f"is not a TOML file: {error}") from None


def convert_table(file: Path, prefix: str, table: Mapping[str, object], type_: type[T]) -> T:
    """A table as the Struct that describes it.

    Args:
        file: where it comes from. Fields of type `Path` are taken relative to its folder.
        prefix: dotted path of the table in the file, or "" for the whole document.
        type_: a frozen Struct; every key that it does not know is refused.

    Raises:
        ConfigError: a key is unknown, missing, or of the wrong type or value; names the key.
    """
    for path, why in _wrong_keys(prefix, table, inspect.type_info(type_)):
        raise ConfigError(file, path, why)

    def convert_path(wanted: type, value: object) -> object:
        if wanted is not Path:
            raise TypeError(f"{wanted.__name__} cannot stand in a configuration")
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError("needs the path of a file, as a text")
        return file.parent / value

    try:
        return msgspec.convert(dict(table), type_, dec_hook=convert_path)
    except msgspec.ValidationError as error:
        raise _as_config_error(file, prefix, str(error)) from None


def _wrong_keys(prefix: str, value: object, type_: inspect.Type) -> Iterator[tuple[str, str]]:
    """Path and complaint of each key of `value` that is unknown or missing."""
    if isinstance(type_, inspect.UnionType):
        for option in type_.types:
            yield from _wrong_keys(prefix, value, option)
    elif isinstance(type_, inspect.VarTupleType | inspect.ListType) and isinstance(value, list):
        for place, item in enumerate(value):
            yield from _wrong_keys(f"{prefix}[{place}]", item, type_.item_type)
    elif isinstance(type_, inspect.StructType) and isinstance(value, Mapping):
        fields = {field.encode_name: field for field in type_.fields}
        for key in value:
            if key not in fields:
                yield _join(prefix, key), _unknown(key, list(fields))
        for name, field in fields.items():
            if name in value:
                yield from _wrong_keys(_join(prefix, name), value[name], field.type)
            elif field.required:
                yield _join(prefix, name), "is missing"


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _unknown(key: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if nearest:
        return f"is an unknown key; did you mean {nearest[0]!r}?"
    return f"is an unknown key; known here are {', '.join(known) or 'none'}"


def _as_config_error(file: Path, prefix: str, message: str) -> ConfigError:
    """The error of a conversion, with the key in front where its text tells it."""
    match = _PLACE.match(message)
    path = match["path"].removeprefix(".") if match else ""
    why = match["why"] if match else message
    for word, plain in _WORDS.items():
        why = why.replace(f"`{word}`", plain)
    return ConfigError(
        file, _join(prefix, path) if path else prefix, why[:1].lower() + why[1:].replace("`", "")
    )


def render_toml(document: Mapping[str, object]) -> str:
    """A document as TOML text that `read_toml` reads back as the same values.

    Args:
        document: text, numbers, booleans, paths, and lists and tables of them. None is left out,
            because TOML has no word for it.

    Raises:
        TypeError: a value of another kind.
    """
    return "".join(
        f"{_key(key)} = {_value(value)}\n" for key, value in document.items() if value is not None
    )


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    # JSON's escapes are TOML's too, but for DEL, which JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return _text(str(value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return "{" + ", ".join(pairs) + "}"
    raise TypeError(f"{type(value).__name__} cannot stand in a configuration")
