"""Texts as indices into a vocabulary that the training part shows."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoopt.data.task import Encoded

WORD = re.compile(r"\w+|[^\w\s]")
PADDING, UNKNOWN = 0, 1


@dataclass(frozen=True)
class Texts:
    """Texts of which the first `length` words count, and of these the `vocabulary` most frequent ones."""

    texts: Sequence[str]
    length: int
    vocabulary: int

    def __len__(self) -> int:
        return len(self.texts)

    def content(self) -> bytes:
        return "\n".join(self.texts).encode()

    def encoded(self, train: Tensor, without: Collection[str], embed: bool) -> Encoded:
        split = [words(text)[: self.length] for text in self.texts]
        shown = [split[number] for number in train.tolist()]
        counts = Counter(word for text in shown for word in text)
        kept = sorted(counts, key=lambda word: (-counts[word], word))[: self.vocabulary - 2]
        longest = max(1, max(map(len, shown), default=1))
        return Encoded(encode_texts(split, kept, longest), tokens=len(kept) + 2, words={"vocabulary": kept, "length": longest})


def encode_texts(texts: Sequence[Sequence[str]], vocabulary: Iterable[str], length: int) -> Tensor:
    """Texts, split into words, as the numbers of their first ones in a vocabulary, int64 `(N, length)`, what is left over being padding."""
    numbers = {word: number for number, word in enumerate(vocabulary, UNKNOWN + 1)}
    found = torch.full((len(texts), length), PADDING)
    for row, text in zip(found, texts, strict=True):
        known = [numbers.get(word, UNKNOWN) for word in text[:length]]
        row[: len(known)] = torch.tensor(known, dtype=torch.int64)
    return found


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())
