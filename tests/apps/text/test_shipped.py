"""The models that ship: small, of their recipes, and right about the demonstration's sentences."""

from pathlib import Path

import pytest
import torch

from apps.text.app import SAMPLES
from apps.text.config import SHIPPED, TextConfig
from tools.text_data import labelled
from tools.train_text import RECIPES

DATA = Path(__file__).parents[4] / "shared" / "data" / "text"


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_demonstration_sentences(name: str) -> None:
    config, model = TextConfig.load(SHIPPED[name])
    assert config == RECIPES[name].config
    assert SHIPPED[name].stat().st_size < 1_700_000
    lines = (SAMPLES / f"{name.split('-')[0]}.txt").read_text().splitlines()
    truth, texts = zip(*(line.split("\t") for line in lines), strict=True)
    with torch.no_grad():
        scores = model(config.places(list(texts)))
    found = [config.labels[int(k)] for k in scores.argmax(1)]
    assert sum(a == b for a, b in zip(found, truth, strict=True)) >= 8
    assert float(scores.abs().max()) < 100


def test_sentences_of_others() -> None:
    path = DATA / "stsa.binary.dev"
    if not path.is_file():
        pytest.skip("the Stanford Sentiment Treebank is not here, so accuracy was not measured")
    config, model = TextConfig.load(SHIPPED["sentiment-bag"])
    texts, labels = labelled(path)
    with torch.no_grad():
        right = float((model(config.places(texts)).argmax(1) == labels).double().mean())
    assert right >= 0.815
