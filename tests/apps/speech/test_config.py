"""Speech models: what is stored comes back, and a wrong configuration is named."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from apps.speech.config import SpeechConfig
from apps.speech.prompt_model import LADDER, LayerShape, PromptNetwork

CONFIG = SpeechConfig(
    input_type="power_spectrum",
    num_features=5,
    width=2,
    sample_rate=8000,
    alphabet=("", "yes", "no"),
    separator=" ",
)

LAYERS = LADDER["small"][1]
PROMPT = msgspec.structs.replace(CONFIG, architecture="prompt", layers=LAYERS, level="running")


@pytest.mark.parametrize("stored", [CONFIG, PROMPT], ids=["wav2letter", "prompt"])
def test_what_was_stored_comes_back(tmp_path: Path, stored: SpeechConfig) -> None:
    path = tmp_path / "model.safetensors"
    model = stored.build()
    stored.save(path, model)
    config, loaded = SpeechConfig.load(path)
    assert config == stored
    assert type(loaded) is type(model)
    assert not loaded.training
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)


def test_layers_without_room_for_what_they_say_are_refused() -> None:
    for impossible in ((3, 2, 2), (0,), (7, 0), (7, 1, -1), (1 << 20,), (1, 1, 0, 99)):
        with pytest.raises(ValueError, match="kernel"):
            LayerShape(*impossible)
    with pytest.raises(ValueError, match="needs a layer"):
        PromptNetwork(3, 5, width=2, layers=())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "must lie between"),
        ({"width": 10**12}, "must lie between"),
        ({"width": "wide"}, "width"),
        ({"architecture": "whisper"}, "whisper"),
        ({"architecture": "prompt"}, "needs layers"),
        ({"layers": [[7, 1, 3, 1]]}, "takes none"),
        ({"architecture": "prompt", "layers": [[1, 1, 0, 1]] * 65}, "64 layers at most"),
        ({"input_type": "waveform", "architecture": "prompt", "layers": [[7]]}, "not a waveform"),
        ({"level": "loud"}, "loud"),
        ({"input_type": "mel"}, "mel"),
        ({"alphabet": ["yes", "no"]}, "blank"),
        ({"window_length": 512}, "window_length"),
        ({"tail_frames": -1}, "tail_frames"),
        ({"lead_frames": 8}, "only a 'prompt'"),
        ({"lead_frames": 3, "architecture": "prompt", "layers": [[7, 2]]}, "whole frames"),
        ({"beam": 4}, "beam"),
    ],
)
def test_wrong_configuration(change: dict[str, object], message: str) -> None:
    fields = msgspec.to_builtins(CONFIG) | change
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.json.decode(msgspec.json.encode(fields), type=SpeechConfig)
