"""The status pages of all participants, looked at while they compute."""

from __future__ import annotations

import asyncio
import itertools
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import torch

from mpcnet import runtime
from mpcnet.app import DemoPlan, Events
from mpcnet.config import load_config
from mpcnet.demo import lay_out
from mpcnet.runtime import run_dealer, run_party
from mpcnet.session import Session
from tests.mpcnet.tiny_app import Tiny, TinySettings
from tests.transports.pairs import unused_port
from tests.transports.test_status import values

NUMBERS = (0.84375, -1.59375, 3.65625)  # what no page may show
WEIGHTS = (2.71875, 1.40625, 0.57375)
RANKS = {"numbers": 0, "weights": 1, "dealer": 2}
NO_STORE = len(b'{"shapes":null,"batches":null}')
SENT = {
    # three masked values, a share; a key for the two; that there is no store
    ("numbers", "weights"): (24 + 8, 32 + NO_STORE),
    ("weights", "numbers"): (24 + 8, NO_STORE),
    ("numbers", "dealer"): (0, 32),  # a key
    ("dealer", "numbers"): (0, 0),
    ("dealer", "weights"): (0, 8),  # the correction of the product
}
"""Payload bytes that are sent until the pause: online, offline."""


class Paused(Tiny):
    """A product, then a pause in which everybody is looked at, then its rectifier."""

    def __init__(self) -> None:
        self.there = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def run(self, session: Session, settings: TinySettings, events: Events) -> Any:
        first = session.rank == 0
        own = torch.tensor([settings.values])
        x = session.share(own if first else None, owner=0, shape=(1, 3))
        w = session.share(None if first else own.T, owner=1, shape=(3, 1))
        await session.prepared()
        product = x @ w
        before = (await product.reveal()).item()
        self.there.release()
        await self.go_on.wait()
        return [before, (await torch.relu(-product).reveal()).item()]


async def looked(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(f"{url}/health") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")
    async with http.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        return await answer.text()


def configured(folder: Path, transport: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Configurations of all participants, each with a port for its pages."""
    settings = {
        "numbers": {"size": 3, "values": NUMBERS},
        "weights": {"size": 3, "values": WEIGHTS},
    }
    plan = DemoPlan(parties=["numbers", "weights"], settings=settings)
    configs, urls = {}, {}
    for name, file in lay_out(plan, "tiny", folder, transport).items():
        place = f"127.0.0.1:{unused_port()}"
        file.write_text(f'{file.read_text()}\n[status]\nlisten = "{place}"\n')
        configs[name], urls[name] = load_config(file), f"http://{place}"
    return configs, urls


@pytest.mark.parametrize("transport", ["tcp", "wss"])
async def test_pages_in_the_middle_of_a_run(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Paused()
    monkeypatch.setattr(runtime, "load_app", lambda name: app)
    configs, urls = configured(tmp_path, transport)
    told: list[tuple[str, dict[str, Any]]] = []
    running = [
        asyncio.create_task(run(config, lambda name, fields: told.append((name, fields))))
        for config, run in zip(configs.values(), (run_party, run_party, run_dealer), strict=True)
    ]
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            await app.there.acquire()
        middle = {name: await looked(http, url) for name, url in urls.items()}
        still = {name: await looked(http, url) for name, url in urls.items()}
        app.go_on.set()
        outcomes = await asyncio.gather(*running)
        for url in urls.values():
            with pytest.raises(aiohttp.ClientConnectorError):
                await looked(http, url)
    product = sum(a * b for a, b in zip(NUMBERS, WEIGHTS, strict=True))
    for outcome in outcomes[:2]:
        assert outcome["result"] == pytest.approx([product, max(-product, 0)], abs=1e-3)
    check_figures({name: values(text) for name, text in middle.items()}, outcomes)
    for text in (*middle.values(), *still.values()):
        check_nothing_else(text, tmp_path)


def check_figures(pages: dict[str, dict[str, float]], outcomes: list[dict[str, Any]]) -> None:
    """What one says it sent the other says it received; and it is what this program sends."""

    def shown(name: str, peer: str, what: str, way: str, more: str = "") -> float:
        return pages[name][f'mpcnet_link_{what}_total{{peer="{peer}",direction="{way}"{more}}}']

    for name, peer in itertools.permutations(pages, 2):
        assert pages[name]["mpcnet_links"] == 2
        assert pages[name][f'mpcnet_link_reconnects_total{{peer="{peer}"}}'] == 0
        assert pages[name][f'mpcnet_link_round_trip_seconds{{peer="{peer}"}}'] > 0
        sent = shown(name, peer, "messages", "sent")
        assert sent == shown(peer, name, "messages", "received")
        payload = []
        for phase in (',phase="online"', ',phase="offline"'):
            payload.append(shown(name, peer, "payload_bytes", "sent", phase))
            assert payload[-1] == shown(peer, name, "payload_bytes", "received", phase)
        if (name, peer) in SENT:
            assert tuple(payload) == SENT[name, peer]
        for unit in ("bytes", "frames"):
            counted = shown(name, peer, unit, "sent")
            assert 0 < counted <= outcomes[RANKS[name]]["traffic"][peer][unit]
            if "dealer" not in (name, peer):
                assert counted < outcomes[RANKS[name]]["traffic"][peer][unit]


LINE = re.compile(
    r"# (HELP|TYPE) mpcnet_[a-z_]+ [A-Za-z :;,.'()]+"
    r'|mpcnet_[a-z_]+(\{peer="(numbers|weights|dealer)"(,direction="(sent|received)")?'
    r'(,phase="(online|offline)")?\})? [0-9.e-]+'
)


def check_nothing_else(text: str, folder: Path) -> None:
    """Names of peers, counts and times; no value, no key, no file."""
    for line in text.splitlines():
        assert LINE.fullmatch(line), line
    for number in (*NUMBERS, *WEIGHTS):
        assert str(abs(number)) not in text
    for file in folder.iterdir():
        assert str(file) not in text
        for line in file.read_text().splitlines():
            assert len(line) < 40 or line not in text
