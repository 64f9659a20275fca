"""From the logits of each frame to text, and how far a text is from the right one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from apps.speech.config import SpeechConfig

__all__ = ["BLANK", "GreedyDecoder", "edit_distance", "error_rate", "greedy_decode"]

BLANK = 0  # the class that means "nothing new in this frame"


def greedy_decode(logits: Tensor, config: SpeechConfig) -> str:
    """Best class of each frame, repeats merged, blanks dropped (Graves et al. 2006, section 3.2).

    Shapes: logits (num_classes, frames), one utterance

    Raises:
        ValueError: if the number of rows is not the number of classes in the alphabet.
    """
    decoder = GreedyDecoder(config)
    decoder.push(logits)
    return decoder.text


class GreedyDecoder:
    """`greedy_decode` for logits that come chunk by chunk: a symbol stands once it is said.

    Attributes:
        text: of all logits so far.
    """

    def __init__(self, config: SpeechConfig) -> None:
        self.text = ""
        self._config = config
        self._previous = BLANK

    def push(self, logits: Tensor) -> str:
        """What these frames add to the text, the separator before it included.

        Shapes: logits (num_classes, frames), one utterance

        Raises:
            ValueError: if the number of rows is not the number of classes in the alphabet.
        """
        alphabet, separator = self._config.alphabet, self._config.separator
        if logits.ndim != 2 or logits.shape[0] != len(alphabet):
            raise ValueError(
                f"logits of shape {tuple(logits.shape)} do not fit {len(alphabet)} classes"
            )
        before = len(self.text)
        for best in logits.argmax(dim=0).tolist():
            if best not in (self._previous, BLANK):
                self.text += (separator if self.text else "") + alphabet[best]
            self._previous = best
        return self.text[before:]


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions between the two (Levenshtein 1966)."""
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, found in enumerate(hypothesis, start=1):
            cheapest = min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != found))
            diagonal, row[j] = row[j], cheapest
    return row[-1]


def error_rate(
    references: Sequence[str], hypotheses: Sequence[str], *, words: bool = False
) -> float:
    """Edit distances added up, over the length of the references: of characters, or of words.

    Raises:
        ValueError: if the two differ in number, or the references are all empty.
    """
    errors = length = 0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        wanted = reference.split() if words else list(reference)
        found = hypothesis.split() if words else list(hypothesis)
        errors += edit_distance(wanted, found)
        length += len(wanted)
    if length == 0:
        raise ValueError("an error rate needs a reference that is not empty")
    return errors / length
