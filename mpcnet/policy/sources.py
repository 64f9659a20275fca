"""The files that make a program, and a digest of them.

A script counts with the modules and packages that stand beside it and that it imports by name; an
app counts with the package that its class is in, and with what it imports of the packages around
that one. What is installed elsewhere is not covered, and
neither is what a program imports by a name that it makes up while it runs.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
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
    """The module of a class; if that is in a package, all of it, and what that imports around it.

    Raises:
        AppError: it is in no file, or a file of it cannot be read.
    """
    module = sys.modules.get(type_.__module__)
    if module is None or module.__file__ is None:
        raise AppError(f"{type_.__module__} is in no file, so it has no digest")
    file = Path(module.__file__).resolve()
    if not module.__package__:
        return [file]
    outermost = file.parents[module.__package__.count(".")]

    def around(place: Path) -> list[Path]:
        inside = place.is_relative_to(outermost)
        return [place.with_name(f"{place.name}.py"), place / "__init__.py"] if inside else []

    return _with_imports(file.parent.rglob("*.py"), outermost.parent, around)


def script_sources(script: Path) -> list[Path]:
    """A script, and the modules beside it that it, or one of them, imports.

    Raises:
        AppError: one of them cannot be read, or is no Python.
    """
    script = script.resolve()
    folder = script.parent

    def beside(place: Path) -> list[Path]:
        if not place.is_relative_to(folder):
            return []
        top = folder / place.relative_to(folder).parts[0]
        return [top.with_name(f"{top.name}.py"), *top.rglob("*.py")]

    return _with_imports([script], folder, beside)


def _with_imports(
    files: Iterable[Path], root: Path, sources: Callable[[Path], Iterable[Path]]
) -> list[Path]:
    """Files, and the sources of all that they and those import."""
    found = set(files)
    waiting = sorted(found)
    while waiting:
        for place in _imported(waiting.pop(), root):
            new = {path for path in sources(place) if path.is_file()} - found
            found |= new
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


def _imported(file: Path, root: Path) -> Iterator[Path]:
    """Where below the root all stands that is imported in a file, without its suffix."""
    try:
        tree = ast.parse(_read(file))
    except (SyntaxError, ValueError) as error:
        raise AppError(f"{file.name} is no Python script: {error}") from None
    for node in ast.walk(tree):
        names: list[str] = []
        base = root
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[node.level - 1] if node.level else root
            module = [node.module] if node.module is not None else []
            names = [".".join([*module, alias.name]) for alias in node.names]
        for name in names:
            parts = name.split(".")
            # Whoever imports a.b.c runs a and a.b as well.
            yield from (base.joinpath(*parts[: i + 1]) for i in range(len(parts)))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise AppError(f"{file}: {error.strerror}") from None
