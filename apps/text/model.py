"""Two classifiers of sentences, in plain torch: a bag of embeddings, and a small transformer."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BagClassifier", "EncoderClassifier", "EncoderLayer"]

_FAR = 24.0
"""Off the score of a place without a word: it gets e^-24 of the attention, which is nothing."""


class BagClassifier(nn.Module):
    """The mean of the embeddings of all pieces, and a linear layer.

    The shape of the text classifier in CrypTen's paper (Knott et al., NeurIPS 2021, section 5), as
    in fastText (Joulin, Grave, Bojanowski, Mikolov, EACL 2017).

    Args:
        rows: of the table; the first one is of no piece.
        width: of an embedding.
        classes: to choose from.
    """

    def __init__(self, rows: int, width: int, classes: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(rows, width, mode="mean", padding_idx=0)
        self.head = nn.Linear(width, classes)

    def forward(self, places: Tensor) -> Tensor:
        """(N, length, kinds) rows of the table -> (N, classes)"""
        logits: Tensor = self.head(self.table(places.flatten(1)))
        return logits


class EncoderClassifier(nn.Module):
    """Words as sums of their pieces' embeddings; layers of self-attention add to what these say.

    The encoder of Vaswani et al. (NeurIPS 2017) with the norm before each block (Xiong et al., ICML
    2020) and GELU. The table is narrower than the layers (ALBERT, Lan et al., ICLR 2020), and its
    mean goes to the scores as in the bag, beside the mean of what the layers make of it.

    Args:
        rows, classes: as of the bag.
        embedding: width of the table.
        width: of the layers.
        length: words of a sentence, at most.
        layers: of attention and a network for each word.
        heads: of attention.
    """

    def __init__(
        self,
        rows: int,
        embedding: int,
        classes: int,
        *,
        width: int,
        length: int,
        layers: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(rows, embedding, mode="sum", padding_idx=0)
        self.direct = nn.Linear(embedding, classes)
        self.widen = nn.Linear(embedding, width)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, places: Tensor) -> Tensor:
        """(N, length, kinds) rows of the table -> (N, classes)"""
        count, length, _ = places.shape
        # Of places that one party knows all this is known to it, and costs nothing.
        present = (places[:, :, 0] != 0).to(self.positions.dtype)  # (N, L)
        share = present / present.sum(1, keepdim=True).clamp(min=1.0)
        words = self.table(places.flatten(0, 1)).view(count, length, -1)  # (N, L, E)
        x = self.widen(words) + self.positions[:length]  # (N, L, d)
        barred = ((present - 1.0) * _FAR).view(count, 1, 1, length)
        for layer in self.layers:
            x = layer(x, barred)
        both = torch.cat((words, x), 2)
        mean = torch.matmul(share.unsqueeze(1), both).squeeze(1)  # (N, E + d)
        narrow = words.shape[2]
        scores: Tensor = self.direct(mean[:, :narrow]) + self.head(self.norm(mean[:, narrow:]))
        return scores


class EncoderLayer(nn.Module):
    """Self-attention, then a network for each word, each added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm = nn.LayerNorm(width)
        self.mixed = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.second_norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, barred: Tensor) -> Tensor:
        """(N, L, d); barred is added to the scores, (N, 1, 1, L)"""
        x = x + self._attention(self.first_norm(x), barred)
        hidden = functional.gelu(self.wide(self.second_norm(x)))
        total: Tensor = x + self.narrow(hidden)
        return total

    def _attention(self, x: Tensor, barred: Tensor) -> Tensor:
        count, length, width = x.shape
        depth = width // self.heads
        parts = self.mixed(x).view(count, length, 3, self.heads, depth).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]  # (N, heads, L, depth)
        scores = torch.matmul(query, key.transpose(2, 3)) * (1 / math.sqrt(depth))
        weights = torch.softmax(scores + barred, dim=-1)  # (N, heads, L, L)
        mixed = torch.matmul(weights, value).transpose(1, 2).reshape(count, length, width)
        joined: Tensor = self.joined(mixed)
        return joined
