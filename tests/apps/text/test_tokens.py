"""Words, pieces and rows."""

import torch

from apps.text.tokens import GRAMS, PADDING, pieces_of, places_of, row_of, split


def test_words_and_marks() -> None:
    assert split("It's GOOD -- really!") == ["it's", "good", "-", "-", "really", "!"]
    assert split("they do n't , and he 's here") == ["they", "don't", ",", "and", "he's", "here"]
    assert split("they don't, and he's here") == split("they do n't , and he 's here")
    assert split("Café naïve_x 1984") == ["café", "naïve", "x", "1984"]
    assert split("") == []


def test_pieces_of_a_word() -> None:
    kinds = ["word", "pair", "prefix", "suffix", "start", "place"]
    first, second, third = pieces_of(["what", "is", "electricity"], kinds)
    assert first == ["what", "< what", "", "-hat", "^what", "0|what"]
    assert second == ["is", "what is", "", "", "^what is", "1|is"]
    assert third == [
        "electricity", "is electricity", "elect-", "-ity", "^what is electricity", "2|electricity",
    ]  # fmt: skip
    beyond = pieces_of(list("abcdefg"), ["start", "place"])
    assert beyond[4:] == [["", "4|e"], ["", "5|f"], ["", ""]]


def test_five_letters_of_a_word() -> None:
    (grams,) = pieces_of(["moving"], GRAMS)
    assert grams == ["#^movi", "#movin", "#oving", "#ving$", "", "", "", ""]
    assert not any(pieces_of(["at"], GRAMS)[0])


def test_denied_words() -> None:
    text = "it wasn't funny, or good; not one of the best films ever made"
    found = [piece for (piece,) in pieces_of(split(text), ["denied"]) if piece]
    assert found == ["!funny", "!,", "!one", "!of", "!the", "!best", "!films"]


def test_pieces_of_what_is_asked_for() -> None:
    kinds = ["head", "head_prefix", "head_suffix"]
    found = pieces_of(split("What mountains are these?"), kinds)
    assert found[1] == ["?mountains", "?mount-", "?-ins"]
    assert not any(any(pieces) for i, pieces in enumerate(found) if i != 1)


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
