"""The limits in a configuration's [link] table: what is refused, and that they hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mpcnet.agreed import configuration_text
from mpcnet.config import Config, load_config
from mpcnet.errors import ConfigError
from mpcnet.runtime import run_dealer
from tests.transports.pairs import unused_port
from transports import Address, Exchange, Hello, LimitError, Limits, open_mesh

DEALER = 2


def configured(folder: Path, *lines: str) -> Config:
    """The dealer's, with lines in its [link] table."""
    ports = [unused_port() for _ in range(2)]
    text = f"""
session = "limits"
name = "dealer"
[[parties]]
name = "anna"
[[parties]]
name = "boris"
url = "tcp://127.0.0.1:{ports[0]}"
[dealer]
name = "dealer"
url = "tcp://127.0.0.1:{ports[1]}"
[link]
plaintext = true
"""
    path = folder / "dealer.toml"
    path.write_text("\n".join([text, *lines, ""]))
    return load_config(path)


def test_defaults_are_those_of_the_transports(tmp_path: Path) -> None:
    link = configured(tmp_path).link
    assert link.max_frame_bytes == Limits().max_frame_bytes
    assert link.max_buffered_bytes == Limits().max_buffered_bytes


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("max_buffered_bytes = 65535",), ">= 65536"),
        (("max_buffered_bytes = 65536",), "max_frame_bytes"),
        (("max_buffered_bytes = 65536", "max_frame_bytes = 65537"), "max_frame_bytes"),
    ],
)
def test_too_little_to_buffer_is_refused(tmp_path: Path, lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, *lines)
    assert caught.value.key == "link.max_buffered_bytes"
    assert why in caught.value.why


async def opened(config: Config, rank: int) -> Exchange:
    """The link layer of a party that agrees to all that the dealer has."""
    places = [Address(r, each.name, each.url) for r, each in enumerate(config.participants)]
    hello = Hello(
        rank=rank,
        party=places[rank].name,
        session=config.session,
        configuration=configuration_text(config.agreed()),
        program="p",
    )
    peers = [place for place in places if place.rank != rank]
    return await open_mesh(places[rank], peers, hello=hello, plaintext=True)


async def test_a_peer_may_send_so_much_ahead_and_no_more(tmp_path: Path) -> None:
    config = configured(tmp_path, "max_frame_bytes = 65536", "max_buffered_bytes = 100000")
    dealing = asyncio.create_task(run_dealer(config, lambda name, fields: None))
    anna, boris = await asyncio.gather(opened(config, 0), opened(config, 1))
    anna.post(DEALER, b"a" * 16, bytes(60_000))
    await anna.drained()
    await asyncio.sleep(0.05)
    assert not dealing.done()
    anna.post(DEALER, b"b" * 16, bytes(60_000))
    with pytest.raises(LimitError, match=r"100,?000"):
        await dealing
    await asyncio.gather(anna.close(), boris.close())
