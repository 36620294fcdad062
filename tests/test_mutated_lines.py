"""Command lines with mistakes: each is answered with a line and exit code 2, or is done; none ends with a traceback."""

import logging
import os
import random

import pytest

from autoopt import cli
from autoopt.commands import search as command
from autoopt.errors import BadInput

LINES = (
    "search data=digits model=mlp,cnn optimizer=adamw,sgd optimizer.adamw.lr=interval(1e-4,1e-2) augmentation=[translate,mixup]",
    "search data=csv data.csv.path=t.csv data.csv.target=price loss=mse split.validation=0.2 batches.size=32,64 --strict",
    "search data=digits model=torch.nn:Linear model.Linear.out_features=10 study=quick study.time=8h seed=3 name=s",
    "search data=digits regularizer=none strategy=tpe executor.workers=2 executor.trial_time=1h tracking.uri=sqlite:///m.db --cfg job",
    "search data=digits schedule=all --info defaults",
    "list root=runs",
    "show digits-cnn 17 root=runs",
    "plugins optimizer/adamw",
)
MARKS = "[]{}(),=:.;'\"\\/$~+-*%&|<>!?#@^ \t\n0é漢\N{PILE OF POO}"
EXTRA = (
    "--cfg",
    "--info",
    "job",
    "-h",
    "--strict",
    "--help",
    "=",
    "a=b",
    "data=",
    "=digits",
    "+x=1",
    "~data",
    "model=mlp",
    "optimizer=choice(",
    "null",
)
PARTS = 20 if os.environ.get("AUTOOPT_TEST_ALL") else 4


def mutated(draw: random.Random) -> list[str]:
    """A command line with up to four mistakes."""
    words = draw.choice(LINES).split()
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(1, len(words) + 1)
        if draw.random() < 0.3 or place == len(words):
            words.insert(place, draw.choice(EXTRA))
        elif draw.random() < 0.2:
            del words[place]
        else:
            word, at = words[place], draw.randrange(len(words[place]) + 1)
            words[place] = word[:at] + draw.choice(MARKS) * draw.choice((1, 1, 2)) + word[at + draw.choice((0, 1, 3)) :]
    return words


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_hundred_mutated_command_lines(part, tmp_path, monkeypatch, capfd):
    def begun(tree, screen):
        raise BadInput("it would begin")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "search", begun)
    # Hydra's --info adds a handler, which outlives its command in this process
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(logging.root, "handlers", [*logging.root.handlers])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    draw = random.Random(part)
    for line in [mutated(draw) for _ in range(100)]:
        try:
            code = cli.main(line)
        except SystemExit as end:  # Hydra's own
            code = end.code
        said = capfd.readouterr()
        assert code in (0, 2, None), (line, said.err[-2000:])
        assert "Traceback" not in said.err + said.out and "bug in autoopt" not in said.err, (line, said.err[-2000:])
