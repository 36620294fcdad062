"""Texts as indices into a vocabulary that is learnt from the training part."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoopt.data.examples import Encoded

WORD = re.compile(r"\w+|[^\w\s]")
PADDING, UNKNOWN = 0, 1


@dataclass(frozen=True)
class Texts:
    """Texts that are encoded as indices of their words.

    Args:
        texts: one for each example.
        length: how many words of a text are used, from its start.
        vocabulary: the number of indices, with those of padding and of unknown words; the most frequent words get one. Words that
            occur once in the training part get none, so that the index of unknown words is trained as well.
    """

    texts: Sequence[str]
    length: int
    vocabulary: int

    def __len__(self) -> int:
        return len(self.texts)

    def content(self) -> bytes:
        return "\n".join(self.texts).encode()

    def encoded(self, train: Tensor, without: Collection[str], embed: bool) -> Encoded:
        split = [words(text)[: self.length] for text in self.texts]
        training = [split[index] for index in train.tolist()]
        counts = Counter(word for text in training for word in text)
        repeated = [word for word in counts if counts[word] > 1] or counts
        kept = sorted(repeated, key=lambda word: (-counts[word], word))[: self.vocabulary - 2]
        longest = max(1, max(map(len, training), default=1))
        return Encoded(encode_texts(split, kept, longest), tokens=len(kept) + 2, words={"vocabulary": kept, "length": longest})


def encode_texts(texts: Sequence[Sequence[str]], vocabulary: Iterable[str], length: int) -> Tensor:
    """Texts, split into words, as the indices of their first words, int64 `(N, length)`: 0 is padding, 1 an unknown word."""
    indices = {word: index for index, word in enumerate(vocabulary, UNKNOWN + 1)}
    encoded = torch.full((len(texts), length), PADDING)
    for row, text in zip(encoded, texts, strict=True):
        first = [indices.get(word, UNKNOWN) for word in text[:length]]
        row[: len(first)] = torch.tensor(first, dtype=torch.int64)
    return encoded


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())
