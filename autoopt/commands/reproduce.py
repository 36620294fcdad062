"""`autoopt reproduce`"""

from collections.abc import Iterator, Sequence

from autoopt.commands.words import read_words, study_named
from autoopt.config import compose
from autoopt.errors import BadInput
from autoopt.grammar import spell
from autoopt.records.record import Record
from autoopt.study.reproduce import Reproduced, first_difference, reproduce
from autoopt.terminal import Progress

HELP = """Usage: autoopt reproduce NAME TRIAL [root=DIR] [trust=module:object,…]

Trains a trial of a study again, as far as it came, and compares every epoch.
On the same machine the result is the same to the last bit; else it says what
differs: versions, processor, threads, device, your code, the data. The study
is not changed. Exits with 0 if the result is the same, else with 1. A study of
your own code needs trust=, which names it."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "reproduce", HELP, most=2, known=("root", "trust"))
    if parsed is None:
        return 0
    study = study_named(parsed, "reproduce")
    if len(parsed.words) < 2:
        raise BadInput(f"reproduce: name a trial of {study.name}, such as {study.name} 0")
    tree = compose([f"root={spell(str(study.path.parent))}"], str(study.path / "config.yaml"))
    with Progress() as screen:
        found = reproduce(study, parsed.words[1], tree, screen)
        for line in explanation(found):
            screen.say(line)
    return 0 if found.same else 1


def explanation(found: Reproduced) -> Iterator[str]:
    """Whether the trial is reproduced, and what explains it if not."""
    before, now = found.before, found.now
    if found.same:
        yield f"The same to the last bit: trial {before.key} {ending(before, found.metric)}."
        return
    yield f"Not the same: trial {before.key} {ending(before, found.metric)}; now it {ending(now, found.metric)}."
    if first := first_difference(before, now):
        epoch, name, then, here = first
        yield f"The first difference is {name} of epoch {epoch}: {then!r}, now {here!r}."
    yield from (f"  differs: {line}" for line in sorted(found.differences))
    if found.differences:
        yield "Any of these may explain it."
    elif found.steady:
        missing = "" if before.environment else " (that of the trial was not recorded)"
        yield f"Nothing that is known of the environment differs{missing}, and a further training gives the same as this one."
    else:
        yield "A further training differs, too: the training is not deterministic here, as with code that draws without the seed."


def ending(record: Record, metric: str) -> str:
    """How a training ended, with the exact value of a metric."""
    if record.state == "failed":
        return f"failed in epoch {record.epochs + 1} ({record.reason}: {record.detail})"
    value, how = record.metrics.get(metric), "stopped after" if record.state == "stopped" else "after"
    return f"had {metric} {value!r} {how} {record.epochs} {'epoch' if record.epochs == 1 else 'epochs'}"
