"""Texts as indices into a vocabulary that the training part shows."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
        vocabulary = {word: number for number, word in enumerate(kept, UNKNOWN + 1)}
        longest = max(map(len, shown), default=1)
        encoding = {"vocabulary": kept, "length": max(1, longest)}
        return Encoded(indices(split, vocabulary, max(1, longest)), tokens=len(kept) + 2, words=encoding)


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def indices(texts: Sequence[Sequence[str]], vocabulary: Mapping[str, int], length: int) -> Tensor:
    """int64 `(N, T)`, what is left over being padding."""
    found = torch.full((len(texts), length), PADDING)
    for row, text in zip(found, texts, strict=True):
        known = [vocabulary.get(word, UNKNOWN) for word in text[:length]]
        row[: len(known)] = torch.tensor(known, dtype=torch.int64)
    return found
