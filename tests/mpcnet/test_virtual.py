"""A private network over a slow link in virtual time: as fast as its arithmetic, and on time."""

import asyncio
import math
import time
from typing import Any

import torch
from torch import nn

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.dealer import Dealer
from protocols.device import Device
from protocols.fixedpoint import SCALE_BITS
from protocols.party import Party
from tests.transports.pairs import hello_of
from transports import Address, Exchange, open_mesh
from transports.costs import Costs, Measured, Recorded
from transports.profile import parse_profile
from transports.simulate import Simulated, virtual_run

NAMES = ("speaker", "model")


async def infer(session: Session) -> dict[str, Any]:
    """A private model on a private input; seconds from the moment at which the input is there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
        x = torch.randn(3, 20)
    with torch.no_grad():
        clear = model(x)
    private = session.private(model, owner="model")
    loop = asyncio.get_running_loop()
    slot: asyncio.Future[torch.Tensor] = loop.create_future()
    mine = session.rank == 0
    shared = session.share(slot if mine else None, owner="speaker", shape=(3, 20))
    y = private(shared).reveal()
    await session.prepared()
    begun = loop.time()
    if mine:
        slot.set_result(x)
    error = (await y - clear).abs().max()
    return {"seconds": loop.time() - begun, "rounds": session.rounds, "error": float(error)}


def simulated(network: str, costs: Costs) -> Simulated[Any]:
    """Two parties and a dealer, all behind the same kind of link."""
    names = (*NAMES, "dealer")
    places = [Address(rank, name, f"mem://{name}?net={network}") for rank, name in enumerate(names)]

    async def participant(me: Address) -> Any:
        peers = [place for place in places if place is not me]
        quiet = {"heartbeat_s": math.inf, "silence_timeout_s": math.inf}
        exchange = await open_mesh(me, peers, hello=hello_of(me), **quiet)
        device = Device(exchange.holding)
        try:
            result = await (dealt if me.rank == 2 else computed)(exchange, device)
            await exchange.drained()
        finally:
            device.close()
        await exchange.close()
        return result

    starts = {place.name: lambda place=place: participant(place) for place in reversed(places)}
    return virtual_run(starts, costs=costs)


async def dealt(exchange: Exchange, device: Device) -> None:
    await Dealer(exchange, 2, device).serve()


async def computed(exchange: Exchange, device: Device) -> Any:
    party = Party(exchange, exchange.rank, 2, device)
    await party.join()
    suite = AdditiveSuite(party, SCALE_BITS)
    try:
        session = Session(suite, NAMES)
        result = await session.run(infer)
        await session.barrier()
    finally:
        await suite.close()
    party.leave()
    return result


def test_a_private_network_over_a_satellite() -> None:
    profile = parse_profile("satellite,jitter=0,loss=0")
    simulated(profile.text, Measured())  # compiles what is compiled at its first use
    costs = Measured()
    begun = time.perf_counter()
    run = simulated(profile.text, costs)
    assert time.perf_counter() - begun < 5  # about one tenth of a second, if nothing else runs
    speaker = run.results["speaker"]
    assert speaker["error"] < 1e-4
    links_s = speaker["rounds"] * profile.there.delay_s
    computing_s = sum(map(sum, costs.recording.values()))
    sending_s = 0.2  # some ten kilobytes at 5 Mbit/s
    assert speaker["rounds"] >= 5
    assert links_s <= speaker["seconds"] <= links_s + sending_s + computing_s
    assert run.seconds > speaker["seconds"] + 4 * profile.there.delay_s


def test_a_recorded_run_is_repeated_exactly() -> None:
    costs = Measured()
    simulated("satellite", costs)
    first, second = (simulated("satellite", Recorded(costs.recording)) for _ in range(2))
    assert first.ended == second.ended
    assert [r and r["seconds"] for r in first.results.values()] == [
        r and r["seconds"] for r in second.results.values()
    ]
