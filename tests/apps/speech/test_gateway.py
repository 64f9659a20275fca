"""Speech clients at the gateway: what they say, what they hear, and what happens to who leaves."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import soundfile
import torch

import mpcnet
from apps.speech.decoding import greedy_decode
from apps.speech.live.capture import Block
from apps.speech.live.client import of_file, of_stream, talk
from apps.speech.live.conversation import Conversation
from apps.speech.live.desk import Desk
from apps.speech.live.gateway import Gateway, _Client
from apps.speech.live.meter import Meter
from apps.speech.live.steps import follow
from apps.speech.live.switchboard import Heard, Pace, Switchboard
from mpcnet import Session
from mpcnet.errors import AppError
from tests.apps.speech.tiny_live import CONFIG, network, speech, whole_pass

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"


def message(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields})


def append(samples: torch.Tensor) -> str:
    sound = (samples * 32767).to(torch.int16).numpy().tobytes()
    return message("input_audio_buffer.append", audio=base64.b64encode(sound).decode())


def update(rate: int = 8000, turns: object = None) -> str:
    sound = {"format": {"type": "audio/pcm", "rate": rate}, "turn_detection": turns}
    return message("session.update", session={"type": "transcription", "audio": {"input": sound}})


def heard(utterance: int, text: str, final: bool = False) -> Heard:
    return Heard(utterance, text, final, 0, torch.zeros(4, 0))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_a_conversation_in_which_the_client_says_where_utterances_end() -> None:
    talk = Conversation()
    assert kinds(talk.begin()) == ["session.created"]
    (updated,) = talk.receive(update(16_000))
    assert updated["session"]["audio"]["input"]["format"]["rate"] == talk.rate == 16_000
    assert talk.receive(append(torch.tensor([0.5, -0.5]))) == []
    assert talk.samples is not None
    torch.testing.assert_close(talk.samples, torch.tensor([0.5, -0.5]), atol=1e-4, rtol=0)
    (first,) = talk.hear(heard(0, "one"))
    assert (first["type"], first["item_id"], first["delta"]) == (DELTA, "item_0", "one")
    (committed,) = talk.receive(message("input_audio_buffer.commit"))
    assert talk.ends
    assert (committed["item_id"], committed["previous_item_id"]) == ("item_0", None)
    delta, completed = talk.hear(heard(0, "one two", final=True))
    assert (delta["delta"], completed["transcript"]) == (" two", "one two")
    assert completed["type"] == COMPLETED


def test_a_conversation_with_turns() -> None:
    talk = Conversation()
    talk.receive(append(torch.zeros(9)))
    (started,) = talk.turn(True, 0, 0.25)
    assert (started["type"], started["audio_start_ms"]) == (
        "input_audio_buffer.speech_started",
        250,
    )
    assert kinds(talk.hear(heard(0, "six"))) == [DELTA]
    (stopped,) = talk.turn(False, 0, 1.5)
    assert (stopped["audio_end_ms"], stopped["item_id"]) == (1500, "item_0")
    final = talk.hear(heard(0, "six", final=True))
    assert kinds(final) == ["input_audio_buffer.committed", COMPLETED]


@pytest.mark.parametrize("turns", [None, {"type": "server_vad"}], ids=["by hand", "by pauses"])
def test_what_is_cleared_is_not_heard_of_again(turns: object) -> None:
    talk = Conversation()
    talk.receive(update(turns=turns))
    talk.receive(append(torch.zeros(9)))
    talk.hear(heard(0, "four"))
    assert kinds(talk.receive(message("input_audio_buffer.clear"))) == [
        "input_audio_buffer.cleared"
    ]
    assert talk.ends
    assert talk.hear(heard(0, "four five", final=True)) == []
    assert kinds(talk.hear(heard(1, "two"))) == [DELTA]


def test_failure_is_told_of_every_utterance_under_way() -> None:
    talk = Conversation()
    assert kinds(talk.fail("lost")) == ["error"]
    talk.hear(heard(3, "one"))
    (failed,) = talk.fail("lost")
    assert (failed["type"], failed["item_id"]) == (FAILED, "item_3")


def test_what_is_said_after_a_failure_is_numbered_on() -> None:
    """By hand: the rest of what failed is dropped up to its end, and heard of no more."""
    talk = Conversation()
    talk.receive(update())
    commit = message("input_audio_buffer.commit")
    talk.receive(append(torch.zeros(9)))
    talk.receive(commit)  # item_0: said, and not yet told
    talk.receive(append(torch.zeros(9)))
    failed = talk.fail("lost")
    assert [event["item_id"] for event in failed] == ["item_0", "item_1"]
    assert talk.receive(append(torch.zeros(9))) == []
    assert talk.samples is None
    (committed,) = talk.receive(commit)
    assert (committed["item_id"], talk.ends) == ("item_1", False)
    talk.receive(append(torch.zeros(9)))
    assert talk.samples is not None
    assert talk.hear(heard(0, "two"))[0]["item_id"] == "item_2"
    talk.receive(commit)
    talk.hear(heard(0, "two", final=True))
    assert not talk.awaits
    assert kinds(talk.fail("lost")) == ["error"]


def test_what_lasted_longer_than_its_session_goes_on_as_another_item() -> None:
    talk = Conversation()
    talk.receive(update())
    commit = message("input_audio_buffer.commit")
    talk.receive(append(torch.zeros(9)))
    talk.hear(heard(0, "one", final=True))  # it was cut
    (committed,) = talk.end_stream(left=0)
    assert committed["item_id"] == "item_0"
    assert talk.receive(commit) == []  # which the client could not know
    assert kinds(talk.receive(commit)) == ["error"]
    talk.receive(append(torch.zeros(9)))
    assert talk.end_stream(left=9) == []  # a session that ended before it took any of it
    talk.receive(commit)
    assert talk.hear(heard(0, "two", final=True))[1]["item_id"] == "item_1"


def test_turns_are_numbered_on_over_sessions() -> None:
    talk = Conversation()
    talk.receive(append(torch.zeros(9)))
    talk.turn(True, 0, 0.1)
    (failed,) = talk.fail("lost")
    assert failed["item_id"] == "item_0"
    (started,) = talk.turn(True, 0, 0.1)
    assert started["item_id"] == "item_1"
    talk.hear(heard(0, "six", final=True))
    assert talk.end_stream(left=0) == []
    assert talk.turn(True, 0, 0.1)[0]["item_id"] == "item_2"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "invalid_event"),
        (message("response.create"), "invalid_event"),
        (message("input_audio_buffer.append"), "invalid_event"),
        (message("input_audio_buffer.append", audio="not base64!"), "invalid_audio"),
        (message("input_audio_buffer.append", audio="AAAA"), "invalid_audio"),
        (message("input_audio_buffer.commit"), "input_audio_buffer_commit_empty"),
        (update(rate=11_025), "invalid_event"),
        ('{"type": "input_audio_buffer.commit", "x": ' + "[" * 9_000, "invalid_event"),
    ],
    ids=["no JSON", "unknown", "no audio", "no base64", "odd", "empty", "rate", "deep"],
)
def test_what_a_client_gets_wrong_is_told_and_changes_nothing(text: str, code: str) -> None:
    talk = Conversation()
    (event,) = talk.receive(text)
    assert (event["type"], event["error"]["code"]) == ("error", code)
    assert talk.samples is None
    assert not talk.ends


def test_sound_that_has_begun_keeps_its_format() -> None:
    talk = Conversation()
    talk.receive(append(torch.zeros(9)))
    (event,) = talk.receive(update())
    assert event["error"]["code"] == "session_in_use"


async def test_two_clients_and_one_who_leaves_in_mid_word() -> None:
    waveforms = [speech(0.4, 1), speech(0.3, 2)]
    transcripts: list[str] = []

    async def speak(url: str, number: int) -> None:
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
            assert (await socket.receive_json())["type"] == "session.created"
            await socket.send_str(update())
            await socket.send_str(append(waveforms[number]))
            if number == 1:
                return  # closes its tab
            await socket.send_str(message("input_audio_buffer.commit"))
            while (event := await socket.receive_json())["type"] != COMPLETED:
                assert event["type"] != "error"
            transcripts.append(event["transcript"])

    async def pipe(url: str) -> None:
        """The client on the command line, with samples on its standard input."""
        sound = io.BytesIO((waveforms[0] * 32767).to(torch.int16).numpy().tobytes() + b"!")
        pieces: list[str] = []
        transcript = await talk(url, of_stream(sound, 8000), 8000, pieces.append)
        assert "".join(pieces) == transcript
        transcripts.append(transcript)
        with pytest.raises(AppError, match="the gateway says"):
            await talk(url, of_stream(sound, 8000), 8000, pieces.append)  # nothing is left

    async def strangers(url: str) -> None:
        async with aiohttp.ClientSession() as http:
            for page in ({}, {"Host": "elsewhere.example"}):
                headers = {"Origin": "http://elsewhere.example", **page}
                with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                    await http.ws_connect(url, headers=headers)

    async def program(session: Session) -> None:
        model = session.private(network(), owner=1)
        if session.rank == 1:
            await follow(session, model, CONFIG, owner=0)
            return
        board = Switchboard(session, model, CONFIG, owner=0, pace=Pace(0.4))
        desk = Desk()
        running = asyncio.ensure_future(board.run(lambda: desk.began(session, board)))
        gateway = await Gateway.open(desk)
        await asyncio.gather(
            strangers(gateway.url), *(speak(gateway.url, n) for n in range(2)), pipe(gateway.url)
        )
        await gateway.close()
        board.close()
        await running

    await mpcnet.local(2).run(program)
    sound = (waveforms[0] * 32767).to(torch.int16).float() / 32768
    assert transcripts == 2 * [greedy_decode(whole_pass(sound, 80), CONFIG)]


async def test_what_ends_as_its_client_leaves_begins_no_other_stream() -> None:
    client = _Client(None, None, Desk())  # type: ignore[arg-type]
    client._blocks.append(Block(torch.zeros(9), 8000, 0.0))
    client._gone = True

    async def ended() -> Meter:
        return Meter()

    task = asyncio.ensure_future(ended())
    await task
    client._ended(task)
    assert client._speaking is None


async def test_a_file_is_sent_as_fast_as_it_was_spoken(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.full((4410, 2), 0.5), 44_100)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    sound = b"".join([block async for block in of_file(tmp_path / "short.wav")])
    assert loop.time() - begun >= 0.1
    assert len(sound) == 2 * 1600


async def test_a_client_without_a_gateway_says_so() -> None:
    with pytest.raises(AppError, match="no gateway answers"):
        await talk(
            "ws://127.0.0.1:1/v1/realtime", of_stream(io.BytesIO(), 8000), 8000, lambda _: None
        )
