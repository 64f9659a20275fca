"""Networks chunk by chunk: whatever the chunks, the numbers of one pass over the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mpcnet
from apps.speech.model import Wav2Letter
from apps.speech.prompt_model import LADDER, LayerShape, PromptNetwork, look_ahead, reach, shrinkage
from apps.speech.streaming import NetworkStream, StreamError
from mpcnet import Session

PROMPT = (LayerShape(8, 2, 2), LayerShape(8, 2, 2), LayerShape(7, 1, 1), LayerShape(1, widen=2))


def networks() -> dict[str, tuple[nn.Module, int, int]]:
    """Each with its input channels and the frames of its test recording."""
    torch.manual_seed(0)
    return {
        "wav2letter of features": (Wav2Letter(4, "mfcc", 3, width=2), 3, 75),
        "wav2letter of a waveform": (Wav2Letter(3, "waveform", 1, width=2), 1, 5000),
        "prompt": (PromptNetwork(4, 3, width=5, layers=PROMPT), 3, 90),
        "with a lead": (PromptNetwork(4, 3, width=5, layers=PROMPT, lead=52), 3, 90),
        "strides over a gap": (nn.Conv1d(2, 3, 2, stride=5, padding=1), 2, 61),
        "dilated, in groups": (nn.Conv1d(4, 6, 3, padding=3, dilation=2, groups=2), 4, 40),
        "no overlap at all": (nn.Sequential(nn.Conv1d(2, 2, 3, stride=3), nn.Identity()), 2, 20),
    }


def cut(length: int, rng: np.random.Generator, longest: int) -> list[int]:
    """Lengths of chunks, some of them of a single frame."""
    sizes: list[int] = []
    while (rest := length - sum(sizes)) > 0:
        sizes.append(min(rest, int(rng.integers(1, longest + 1))))
    return sizes


def streamed(network: nn.Module, x: Tensor, sizes: Sequence[int]) -> Tensor:
    stream = NetworkStream(network)
    *chunks, last = x.split(list(sizes), dim=2)
    pieces = [stream.push(chunk) for chunk in chunks]
    if len(sizes) % 2:  # the last chunk alone, or with the end
        pieces.append(stream.flush(last))
    else:
        pieces += [stream.push(last), stream.flush()]
    return torch.cat([piece for piece in pieces if piece is not None], dim=2)


@pytest.mark.parametrize("name", networks())
@torch.no_grad()
def test_any_chunks_give_the_logits_of_the_whole(name: str) -> None:
    network, channels, length = networks()[name]
    rng = np.random.default_rng(1)
    for trial in range(25):
        x = torch.randn(2, channels, length + trial % 7)
        sizes = cut(x.shape[2], rng, longest=1 + length // (1 + trial % 9))
        torch.testing.assert_close(streamed(network, x, sizes), network(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_each_output_is_computed_once_and_as_soon_as_it_is_settled() -> None:
    network = PromptNetwork(4, 3, width=5, layers=PROMPT)
    x = torch.randn(1, 3, 80)
    whole, stream = network(x), NetworkStream(network)
    settled, waits = 0, look_ahead(PROMPT)
    for frame in range(80):
        y = stream.push(x[:, :, frame : frame + 1])
        settled += 0 if y is None else y.shape[2]
        assert settled == max(0, frame + 1 - waits) // shrinkage(PROMPT)
    last = stream.flush()
    assert last is not None
    assert settled + last.shape[2] == whole.shape[2] == 80 // shrinkage(PROMPT)


@pytest.mark.parametrize("rung", LADDER)
def test_every_rung_looks_100_ms_ahead_and_has_a_frame_every_40_ms(rung: str) -> None:
    _, layers = LADDER[rung]
    assert (look_ahead(layers), shrinkage(layers)) == (10, 4)


@torch.no_grad()
def test_a_lead_longer_than_the_reach_leaves_the_same_as_more() -> None:
    leads = [-(-reach(PROMPT) // 4) * 4, 200]
    torch.manual_seed(0)
    short, long_ = (PromptNetwork(4, 3, width=5, layers=PROMPT, lead=lead) for lead in leads)
    long_.load_state_dict(short.state_dict())
    x = torch.randn(1, 3, 40)
    torch.testing.assert_close(short(x), long_(x), atol=1e-5, rtol=1e-5)
    assert short(x).shape == (1, 4, 10)
    with pytest.raises(ValueError, match="no multiple of 4"):
        PromptNetwork(4, 3, width=5, layers=PROMPT, lead=6)


def test_too_little_input_gives_nothing() -> None:
    stream = NetworkStream(nn.Conv1d(1, 1, 5, padding=1))
    assert stream.push(torch.zeros(1, 1, 1)) is None
    assert stream.flush() is None
    assert NetworkStream(Wav2Letter(3, "mfcc", 1, width=1)).flush() is None


def test_a_stream_ends_once() -> None:
    stream = NetworkStream(nn.Conv1d(1, 1, 1))
    stream.flush()
    with pytest.raises(StreamError, match="begin a new one"):
        stream.push(torch.zeros(1, 1, 1))
    with pytest.raises(StreamError, match="flushed before"):
        stream.flush()


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.MaxPool1d(2), "MaxPool1d"),
        (nn.ConstantPad1d(1, 0.5), "ConstantPad1d"),
        (nn.ConstantPad1d(1, 0.0), "without a convolution"),
        (nn.Conv1d(1, 1, 3, padding=3), "padding alone"),
        (nn.Conv1d(1, 1, 3, padding=1, padding_mode="reflect"), "reflect"),
        (nn.Conv1d(1, 1, 3, padding="same"), "same"),
    ],
    ids=["pooling", "no zeros", "pad at the end", "wide padding", "reflecting", "by name"],
)
def test_what_cannot_be_streamed_is_named(layer: nn.Module, why: str) -> None:
    with pytest.raises(StreamError, match=why):
        NetworkStream(nn.Sequential(layer))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("wav2letter of features", [60, 15]),
        ("prompt", [3, 1, 26, 20, 40]),
        ("with a lead", [3, 1, 26, 20, 40]),
    ],
    ids=["wav2letter", "prompt", "lead"],
)
async def test_on_secrets_as_in_the_clear(name: str, sizes: list[int]) -> None:
    network, channels, length = networks()[name]
    x = torch.randn(1, channels, length)
    with torch.no_grad():
        whole = network(x)
    chunks = x.split(sizes, dim=2)

    async def program(session: Session) -> Tensor:
        model = session.private(networks()[name][0], owner=1)
        with torch.no_grad():
            NetworkStream(model).push(torch.zeros(1, channels, 60))  # whose lead others use too
        stream = NetworkStream(model)
        pieces = []
        with torch.no_grad():
            for chunk in chunks:  # all of them under way at once
                own = chunk if session.rank == 0 else None
                pieces.append(stream.push(session.share(own, owner=0, shape=chunk.shape)))
            pieces.append(stream.flush())
            logits = [await piece.reveal(to=0) for piece in pieces if piece is not None]
        return torch.cat(logits, dim=2) if session.rank == 0 else whole

    logits, _ = await mpcnet.local(2).run(program)
    torch.testing.assert_close(logits, whole, atol=2e-4, rtol=1e-3)
