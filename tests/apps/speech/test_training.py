"""The training tools, on made-up recordings: nothing here needs espeak-ng or the data set."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from apps.speech.config import SpeechConfig
from apps.speech.prompt_model import LayerShape, PromptNetwork
from tests.apps.speech.tiny_live import CONFIG as LIVE
from tools.speech_augment import TrainingBatches
from tools.speech_data import DIGIT_WORDS, Recording, Utterance, join, make_strings
from tools.speech_growth import grown
from tools.speech_network import TrainingNetwork

CONFIG = SpeechConfig(
    input_type="power_spectrum",
    num_features=6,
    width=3,
    sample_rate=8000,
    alphabet=("", *DIGIT_WORDS),
    separator=" ",
)


@pytest.fixture
def recordings() -> list[Recording]:
    rng = np.random.default_rng(0)
    return [
        Recording(digit, speaker, 5, rng.standard_normal(2400).astype(np.float32))
        for speaker in ("ann", "bob")
        for digit in range(10)
    ]


def test_folding_the_normalisations_changes_nothing() -> None:
    torch.manual_seed(0)
    network = TrainingNetwork(CONFIG.build(), 0.5)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm1d):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias)
    features = torch.rand(4, 6, 80)
    network.settle([features, 2 * features], smallest_winner=8.0)
    with torch.no_grad():
        scores = network(features)
        torch.testing.assert_close(network.folded()(features), scores.relu(), atol=1e-4, rtol=1e-4)
    assert float(scores.amax(dim=1).min()) >= 8.0 - 1e-3


@pytest.mark.parametrize("config", [CONFIG, LIVE], ids=["wav2letter", "prompt"])
def test_training_goes_on_where_it_ended(config: SpeechConfig) -> None:
    torch.manual_seed(0)
    model = config.build().requires_grad_(False)
    features = torch.rand(4, 6, 80)
    network = TrainingNetwork(config.build(), 0.0)
    network.adopt(model, [features[:2], features[2:]])
    with torch.no_grad():
        scores = network(features)  # in training: with the statistics of this very batch
    plain = model(features)
    scores = scores if config is LIVE else scores.relu()
    torch.testing.assert_close(scores, plain, atol=1e-2, rtol=1e-2)


def test_a_grown_network_says_the_same() -> None:
    torch.manual_seed(0)
    layers = (*LIVE.layers, LayerShape(1, widen=2))
    small = msgspec.structs.replace(LIVE, layers=layers)
    deeper = (*LIVE.layers, LayerShape(3), LayerShape(4, ahead=1), layers[-1])
    large = msgspec.structs.replace(LIVE, width=7, layers=deeper)
    model, features = small.build().requires_grad_(False), torch.rand(2, 6, 80)
    assert isinstance(model, PromptNetwork)
    same = grown(model, small, large, noise=0.0)
    torch.testing.assert_close(same(features), model(features), atol=1e-5, rtol=1e-5)
    about = grown(model, small, large)(features)
    torch.testing.assert_close(about, model(features), atol=0.1, rtol=0.1)
    for wanted in (msgspec.structs.replace(large, width=3), LIVE):
        with pytest.raises(ValueError, match=r"become|layers wanted"):
            grown(model, small, wanted)


def test_batches_are_the_same_whoever_asks(recordings: list[Recording]) -> None:
    strings = [Utterance((1, 2), np.ones(4000, np.float32))]
    first, again = (
        TrainingBatches(CONFIG, recordings, recordings, strings, 3, seed=4) for _ in range(2)
    )
    for one, other in zip(first[2], again[2], strict=True):
        assert torch.equal(one, other)
    features, classes, lengths, frames, allowed = first[1]
    assert allowed.shape == (len(lengths), 1, 11)
    assert features.shape == (len(lengths), 6, int(frames.max()))
    assert int(lengths.sum()) == len(classes)
    assert int(classes.min()) >= 1


def test_a_word_may_be_named_around_its_end_alone(recordings: list[Recording]) -> None:
    config = msgspec.structs.replace(LIVE, alphabet=CONFIG.alphabet)
    batches = TrainingBatches(config, recordings, recordings, [], 3, seed=4)
    features, classes, lengths, _, allowed = batches[0]
    assert allowed.shape == (len(lengths), features.shape[2] // 4, 11)
    assert bool(allowed[:, :, 0].all())
    for mask, words in zip(allowed, classes.split(lengths.tolist()), strict=True):
        named = mask[:, 1:].any(dim=0).nonzero().flatten() + 1
        assert set(named.tolist()) == set(words.tolist())
        assert not bool(mask[:3, 1:].any())  # no word of these is over so soon
        for word in words.unique():
            count = int((words == word).sum())
            assert 0 < int(mask[:, word].sum()) <= 11 * count  # 0.4 s


def test_joined_strings_keep_every_sample(recordings: list[Recording]) -> None:
    string = join(recordings[3:5], (0.1, 0.2, 0.0))
    assert string.text == "three four"
    assert len(string.waveform) == 800 + 2400 + 1600 + 2400
    np.testing.assert_array_equal(string.waveform[800:3200], recordings[3].waveform)


def test_strings_have_one_speaker_each(recordings: list[Recording]) -> None:
    for string in make_strings(recordings, 10, seed=1, longest=4, gap_s=(0.0, 0.0)):
        assert 2 <= len(string.digits) <= 4
        first = string.waveform[:2400]
        speaker = next(r.speaker for r in recordings if np.array_equal(r.waveform, first))
        own = [r.waveform for r in recordings if r.speaker == speaker]
        parts = string.waveform.reshape(-1, 2400)
        assert all(any(np.array_equal(part, wave) for wave in own) for part in parts)
