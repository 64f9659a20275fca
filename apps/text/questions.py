"""What a question asks for, by a few rules of English: the noun after "what"."""

from collections.abc import Sequence

__all__ = ["head_of"]

_ASKING = frozenset("what which name what's whose".split())
_QUESTION = _ASKING | frozenset("who whom when where why how who's where's how's".split())
_HELPING = frozenset(
    "is are was were did does do has have had will would can could should be been am may might "
    "must shall being".split()
)
_POINTING = frozenset(
    "the a an this that these those some any his her its their my your our".split()
)
_ENDING = frozenset(
    "of in on at for to from by with about between into during after before as than that which "
    "who and or got gave made took wrote won became began came went said played causes makes goes "
    "comes stands gives takes means uses contains holds bears happens sells killed kept led left "
    "ran met".split()
)
_EMPTY = frozenset("name names type types kind kinds sort sorts term one example title".split())


def head_of(words: Sequence[str]) -> int | None:
    """Where the noun stands that says what is asked for, or None.

    It is "city" in "what large city is", "which is the city" and "what is the name of the city":
    the last word of the run after "what" that may be a noun or belong before one. There is no
    dictionary, so a verb that `_ENDING` does not know is taken for a noun.
    """
    first = next((i for i, word in enumerate(words) if word in _QUESTION), 0)
    if first >= len(words) or words[first] not in _ASKING:
        return None
    begin, end = _run(words, first + 1)
    if begin < end < len(words) and words[end] == "of" and words[end - 1] in _EMPTY:
        further = _run(words, end + 1)
        begin, end = further if further[0] < further[1] else (begin, end)
    if end - begin > 1 and words[end - 1] in _EMPTY and words[end - 2].endswith("'s"):
        end -= 1
    return end - 1 if begin < end else None


def _run(words: Sequence[str], begin: int) -> tuple[int, int]:
    """The first words from there that can be a noun and what goes before it."""
    while begin < len(words) and words[begin] in _HELPING | _POINTING:
        begin += 1
    end = begin
    while end < len(words) and not _ends(words[end], end > begin):
        end += 1
    return begin, end


def _ends(word: str, inside: bool) -> bool:
    if not word[0].isalnum() or word in _HELPING | _POINTING:
        return True
    return word in _ENDING or (inside and word.endswith("ed") and len(word) > 5)
