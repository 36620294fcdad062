"""What can stand at the end of a command line, for the shell."""

from collections.abc import Iterator, Sequence

from autoopt.records.stored import names
from autoopt.slots import PLUGGABLE
from autoopt.technique import available

OF_STUDIES = ("show", "finish", "export", "report", "reproduce", "ui")
"""The commands whose first word is a study."""
REFERENCES = ("recipe", "study.from", "study.start")
"""The settings that name a study."""
SUB_COMMANDS = ("show", "check", "new")


def complete_words(command: str, line: str) -> list[str]:
    """The endings of a line of a command that takes no config."""
    *before, last = line.split(" ")
    words = [word for word in before if word and "=" not in word and not word.startswith("-")]
    known: list[str] = []
    if command in OF_STUDIES and not words:
        known = names(root_of(before))
    elif command == "plugins":
        known = plugin_words(words)
    return [word for word in known if word.startswith(last)]


def plugin_words(words: Sequence[str]) -> list[str]:
    """What may follow the words of `autoopt plugins`."""
    if not words:
        return [*SUB_COMMANDS, *PLUGGABLE]
    if words[0] == "new":
        return [f"{slot}/" for slot in PLUGGABLE] if len(words) == 1 else []
    if words[0] == "check" or words == ["show"]:
        return [f"{slot}/{name}" for slot in PLUGGABLE for name in available(slot)]
    return []


def complete_value(word: str, before: Sequence[str]) -> list[str] | None:
    """The endings of a setting that names a study, or of a list of techniques after its first comma; `None` for other words."""
    key, equals, value = word.partition("=")
    if equals and key in REFERENCES:
        return [f"{key}={name}" for name in names(root_of(before)) if name.startswith(value)]
    if key in PLUGGABLE and "," in value:
        return list(further(key, value))
    return None


def further(slot: str, value: str) -> Iterator[str]:
    """A slot's list with each technique that it does not name yet in the place of its last word."""
    given, _, last = value.rpartition(",")
    for name in available(slot):
        if name.startswith(last) and name not in given.strip("'\"[").split(","):
            yield f"{slot}={given},{name}"


def root_of(words: Sequence[str]) -> str | None:
    return next((word.removeprefix("root=") for word in words if word.startswith("root=")), None)
