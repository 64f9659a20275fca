"""The wire format is what wire-format.md says: its frame, its messages, its limits."""

import re
from typing import Any

import msgspec
import pytest

from protocols.correlations import Request
from protocols.label import Label
from tests.documents import ROOT, Block, blocks
from transports.frame import Limits, decode, encode_data, outgoing
from transports.handshake import Hello, Resume
from transports.relay_server import RelayLimits
from transports.rendezvous import (
    HEAD_BYTES,
    LONGEST_NAME,
    Reply,
    Role,
    decode_head,
    encode_request,
)
from transports.rendezvous import Request as RelayRequest

WIRE_FORMAT = ROOT / "docs" / "wire-format.md"


def test_the_worked_frame_is_what_is_sent() -> None:
    lines = "".join(block.text for block in blocks("hex", file=WIRE_FORMAT)).splitlines()
    shown = bytes.fromhex("".join(line.partition("#")[0] for line in lines))
    messages = [
        outgoing(Label("announcement/0").tag, b"[1,4]", 0, True, Limits()),
        outgoing(Label("7.reveal/share/0").tag, (-2).to_bytes(8, "little", signed=True), 3, False,
                 Limits()),
    ]  # fmt: skip
    assert shown == b"".join(encode_data(1, messages))
    assert next(bytes(m.payload) for _, m in decode(shown, Limits()).messages) == b"[1,4]"


@pytest.mark.parametrize("block", blocks("json", file=WIRE_FORMAT), ids=str)
def test_the_shown_messages_are_what_is_sent(block: Block) -> None:
    raw = block.text.strip().encode()
    kinds: dict[bytes, Any] = {b'"session"': Hello, b'"peer_run"': Resume}
    kind = next((kind for key, kind in kinds.items() if key in raw), Request)
    message = msgspec.json.decode(raw, type=kind)
    assert msgspec.json.decode(msgspec.json.encode(message)) == msgspec.json.decode(raw)


def relay_section() -> str:
    text = WIRE_FORMAT.read_text(encoding="utf-8")
    return text.partition("\n## Relay\n")[2].partition("\n## ")[0]


def test_the_relays_request_is_what_is_sent() -> None:
    section = relay_section()
    shown = re.search(r"```text\n(.*?)```", section, re.DOTALL)
    assert shown is not None
    lines = [line.partition("#")[0] for line in shown[1].splitlines()]
    request = bytes.fromhex("".join(lines))
    assert request == encode_request(RelayRequest(Role.DIALLER, "Zk3v0pQ"))
    fields = re.findall(r"^\| (\d+) \| (\d*) ?\| (\w[\w ]*) \|", section, re.MULTILINE)
    assert [(int(offset), size) for offset, size, _ in fields] == [
        (0, "8"), (8, "1"), (9, "1"), (HEAD_BYTES, "")
    ]  # fmt: skip
    assert decode_head(request[:HEAD_BYTES]) == (Role.DIALLER, 7)
    assert re.search(rf"\| 1 to {LONGEST_NAME} \|", section)
    assert {f"`{role.value.decode()}`" for role in Role} <= set(re.findall(r"`\w`", section))


def test_the_relays_replies_and_limits_are_all_there() -> None:
    section = relay_section()
    replies = re.findall(r"^\| (\d+) \| ([A-Z]+) \|", section, re.MULTILINE)
    assert [(int(byte), name) for byte, name in replies] == [(r.value, r.name) for r in Reply]
    values = re.findall(r"^\| [a-z][^|]* \| (\d+)(?: s)? \|", section, re.MULTILINE)
    limits = RelayLimits()
    assert [float(value) for value in values] == [
        limits.request_s,
        limits.pair_s,
        limits.wait_s,
        limits.waiting,
        limits.waiting_per_name,
        limits.pairs,
        limits.idle_s,
        limits.linger_s,
    ]
