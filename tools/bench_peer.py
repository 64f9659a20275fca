"""The other process of a benchmark: serves one link until its standard input ends.

Started by `tools.bench_transports`; reads a plan, then commands, one JSON line each.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from types import TracebackType
from typing import IO, Any, Self

from tools.bench_links import Link, Plan, open_link
from transports import Identity

__all__ = ["Pair", "main"]


class Pair:
    """A link with its other side in a process of its own; a context manager.

    Args:
        kind: of link, see `Plan`.
        scheme: of the URL, for an exchange.
        identities: of both sides, for TLS.
    """

    def __init__(self, kind: str, scheme: str = "tcp", identities: tuple[Identity, ...] = ()):
        with socket.create_server(("127.0.0.1", 0)) as found:
            port: int = found.getsockname()[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.bench_peer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell(
            kind=kind,
            scheme=scheme,
            port=port,
            identities=[
                [who.name, who.key_pem.decode(), who.certificate_pem.decode()] for who in identities
            ],
        )
        self.link: Link = open_link(Plan(kind, scheme, 0, port, identities))
        self._hear()

    def run(self, ours: str, theirs: str, size: int, count: int) -> dict[str, int]:
        """Both sides of one run, such as "push" and "pull"; returns what the other side counted."""
        self.begin(theirs, size, count)
        getattr(self.link, ours)(size, count)
        return self.end()

    def begin(self, theirs: str, size: int, count: int) -> None:
        """The other side starts; returns when it has."""
        self._tell(do=theirs, size=size, count=count)
        self._hear()

    def end(self) -> dict[str, int]:
        """What the other side counted, when it is through."""
        counted: dict[str, int] = self._hear()
        return counted

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        else:
            self._tell(do="close", size=0, count=0)
            self.link.close()
        stdin, stdout = self._pipes()
        stdin.close()
        self._process.wait()
        stdout.close()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the other process has no pipes")
        return self._process.stdin, self._process.stdout

    def _tell(self, **fields: Any) -> None:
        stdin, _ = self._pipes()
        stdin.write(json.dumps(fields) + "\n")
        stdin.flush()

    def _hear(self) -> Any:
        line = self._pipes()[1].readline()
        if not line:
            raise RuntimeError("the other process has ended; its error stands above")
        return json.loads(line)


def main() -> None:
    """Connect, then do what each line says."""
    given = json.loads(sys.stdin.readline())
    identities = tuple(
        Identity(name, key.encode(), certificate.encode())
        for name, key, certificate in given["identities"]
    )
    link = open_link(Plan(given["kind"], given["scheme"], 1, given["port"], identities))
    _say({})
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "close":
            break
        _say({})
        before = link.frames_sent
        getattr(link, command["do"])(command["size"], command["count"])
        _say({"frames": link.frames_sent - before})
    link.close()


def _say(fields: dict[str, int]) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
