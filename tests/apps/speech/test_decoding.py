"""Greedy CTC decoding and the error rates."""

from __future__ import annotations

import pytest
import torch

from apps.speech.config import SpeechConfig
from apps.speech.decoding import edit_distance, error_rate, greedy_decode

WORDS = SpeechConfig(
    input_type="power_spectrum",
    num_features=1,
    width=1,
    sample_rate=8000,
    alphabet=("", "zero", "one", "two"),
    separator=" ",
)
LETTERS = SpeechConfig(
    input_type="waveform",
    num_features=1,
    width=1,
    sample_rate=8000,
    alphabet=("", "o", "n", "e", " "),
    separator="",
)


def logits_of(classes: list[int], count: int) -> torch.Tensor:
    """One-hot rows, (count, frames)."""
    return torch.nn.functional.one_hot(torch.tensor(classes, dtype=torch.long), count).T.float()


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ([], ""),
        ([0, 0, 0], ""),
        ([1], "zero"),
        ([0, 2, 2, 2, 0], "one"),
        ([1, 2, 3], "zero one two"),
        ([2, 2, 0, 2], "one one"),
        ([2, 1, 2], "one zero one"),
        ([3, 3, 0, 0, 1, 1], "two zero"),
    ],
)
def test_repeats_merge_and_blanks_vanish(classes: list[int], text: str) -> None:
    assert greedy_decode(logits_of(classes, 4), WORDS) == text


def test_characters_are_joined_without_spaces() -> None:
    assert greedy_decode(logits_of([1, 2, 2, 3, 4, 1, 0, 2, 3], 5), LETTERS) == "one one"


def test_softmax_and_shift_do_not_change_the_text() -> None:
    torch.manual_seed(0)
    logits = torch.rand(4, 50)
    text = greedy_decode(logits, WORDS)
    assert greedy_decode(logits.log_softmax(dim=0), WORDS) == text
    assert greedy_decode(logits + 7.0, WORDS) == text


@pytest.mark.parametrize("shape", [(3, 5), (1, 4, 5), (4,)])
def test_logits_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit 4 classes"):
        greedy_decode(torch.zeros(shape), WORDS)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "distance"),
    [
        ("", "", 0),
        ("abc", "abc", 0),
        ("abc", "", 3),
        ("", "ab", 2),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        ("ab", "ba", 2),
    ],
)
def test_edit_distance(reference: str, hypothesis: str, distance: int) -> None:
    assert edit_distance(reference, hypothesis) == distance
    assert edit_distance(hypothesis, reference) == distance


def test_error_rates_weigh_by_length() -> None:
    references, hypotheses = ["one two", "six"], ["one two", "sit"]
    assert error_rate(references, hypotheses) == pytest.approx(1 / 10)
    assert error_rate(references, hypotheses, words=True) == pytest.approx(1 / 3)


def test_insertions_may_exceed_one() -> None:
    assert error_rate(["one"], ["one one one"], words=True) == 2.0


def test_error_rate_needs_something_to_compare() -> None:
    with pytest.raises(ValueError, match="not empty"):
        error_rate([""], ["one"])
    with pytest.raises(ValueError, match="shorter"):
        error_rate(["one", "two"], ["one"])
