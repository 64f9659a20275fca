"""Health and metrics: what they say, to whom, and where."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest

from tests.transports.pairs import local_exchanges, securities, unused_port
from transports import AddressError, Limits, LinkStats
from transports.base import Security
from transports.registry import transport_for
from transports.status import METRICS_TYPE, StatusPages
from transports.status_server import StatusServer
from transports.tls import client_context

TAG = b"tag of the test."
LIMITS = Limits()
SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?P<labels>\{[^}]*\})? (?P<value>[0-9.e-]+)")


def values(text: str) -> dict[str, float]:
    """Samples by name and labels; every line has to be one, or a comment."""
    found: dict[str, float] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if not line.startswith("# "):
            sample = SAMPLE.fullmatch(line)
            assert sample is not None
            found[sample["name"] + (sample["labels"] or "")] = float(sample["value"])
    return found


async def test_metrics_are_the_counters_of_the_links() -> None:
    pages = StatusPages()
    async with local_exchanges(3) as exchanges:
        me = exchanges[0]
        pages.watch(me.names, lambda: me.stats)
        me.post(1, TAG, bytes(1000))
        me.post(2, TAG, bytes(500), offline=True)
        await exchanges[1].take(0, TAG)
        await exchanges[2].take(0, TAG)
        page = pages.page("/metrics")
        assert page is not None
        found = values(page.text)
        sent = found['mpcnet_link_bytes_total{peer="p1",direction="sent"}']
        assert sent == me.stats[1].bytes_sent
    payload = 'mpcnet_link_payload_bytes_total{peer="%s",direction="%s",phase="%s"}'
    assert found["mpcnet_links"] == 2
    assert found['mpcnet_link_reconnects_total{peer="p1"}'] == 0
    assert found['mpcnet_link_round_trip_seconds{peer="p1"}'] > 0
    assert found[payload % ("p1", "sent", "online")] == 1000
    assert found[payload % ("p1", "sent", "offline")] == 0
    assert found[payload % ("p2", "sent", "offline")] == 500
    assert found[payload % ("p2", "received", "online")] == 0
    assert found['mpcnet_link_messages_total{peer="p1",direction="sent"}'] == 1
    assert found['mpcnet_link_frames_total{peer="p1",direction="received"}'] >= 1


def test_each_metric_is_declared_once_before_its_samples() -> None:
    pages = StatusPages()
    pages.watch({1: "a", 2: "b"}, lambda: {1: LinkStats(), 2: LinkStats()})
    page = pages.page("/metrics")
    assert page is not None
    declared: list[str] = []
    for line in page.text.splitlines():
        if line.startswith("# TYPE "):
            declared.append(line.split()[2])
        elif not line.startswith("# "):
            assert re.split(r"[{ ]", line)[0] == declared[-1]
    assert len(declared) == len(set(declared)) == 10


def test_names_are_escaped_and_other_pages_are_not_there() -> None:
    pages = StatusPages()
    before = pages.page("/metrics")
    assert before is not None
    assert values(before.text)["mpcnet_links"] == 0
    pages.watch({1: 'a"\\\n'}, lambda: {1: LinkStats()})
    page = pages.page("/metrics")
    assert page is not None
    assert r'{peer="a\"\\\n",' in page.text
    assert pages.page("/") is None
    assert pages.page("/metrics/") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_port_of_their_own(host: str) -> None:
    server = await StatusServer.open(f"{host}:{unused_port()}", StatusPages())
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{server.url}/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith(METRICS_TYPE)
            assert values(await answer.text())["mpcnet_links"] == 0
        async with http.get(f"{server.url}/health") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        async with http.post(f"{server.url}/metrics") as answer:
            assert answer.status == 405
        async with http.get(f"{server.url}/") as answer:
            assert answer.status == 404
    await server.close()


async def test_a_taken_port_is_said() -> None:
    place = f"127.0.0.1:{unused_port()}"
    server = await StatusServer.open(place, StatusPages())
    with pytest.raises(AddressError, match="in use"):
        await StatusServer.open(place, StatusPages())
    await server.close()


async def test_the_port_of_wss_shows_them_to_peers_only() -> None:
    ours, theirs = securities()
    strangers: list[str] = []
    url = f"wss://127.0.0.1:{unused_port()}/party"
    listener = await transport_for(url).listen(
        url, theirs, LIMITS, lambda c: c.abort(), lambda who, why: strangers.append(why)
    )
    page = url.replace("wss://", "https://").replace("/party", "/metrics")
    async with aiohttp.ClientSession() as http:
        async with http.get(page, ssl=client_context(ours)) as answer:
            assert values(await answer.text())["mpcnet_links"] == 0
        with pytest.raises(aiohttp.ClientError):
            await http.get(page, ssl=False)
    while not strangers:  # noqa: ASYNC110 - a list, not an event
        await asyncio.sleep(0.01)
    await listener.close()


async def test_the_port_of_ws_shows_them_to_anybody() -> None:
    url = f"ws://127.0.0.1:{unused_port()}/party"
    listener = await transport_for(url).listen(
        url, Security(plaintext=True), LIMITS, lambda c: c.abort(), lambda who, why: None
    )
    async with aiohttp.ClientSession() as http:
        page = url.replace("ws://", "http://").replace("/party", "/metrics")
        async with http.get(page) as answer:
            assert values(await answer.text())["mpcnet_links"] == 0
    await listener.close()
