"""What the commands that take no config have in common: words, and a few settings."""

from collections.abc import Sequence

from autoopt.errors import BadInput, nearest
from autoopt.study.stored import Stored, names, open_stored

Words = tuple[list[str], dict[str, str]]


def read_words(arguments: Sequence[str], command: str, usage: str, most: int = 1, known: Sequence[str] = ("root",)) -> Words | None:
    """The words and the settings of a command that takes no config; nothing where its help was asked for.

    Raises:
        BadInput: it takes no such option or setting, or fewer words.
    """
    if "-h" in arguments or "--help" in arguments:
        print(usage)
        return None
    settings = dict(a.split("=", 1) for a in arguments if "=" in a and not a.startswith("-"))
    words = [a for a in arguments if "=" not in a or a.startswith("-")]
    if flags := [w for w in words if w.startswith("-")]:
        raise BadInput(f"{flags[0]}: no such option; autoopt {command} --help tells what there is")
    if unknown := [key for key in settings if key not in known]:
        raise BadInput(f"{command}: no setting named '{unknown[0]}'. {nearest(unknown[0], known)}")
    if len(words) > most:
        raise BadInput(f"{command}: {words[most]} is one too many; autoopt {command} --help tells what it takes")
    return words, settings


def study_named(said: Words, command: str) -> Stored:
    """The study that the first word names.

    Raises:
        BadInput: there is none.
    """
    words, settings = said
    if not words:
        raise BadInput(f"{command}: say which study: {', '.join(names(settings.get('root'))) or 'there is none yet'}")
    return open_stored(words[0], settings.get("root"))
