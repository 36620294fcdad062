"""`autoopt doctor`"""

from collections.abc import Sequence

from autoopt.commands.words import read_words
from autoopt.prose import print_prose

HELP = """Usage: autoopt doctor [root=DIR] [tracking.uri=URI]

Checks the versions of Python and of the packages, the devices, every installed
plugin (by loading it), the studies in DIR (by default autoopt-runs) and the
MLflow store. A version other than the tested one, an extra that is not
installed and the like are noted. Exits with 0, or with 1 if something is
broken."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "doctor", HELP, most=0, known=("root", "tracking.uri"))
    if parsed is None:
        return 0
    from autoopt.commands.installed import devices_here, environment, plugins  # loads torch, which the help does not need
    from autoopt.commands.stores import check_stores

    broken = 0
    for title, checks in {
        "environment": environment(),
        "devices": devices_here(),
        "plugins": plugins(),
        "stores": check_stores(parsed.settings),
    }.items():
        print(title)
        for checked in checks:
            print_prose(f"  {checked.state:<7}  {checked.text}")
            broken += checked.state == "broken"
    print(f"\n{broken} broken" if broken else "\nNothing is broken.")
    return 1 if broken else 0
