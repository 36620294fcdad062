"""`autoopt schema`"""

import json
from collections.abc import Sequence

from autoopt.commands.words import read_words
from autoopt.config.schema import config_schema

HELP = """Usage: autoopt schema > autoopt.schema.json

Prints the JSON Schema of config files, made from the installed techniques:
slots, techniques, settings, with their defaults and the ranges that are
searched. An editor that knows YAML completes and checks a file that begins
with the line

  # yaml-language-server: $schema=autoopt.schema.json"""


def run(arguments: Sequence[str]) -> int:
    if read_words(arguments, "schema", HELP, most=0, known=()) is not None:
        print(json.dumps(config_schema(), indent=2))
    return 0
