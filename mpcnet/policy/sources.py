"""The files that make a program, and a digest of them.

A script counts with the modules and packages that stand beside it and that it imports by name; an
app counts with the outermost package that its class is in. What is installed elsewhere is not
covered, and neither is what a program imports by a name that it makes up while it runs.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from mpcnet.errors import AppError

__all__ = ["digest_of", "installed_digest", "package_sources", "script_sources"]

_OWN = ("transports", "protocols", "mpcnet")


def digest_of(files: Iterable[Path]) -> str:
    """Of what is in the files and of their names below the folder that they have in common.

    Raises:
        AppError: one of them cannot be read.
    """
    paths = sorted(files)
    parents = [len(path.parents) for path in paths]
    folder = next(
        parent
        for parent in paths[parents.index(min(parents))].parents
        if all(path.is_relative_to(parent) for path in paths)
    )
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        whole.update(hashlib.sha256(_read(path)).digest())
    return f"sha256:{whole.hexdigest()}"


def package_sources(type_: type) -> list[Path]:
    """The module of a class, with all of the outermost package that it is in, if it is in one.

    So other apps count that this one imports from there.

    Raises:
        AppError: it is in no file.
    """
    module = sys.modules.get(type_.__module__)
    if module is None or module.__file__ is None:
        raise AppError(f"{type_.__module__} is in no file, so it has no digest")
    file = Path(module.__file__).resolve()
    if not module.__package__:
        return [file]
    folder = file.parent
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return sorted(folder.rglob("*.py"))


def script_sources(script: Path) -> list[Path]:
    """A script, and the modules beside it that it, or one of them, imports.

    Raises:
        AppError: one of them cannot be read, or is no Python.
    """
    script = script.resolve()
    folder, found, waiting = script.parent, {script}, [script]
    while waiting:
        for name in _imported(waiting.pop()):
            beside = [folder / f"{name}.py", *sorted((folder / name).rglob("*.py"))]
            new = [path for path in beside if path.is_file() and path not in found]
            found.update(new)
            waiting += new
    return sorted(found)


def installed_digest() -> str:
    """Of mpcnet itself, as it is installed here."""
    files: list[Path] = []
    for package in _OWN:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            files += Path(spec.origin).parent.rglob("*.py")
    return digest_of(files)


def _imported(file: Path) -> Iterator[str]:
    """Of all that is imported in a file the first part of its name."""
    try:
        tree = ast.parse(_read(file))
    except (SyntaxError, ValueError) as error:
        raise AppError(f"{file.name} is no Python script: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module is not None:
                yield node.module.partition(".")[0]
            yield from (alias.name for alias in node.names if node.level)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise AppError(f"{file}: {error.strerror}") from None
