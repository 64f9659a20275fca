"""The noun after "what"."""

import pytest

from apps.text.questions import head_of
from apps.text.tokens import split


@pytest.mark.parametrize(
    ("question", "head"),
    [
        ("What large city lies on the Rhine?", "lies"),  # any word may be a noun
        ("What city is the largest?", "city"),
        ("Which is the old city of the emperors?", "city"),
        ("What's the tallest building in town?", "building"),
        ("In what year did it begin?", "year"),
        ("What actress starred in it?", "actress"),
        ("Name the first man on the moon.", "man"),
        ("What is the name of the river?", "river"),
        ("What kind of animal is it?", "animal"),
        ("What was the ship's name?", "ship's"),
        ("Who wrote it?", None),
        ("What is?", None),
        ("What?", None),
        ("", None),
    ],
)
def test_what_is_asked_for(question: str, head: str | None) -> None:
    words = split(question)
    found = head_of(words)
    assert (None if found is None else words[found]) == head
