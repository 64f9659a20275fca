"""Words, pieces and rows."""

import torch

from apps.text.tokens import PADDING, pieces_of, places_of, row_of, split


def test_words_and_marks() -> None:
    assert split("It's GOOD -- really!") == ["it's", "good", "-", "-", "really", "!"]
    assert split("they do n't , and he 's here") == ["they", "don't", ",", "and", "he's", "here"]
    assert split("they don't, and he's here") == split("they do n't , and he 's here")
    assert split("Café naïve_x 1984") == ["café", "naïve", "x", "1984"]
    assert split("") == []


def test_pieces_of_a_word() -> None:
    kinds = ["word", "pair", "prefix", "suffix", "opening", "opening_pair"]
    first, second, third = pieces_of(["what", "is", "electricity"], kinds)
    assert first == ["what", "< what", "", "-hat", "", ""]
    assert second == ["is", "what is", "", "", "what|is", ""]
    assert third == [
        "electricity", "is electricity", "elect-", "-ity", "what|electricity",
        "what is|electricity",
    ]  # fmt: skip


def test_the_start_of_a_sentence() -> None:
    found = pieces_of(["who", "was", "it"], ["word", "start"])
    assert [start for _, start in found] == ["^who", "^who was", ""]


def test_rows_are_those_of_the_shipped_models() -> None:
    """Another hash would make every table useless."""
    assert [row_of(piece, 12_288) for piece in ("", "good", "is electricity")] == [0, 3518, 8183]
    assert all(PADDING < row_of(str(i), 8) < 8 for i in range(100))


def test_places_are_cut_and_filled_up() -> None:
    places = places_of(["one two three four", ""], length=3, kinds=["word", "pair"], rows=50)
    assert places.shape == (2, 3, 2)
    assert places[0, 2].tolist() == [row_of("three", 50), row_of("two three", 50)]
    assert not places[1].any()
    assert places.dtype == torch.int64
