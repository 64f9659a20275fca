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
    where utterances end at pauses, only of one whose text has begun. Utterances are numbered over
    all streams of sound that the client's sound was taken into: a stream ends with its session,
    and the next one begins with utterance 0 again.

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
        self._base = 0  # the number of the first utterance of the stream at hand
        self._next = 0  # the number of the utterance that the next sound belongs to
        self._awaited: set[int] = set()  # begun, and its last text has not come
        self._dropping = False  # of an utterance that has failed already, up to its end
        self._cut = False  # the last utterance ended before the client said so
        self._cleared: set[int] = set()
        self._texts: dict[int, str] = {}

    @property
    def awaits(self) -> bool:
        """Whether the client waits for the text of an utterance."""
        return bool(self._awaited)

    def begin(self) -> list[Event]:
        """What a client hears first."""
        return [self._event("session.created", session=self._session())]

    def receive(self, text: str) -> list[Event]:
        """A client's message; `samples` and `ends` say what it means for the sound."""
        self.samples, self.ends = None, False
        try:
            message = msgspec.json.decode(text, type=_Client)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
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

    def refuse(self, why: str) -> list[Event]:
        """Something came that is no message at all."""
        self.samples, self.ends = None, False
        return [self._error("invalid_event", why)]

    def hear(self, heard: Heard) -> list[Event]:
        """Text of an utterance, so far or for good."""
        number = self._base + heard.utterance
        before = self._texts.get(number, "")
        self._texts[number] = heard.text
        self._awaited.add(number)
        if self.detects_turns:
            self._next = max(self._next, number + 1)
        if heard.final:
            del self._texts[number]
            self._awaited.discard(number)
        if number in self._cleared:
            if heard.final:
                self._cleared.discard(number)
            return []
        item = {"item_id": _item(number), "content_index": 0}
        events = []
        if heard.text != before:
            delta = heard.text[len(before) :]
            events.append(self._event(f"{_TRANSCRIPTION}.delta", **item, delta=delta))
        if heard.final:
            if self.detects_turns:
                events.append(self._committed(number))
            done = {**item, "transcript": heard.text}
            events.append(self._event(f"{_TRANSCRIPTION}.completed", **done))
        return events

    def turn(self, begins: bool, utterance: int, seconds: float) -> list[Event]:
        """An utterance begins or ends, after so many seconds of sound."""
        if not self.detects_turns:
            return []
        number = self._base + utterance
        if begins:
            self._awaited.add(number)
            self._next = number + 1
        name, field = ("started", "audio_start_ms") if begins else ("stopped", "audio_end_ms")
        moment = {field: round(1e3 * seconds)}
        return [self._event(f"input_audio_buffer.speech_{name}", item_id=_item(number), **moment)]

    def end_stream(self, left: int) -> list[Event]:
        """The stream has ended in order; what comes next goes into another one.

        Args:
            left: samples that it has not taken, for the other one.
        """
        events = []
        if self._uncommitted and not self.detects_turns and self._next not in self._awaited:
            # It lasted longer than the session could: its text is told, the rest is another item.
            events.append(self._committed(self._next))
            self._next += 1
            self._uncommitted, self._cut = left, True
            if left:
                self._awaited.add(self._next)
        self._base = min(self._awaited, default=self._next)
        return events

    def fail(self, message: str) -> list[Event]:
        """The stream broke off; says so of every utterance under way, or else as an error."""
        error = {"type": "transcription_error", "message": message}
        awaited = sorted(self._awaited - self._cleared)
        self._dropping = bool(self._uncommitted) and not self.detects_turns
        self._awaited.clear()
        self._cleared.clear()
        self._texts.clear()
        self._base = self._next
        return [
            self._event(
                f"{_TRANSCRIPTION}.failed", item_id=_item(number), content_index=0, error=error
            )
            for number in awaited
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
            self._uncommitted += len(sound) // 2
            self._heard_sound = True
        if sound and not self._dropping:
            self.samples = torch.frombuffer(bytearray(sound), dtype=torch.int16).float() / 32768
            if not self.detects_turns:
                self._awaited.add(self._next)
        return []

    def _commit(self, message: _Commit) -> list[Event]:
        if not self._uncommitted and self._cut:
            self._cut = False
            return []  # its end was told when it came
        if not self._uncommitted:
            why = "there is no sound since the last commit"
            return [self._error("input_audio_buffer_commit_empty", why, message.event_id)]
        self._end()
        if self.detects_turns:
            return []  # whether there is an utterance to end is known when its text is
        return [self._committed(self._next - 1)]

    def _clear(self) -> list[Event]:
        if self._uncommitted:
            under_way = max(self._texts, default=None)
            if not self.detects_turns:
                if not self._dropping:
                    self._cleared.add(self._next)
            elif under_way is not None:
                self._cleared.add(under_way)
            self._end()
        return [self._event("input_audio_buffer.cleared")]

    def _end(self) -> None:
        """The client ends an utterance."""
        self._uncommitted, self.ends, self._cut = 0, not self._dropping, False
        if not self.detects_turns:
            self._next += 1
            if self._dropping:
                self._base = self._next
        self._dropping = False

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
