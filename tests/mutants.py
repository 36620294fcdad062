"""Would the tests notice? Changes one operator, number or condition at a time, and runs the tests of that file.

    python tests/mutants.py 200            # so many mutants, drawn at random over the files below
    python tests/mutants.py 50 weighing    # of one file

Each mutant is a fork of a process that has imported what is slow to import. It is killed where a test fails, and counts as
killed where it hangs. Survivors are printed with their line: some change nothing (an equivalent mutant), the others are
holes in the tests.

What changes nothing by its nature is left out: annotations, the signatures of functions without a body (of a protocol),
`frozen=True` of a dataclass, the margin of a table (`pad_edge`), and `strict=True` of a zip, an assertion that never fails.
"""

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIMIT = 300  # seconds for the tests of one mutant
TESTS = {
    "live": ["tests/test_api.py"],
    "module/applied": ["tests/module/test_names.py", "tests/module/test_module.py"],
    "module/weights": ["tests/trial/test_checkpoints.py", "tests/trial/test_own_trainer.py", "tests/module/test_module.py"],
    "trial/keeper": ["tests/trial/test_checkpoints.py", "tests/trial/test_preempted.py"],
    "goal": ["tests/test_goal.py", "tests/study/test_compress.py", "tests/study/test_stages.py"],
    "strategy": ["tests/test_halving.py", "tests/plugins/test_strategy.py", "tests/study/test_sampling.py"],
    "space/space": ["tests/test_space.py", "tests/study/test_preflight.py"],
    "space/questions": ["tests/test_space.py"],
    "space/domain": ["tests/test_space.py"],
    "space/condition": ["tests/test_space.py"],
    "space/option": ["tests/test_space.py", "tests/study/test_preflight.py"],
    "report/sentence": ["tests/test_report.py"],
    "report/terminal": ["tests/test_report.py"],
    "study/budget": ["tests/study/test_budget.py"],
    "study/compress": ["tests/study/test_compress.py"],
    "study/confirm": ["tests/study/test_confirm.py"],
    "study/decide": ["tests/study/test_decide.py", "tests/study/test_stages.py"],
    "study/explore": ["tests/study/test_sampling.py"],
    "records/folder": ["tests/records/test_folder.py", "tests/study/test_stages.py"],
    "study/interrupts": ["tests/study/test_runner.py"],
    "study/jobs": ["tests/study/test_runner.py"],
    "records/journal": ["tests/records/test_journal.py", "tests/study/test_sampling.py"],
    "records/journal_file": ["tests/records/test_journal.py"],
    "study/mirror": ["tests/study/test_mirror.py"],
    "study/preflight": ["tests/study/test_preflight.py"],
    "records/record": ["tests/records/test_record.py"],
    "study/runner": ["tests/study/test_runner.py"],
    "study/sampling": ["tests/study/test_sampling.py", "tests/study/test_compress.py"],
    "study/search": ["tests/study/test_stages.py", "tests/config/test_config_arguments.py"],
    "records/settled": ["tests/study/test_stages.py"],
    "records/verdict": ["tests/test_report.py", "tests/analysis/test_weighing.py"],
    "analysis/weighing": ["tests/analysis/test_weighing.py"],
}
NEUTRAL = (("frozen", "True"), ("pad_edge", "False"), ("strict", "True"))  # arguments that change no value and no message
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


def spots(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """The nodes that can be changed, each with the kind of the change; annotations and neutral arguments are left alone."""
    skipped = set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation:
            skipped.update(map(id, ast.walk(node.annotation)))
        if isinstance(node, ast.FunctionDef) and node.returns:
            skipped.update(map(id, ast.walk(node.returns)))
        if isinstance(node, ast.FunctionDef) and ast.unparse(node.body[-1]) == "...":
            skipped.update(map(id, ast.walk(node.args)))
        if isinstance(node, ast.keyword) and (node.arg, ast.unparse(node.value)) in NEUTRAL:
            skipped.add(id(node.value))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
            yield node, "compare"
        elif (isinstance(node, (ast.BoolOp, ast.BinOp))) and type(node.op) in SWAPS:
            yield node, "operator"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float) and hasattr(node, "lineno"):
            yield node, "number"
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            yield node, "boolean"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, "not"
        elif isinstance(node, ast.If | ast.IfExp):
            yield node, "condition"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield node, "statement"


def change(node: ast.AST, kind: str) -> None:
    match kind:
        case "compare":
            node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[attr-defined]
        case "operator":
            node.op = SWAPS[type(node.op)]()  # type: ignore[attr-defined]
        case "number":
            node.value += 1  # type: ignore[attr-defined]
        case "boolean":
            node.value = not node.value  # type: ignore[attr-defined]
        case "not":
            node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)  # type: ignore[attr-defined]
        case "condition":
            node.test = ast.UnaryOp(ast.Not(), node.test)  # type: ignore[attr-defined]
        case "statement":
            node.value = ast.Constant(None)  # type: ignore[attr-defined]


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from its changed source."""

    def __init__(self, module: str, path: Path, tree: ast.AST):
        self.module, self.path, self.tree = module, path, tree

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self) if fullname == self.module else None

    def get_filename(self, fullname: str) -> str:
        return str(self.path)

    def get_data(self, path: str) -> bytes:
        return ast.unparse(ast.fix_missing_locations(self.tree)).encode()


def mutants(name: str) -> int:
    return sum(1 for _ in spots(ast.parse((ROOT / f"autoopt/{name}.py").read_text())))


def survives(name: str, number: int) -> tuple[bool, str]:
    """Whether the tests of a file pass with its mutant of this number, and which line was changed to what."""
    path = ROOT / f"autoopt/{name}.py"
    tree = ast.parse(path.read_text())
    node, kind = list(spots(tree))[number]
    line, before = node.lineno, ast.unparse(node)  # type: ignore[attr-defined]
    change(node, kind)
    where = f"{name}.py:{line} ({kind}): {before.splitlines()[0]} -> {ast.unparse(ast.fix_missing_locations(node)).splitlines()[0]}"
    if pid := os.fork():
        until = time.monotonic() + LIMIT
        while time.monotonic() < until:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return status == 0, where
            time.sleep(0.02)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return False, where
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    sys.meta_path.insert(0, Mutated(f"autoopt.{name.replace('/', '.')}", path, tree))
    code = 1
    try:
        import pytest

        code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", *(t for t in TESTS[name] if (ROOT / t).exists())])
    finally:
        os._exit(int(code))


def main(count: int, only: str = "") -> None:
    os.chdir(ROOT)
    import hydra  # noqa: F401 - each mutant is forked with it
    import optuna  # noqa: F401
    import pytest  # noqa: F401
    import scipy.special  # noqa: F401
    from hypothesis import settings

    settings.register_profile("mutants", database=None)
    every = [(name, number) for name in TESTS if only in name for number in range(mutants(name))]
    chosen = random.Random(0).sample(every, min(count, len(every)))
    killed, survivors = 0, []
    for done, (name, number) in enumerate(chosen, 1):
        lives, where = survives(name, number)
        killed += not lives
        if lives:
            survivors.append(where)
            print(f"survives  {where}", flush=True)
        if done % 25 == 0:
            print(f"{done} of {len(chosen)} (of {len(every)} in all): {killed / done:.0%} killed", flush=True)
    print(f"{killed} of {len(chosen)} killed ({killed / len(chosen):.1%}), {len(survivors)} survive")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:3])
