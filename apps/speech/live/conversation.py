"""What a speech client and the gateway say to each other, without any socket.

The names and fields of events are those of the realtime transcription interfaces that speech
clients already use: JSON texts over a WebSocket, sound as base64 of 16-bit little-endian samples.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal, assert_never

import msgspec
import torch
from torch import Tensor

from apps.speech.live.switchboard import Heard

__all__ = ["Conversation", "Event"]

Event = dict[str, Any]

_RATE = 24_000  # unless a client says otherwise
_TRANSCRIPTION = "conversation.item.input_audio_transcription"


class _Format(msgspec.Struct, frozen=True):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[8_000, 16_000, 24_000, 44_100, 48_000] = 24_000


class _Turns(msgspec.Struct, frozen=True):
    type: Literal["server_vad"]


class _Input(msgspec.Struct, frozen=True):
    """Fields that are not here (a model's name, a language) change nothing and are left alone."""

    format: _Format | msgspec.UnsetType = msgspec.UNSET
    turn_detection: _Turns | msgspec.UnsetType | None = msgspec.UNSET


class _Audio(msgspec.Struct, frozen=True):
    input: _Input = _Input()


class _Session(msgspec.Struct, frozen=True):
    audio: _Audio = _Audio()


class _Update(msgspec.Struct, frozen=True, tag="session.update"):
    session: _Session
    event_id: str | None = None


class _Append(msgspec.Struct, frozen=True, tag="input_audio_buffer.append"):
    audio: str
    event_id: str | None = None


class _Commit(msgspec.Struct, frozen=True, tag="input_audio_buffer.commit"):
    event_id: str | None = None


class _Clear(msgspec.Struct, frozen=True, tag="input_audio_buffer.clear"):
    event_id: str | None = None


_Client = _Update | _Append | _Commit | _Clear


class Conversation:
    """One client's side of the story: takes its messages, and makes the events that answer.

    Sound goes on at once, chunk by chunk, so a client need not commit before it hears of text;
    what it commits is the end of an utterance. What it clears was sent, but its text is dropped;
    where utterances end at pauses, only of one whose text has begun.

    Attributes:
        rate: samples a second of what the client sends.
        detects_turns: whether utterances end at pauses; else only when the client commits.
        samples: sound taken out of the last message, (n,), full scale at 1; None if it had none.
        ends: whether the last message ended the utterance.
    """

    def __init__(self) -> None:
        self.rate = _RATE
        self.detects_turns = True
        self.samples: Tensor | None = None
        self.ends = False
        self._heard_sound = False
        self._uncommitted = 0  # samples
        self._events = 0
        self._utterances = 0  # ended by the client so far, if that alone ends them
        self._cleared: set[int] = set()
        self._texts: dict[int, str] = {}

    def begin(self) -> list[Event]:
        """What a client hears first."""
        return [self._event("session.created", session=self._session())]

    def receive(self, text: str) -> list[Event]:
        """A client's message; `samples` and `ends` say what it means for the sound."""
        self.samples, self.ends = None, False
        try:
            message = msgspec.json.decode(text, type=_Client)
        except (msgspec.MsgspecError, UnicodeError) as error:
            return [self._error("invalid_event", str(error))]
        match message:
            case _Update():
                return self._update(message)
            case _Append():
                return self._append(message)
            case _Commit():
                return self._commit(message)
            case _Clear():
                return self._clear()
        assert_never(message)

    def hear(self, heard: Heard) -> list[Event]:
        """Text of an utterance, so far or for good."""
        before = self._texts.get(heard.utterance, "")
        self._texts[heard.utterance] = heard.text
        if heard.final:
            del self._texts[heard.utterance]
        if heard.utterance in self._cleared:
            if heard.final:
                self._cleared.discard(heard.utterance)
            return []
        item = {"item_id": _item(heard.utterance), "content_index": 0}
        events = []
        if heard.text != before:
            delta = heard.text[len(before) :]
            events.append(self._event(f"{_TRANSCRIPTION}.delta", **item, delta=delta))
        if heard.final:
            if self.detects_turns:
                events.append(self._committed(heard.utterance))
            done = {**item, "transcript": heard.text}
            events.append(self._event(f"{_TRANSCRIPTION}.completed", **done))
        return events

    def turn(self, begins: bool, utterance: int, seconds: float) -> list[Event]:
        """An utterance begins or ends, after so many seconds of sound."""
        if not self.detects_turns:
            return []
        name, field = ("started", "audio_start_ms") if begins else ("stopped", "audio_end_ms")
        moment = {field: round(1e3 * seconds)}
        return [
            self._event(f"input_audio_buffer.speech_{name}", item_id=_item(utterance), **moment)
        ]

    def fail(self, message: str) -> list[Event]:
        """No more text will come; says so of every utterance under way."""
        error = {"type": "transcription_error", "message": message}
        return [
            self._event(
                f"{_TRANSCRIPTION}.failed", item_id=_item(number), content_index=0, error=error
            )
            for number in self._texts
        ] or [self._error("transcription_error", message, kind="server_error")]

    def _update(self, message: _Update) -> list[Event]:
        wanted = message.session.audio.input
        if self._heard_sound:
            why = "format and turn detection can be chosen before the first sound only"
            return [self._error("session_in_use", why, message.event_id)]
        if wanted.format is not msgspec.UNSET:
            self.rate = wanted.format.rate
        if wanted.turn_detection is not msgspec.UNSET:
            self.detects_turns = wanted.turn_detection is not None
        return [self._event("session.updated", session=self._session())]

    def _append(self, message: _Append) -> list[Event]:
        try:
            sound = base64.b64decode(message.audio, validate=True)
        except (binascii.Error, ValueError):
            return [self._error("invalid_audio", "audio is not base64", message.event_id)]
        if len(sound) % 2:
            why = "audio is not whole 16-bit samples"
            return [self._error("invalid_audio", why, message.event_id)]
        if sound:
            self.samples = torch.frombuffer(bytearray(sound), dtype=torch.int16).float() / 32768
            self._uncommitted += len(self.samples)
            self._heard_sound = True
        return []

    def _commit(self, message: _Commit) -> list[Event]:
        if not self._uncommitted:
            why = "there is no sound since the last commit"
            return [self._error("input_audio_buffer_commit_empty", why, message.event_id)]
        self._uncommitted, self.ends = 0, True
        if self.detects_turns:
            return []  # whether there is an utterance to end is known when its text is
        self._utterances += 1
        return [self._committed(self._utterances - 1)]

    def _clear(self) -> list[Event]:
        if self._uncommitted:
            self._uncommitted, self.ends = 0, True
            under_way = max(self._texts, default=None)
            if not self.detects_turns:
                self._cleared.add(self._utterances)
                self._utterances += 1
            elif under_way is not None:
                self._cleared.add(under_way)
        return [self._event("input_audio_buffer.cleared")]

    def _committed(self, utterance: int) -> Event:
        before = _item(utterance - 1) if utterance else None
        return self._event(
            "input_audio_buffer.committed", item_id=_item(utterance), previous_item_id=before
        )

    def _session(self) -> dict[str, Any]:
        turns = {"type": "server_vad"} if self.detects_turns else None
        sound = {"format": {"type": "audio/pcm", "rate": self.rate}, "turn_detection": turns}
        return {"type": "transcription", "audio": {"input": sound}}

    def _error(
        self,
        code: str,
        message: str,
        event_id: str | None = None,
        kind: str = "invalid_request_error",
    ) -> Event:
        error = {"type": kind, "code": code, "message": message, "event_id": event_id}
        return self._event("error", error=error)

    def _event(self, name: str, /, **fields: Any) -> Event:
        self._events += 1
        return {"type": name, "event_id": f"event_{self._events}", **fields}


def _item(utterance: int) -> str:
    return f"item_{utterance}"
