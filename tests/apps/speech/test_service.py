"""Live speech as a service: what its clients meet when participants stop, break, or come back."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import torch

import mpcnet
from apps.speech.decoding import greedy_decode
from apps.speech.live import service
from apps.speech.live.capture import Block
from apps.speech.live.desk import Desk
from apps.speech.live.feed import Utterance
from apps.speech.live.meter import Meter
from apps.speech.live.steps import follow
from apps.speech.live.switchboard import Heard, Pace, Refusal, Switchboard, _Flight
from apps.speech.program import LiveSettings
from mpcnet import Session
from mpcnet.app import DemoPlan
from mpcnet.config import load_config
from mpcnet.demo import lay_out
from mpcnet.errors import AppError
from mpcnet.serving import Stop, serve_as_dealer, serve_as_party
from tests.apps.speech.test_live import at_once
from tests.apps.speech.tiny_live import CONFIG, network, speech, whole_pass
from transports.errors import PeerLost

EVENT = "conversation.item.input_audio_transcription"
APPEND, COMMIT = "input_audio_buffer.append", "input_audio_buffer.commit"


class Participant:
    """One that serves, as a task; a signal is `stop`, a crash its cancellation."""

    def __init__(self, file: Path) -> None:
        self.config = load_config(file)
        self.urls: asyncio.Queue[str] = asyncio.Queue()
        self.ready = asyncio.Event()
        self.start()

    def start(self) -> None:
        serve = serve_as_dealer if self.config.is_dealer else serve_as_party
        self.ready.clear()
        self.stop = Stop()
        self.task = asyncio.create_task(serve(self.config, self.hear, self.stop))

    def hear(self, name: str, fields: dict[str, Any]) -> None:
        if name == "serving":
            self.urls.put_nowait(fields["lines"][0].removeprefix("speech clients: "))
        elif fields.get("what") == "ready for speech":
            self.ready.set()

    async def crash(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, Participant]]:
    monkeypatch.setattr(service, "Desk", partial(Desk, 60.0))  # on however busy a machine
    CONFIG.save(tmp_path / "live.safetensors", network())
    public = {
        "model_owner": "lab",
        "recording_owner": "clinic",
        "model": msgspec.to_builtins(CONFIG),
    }
    live = {"chunk_seconds": 0.1, "listen": "127.0.0.1:0"}
    lab = {**public, "live": {}, "weights": "live.safetensors"}
    plan = DemoPlan(["clinic", "lab"], {"clinic": {**public, "live": live}, "lab": lab})
    files = lay_out(plan, "speech", tmp_path, "tcp")
    participants = {name: Participant(file) for name, file in files.items()}
    yield participants
    for each in participants.values():
        each.stop.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*(each.task for each in participants.values()), return_exceptions=True)


class Caller:
    """A speech client that ends its utterances itself."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: object) -> None:
        await self.socket.send_str(json.dumps({"type": kind, **fields}))

    async def say(self, waveform: torch.Tensor) -> None:
        sound = (waveform * 32767).to(torch.int16).numpy().tobytes()
        await self.send(APPEND, audio=base64.b64encode(sound).decode())

    async def hear(self, *kinds: str) -> dict[str, Any]:
        """The next event of one of these kinds."""
        async with asyncio.timeout(60):
            while (event := await self.socket.receive_json())["type"] not in kinds:
                assert event["type"] not in ("error", f"{EVENT}.failed"), str(event)
        heard: dict[str, Any] = event
        return heard


async def call(url: str, use: Callable[[Caller], Awaitable[None]]) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        caller = Caller(socket)
        format_ = {"format": {"type": "audio/pcm", "rate": 8000}, "turn_detection": None}
        await caller.send("session.update", session={"audio": {"input": format_}})
        await use(caller)


def text_of(waveform: torch.Tensor) -> str:
    """What the plain model says; a tenth of a second at 8 kHz makes ten frames."""
    heard = (waveform * 32767).to(torch.int16).float() / 32768
    return greedy_decode(whole_pass(heard, 60), CONFIG)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_client_stays_while_the_others_come_and_go(
    three: dict[str, Participant],
) -> None:
    clinic, lab, dealer = three["clinic"], three["lab"], three["dealer"]
    waveform = speech(0.5, 1)

    async def utterance(caller: Caller, number: int) -> None:
        await caller.say(waveform)
        await caller.send(COMMIT)
        completed = await caller.hear(f"{EVENT}.completed")
        assert completed["item_id"] == f"item_{number}"
        assert completed["transcript"] == text_of(waveform)

    async def use(caller: Caller) -> None:
        await utterance(caller, 0)
        await caller.say(waveform)
        await caller.hear(f"{EVENT}.delta")
        clinic.ready.clear()
        await lab.crash()
        failed = await caller.hear(f"{EVENT}.failed")
        assert (failed["item_id"], "broke" in failed["error"]["message"]) == ("item_1", True)
        await caller.say(waveform)  # the rest of what failed: nobody hears it
        await caller.send(COMMIT)
        await caller.hear("input_audio_buffer.committed")
        lab.start()
        await utterance(caller, 2)  # which waits for the session
        await caller.say(waveform)
        await caller.hear(f"{EVENT}.delta")
        dealer.stop.set()  # in order: what is under way is heard out
        await asyncio.sleep(0.05)
        await caller.send(COMMIT)
        completed = await caller.hear(f"{EVENT}.completed")
        assert (completed["item_id"], completed["transcript"]) == ("item_3", text_of(waveform))
        await dealer.task
        dealer.start()
        await utterance(caller, 4)
        clinic.stop.set()
        async with asyncio.timeout(60):
            assert (await caller.socket.receive()).type is aiohttp.WSMsgType.CLOSE
        await clinic.task

    url = await clinic.urls.get()
    await clinic.ready.wait()  # kernels are compiled once for each process
    await call(url, use)
    assert not lab.task.done()
    clinic.start()  # and again, with another key for everything
    url = await clinic.urls.get()
    await call(url, lambda caller: utterance(caller, 0))


async def test_who_speaks_while_nobody_can_be_reached_is_told_so() -> None:
    desk = Desk(patience_s=0.01)
    with pytest.raises(Refusal, match="cannot be reached"):
        await desk.transcribe(at_once([speech(0.1, 1)]), lambda heard, meter: None)


async def test_nobody_comes_to_a_session_that_broke_just_now() -> None:
    """A stream may find out before those who run the session have told the desk."""
    board = Switchboard(None, network(), CONFIG, owner=0)  # type: ignore[arg-type]
    board._warm.set()
    desk = Desk(patience_s=0.05)
    desk.began(None, board)  # type: ignore[arg-type]

    def transcribing() -> asyncio.Task[Meter]:
        return asyncio.create_task(
            desk.transcribe(at_once([speech(0.1, 1)]), lambda heard, meter: None)
        )

    speaking = transcribing()
    await asyncio.sleep(0.02)
    revealed: asyncio.Future[torch.Tensor] = asyncio.get_running_loop().create_future()
    revealed.set_exception(PeerLost(1, "lab", 2.0, "gone", ()))
    board._lines[0].flights.put_nowait(_Flight(Utterance(0), None, revealed))
    with pytest.raises(Refusal, match="broke"):
        await speaking
    with pytest.raises(Refusal, match="cannot be reached"):  # not: "broke", once more
        await transcribing()


async def test_who_goes_on_speaking_is_cut_when_the_session_ends() -> None:
    finals: list[bool] = []
    under_way = asyncio.Event()

    async def endless() -> AsyncIterator[Block]:
        while True:
            yield Block(speech(0.1, 5), 8000, asyncio.get_running_loop().time())
            await asyncio.sleep(0.02)

    def tell(heard: Heard, _: object) -> None:
        finals.append(heard.final)
        under_way.set()

    async def program(session: Session) -> None:
        model = session.private(network(), owner=1)
        if session.rank == 1:
            await follow(session, model, CONFIG, owner=0)
            return
        board = Switchboard(session, model, CONFIG, owner=0, pace=Pace(0.1))
        running = asyncio.ensure_future(board.run())
        speaking = asyncio.ensure_future(board.transcribe(endless(), tell))
        await under_way.wait()
        board.drain(within_s=0.05)
        await asyncio.gather(speaking, running)  # both end by themselves

    await mpcnet.local(2).run(program)
    assert finals == [False] * (len(finals) - 1) + [True]


async def test_eight_who_speak_at_once_share_rounds() -> None:
    frames: dict[int, int] = {}
    finals: list[Heard] = []

    async def program(session: Session) -> None:
        model = session.private(network(), owner=1)
        if session.rank == 1:
            await follow(session, model, CONFIG, owner=0)
            return
        board = Switchboard(session, model, CONFIG, owner=0, pace=Pace(0.1))
        running = asyncio.ensure_future(board.run())
        stats = session.suite.party.exchange.stats[1]
        for speakers in (1, 8):
            before = stats.frames_sent
            await asyncio.gather(
                *(
                    board.transcribe(at_once([speech(0.1, n)]), lambda h, _: finals.append(h))
                    for n in range(speakers)
                )
            )
            frames[speakers] = stats.frames_sent - before
        board.close()
        await running

    await mpcnet.local(2).run(program)
    assert sum(heard.final for heard in finals) == 9
    assert frames[8] < 3 * frames[1]


def test_what_does_not_go_together_is_refused() -> None:
    for given in ({"certificate": Path("a")}, {"token": Path("t")}, {"key": Path("k")}):
        with pytest.raises(ValueError, match=r"together|listen is missing"):
            LiveSettings(**given)


async def test_a_party_with_nobody_to_serve_says_so(three: dict[str, Participant]) -> None:
    config = three["clinic"].config
    app = {**(config.app or {}), "live": {}}
    alone = msgspec.structs.replace(config, app=app)
    with pytest.raises(AppError, match=r"nobody to serve.*mpcnet party"):
        await serve_as_party(alone, lambda name, fields: None, Stop())
