"""A file that says how an object is made, Hydra's `_target_` or LightningCLI's `class_path`, read as an import path and its arguments.

Nothing that the file names is imported here, and nothing else in it is read: no defaults list, no resolver, no environment.
"""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autoopt import grammar
from autoopt.arguments import FROM, PARTIAL
from autoopt.config.yaml_file import mapping
from autoopt.errors import BadInput
from autoopt.namesakes import spec_of

TARGET, CLASS_PATH, INIT_ARGS = "_target_", "class_path", "init_args"
IGNORED = ("_convert_", "_recursive_")
RESOLVER = re.compile(r"\$\{[^}]*:")
UNKNOWN = object()
"""What a value is that refers to something outside of the file."""


AS_BY_DEFAULT = {"accumulate_grad_batches": (1,), "precision": (32, "32", "32-true")}
SECTIONS = {"optimizer": "optimizer", "lr_scheduler": "schedule"}
"""What a file of a whole training may say beside the model, and the slot for it."""


def unread(file: str) -> Iterator[str]:
    """What of the training that a file says is not read with its model, as it would be said on the command line.

    Raises:
        BadInput: it cannot be read.
    """
    tree = mapping(file)
    if not isinstance(tree.get("model"), dict):  # the whole file is the model
        return
    said = tree.get("trainer")
    trainer: dict[str, Any] = said if isinstance(said, dict) else {}
    for key in ("gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches", "precision", "limit_train_batches"):
        if (value := trainer.get(key)) is not None and value not in AS_BY_DEFAULT.get(key, ()):
            yield f"trainer.{key}={value}"
    if trainer.get("callbacks") or tree.get("callbacks"):
        yield "trainer.callbacks=…"
    yield from (f"{slot}=…" for key, slot in SECTIONS.items() if tree.get(key))


def is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def instance_overrides(slot: str, file: str) -> list[str]:
    """The file as overrides: the import path that fills the slot, and a pin for each argument.

    Raises:
        BadInput: it cannot be read, or names no class or function.
    """
    tree = mapping(file)
    node = tree[slot] if isinstance(tree.get(slot), dict) else tree
    if "defaults" in tree and not is_instance(node):
        raise BadInput(f"{slot}={file}: its defaults list is of other files; give what your script prints with --cfg job")
    if not is_instance(node):
        own = "".join(f" {slot}.Name.{key}=…" for key in node if node is tree.get(slot))
        way = f"or name it yourself: {slot}=module:Name{own}"
        raise BadInput(
            f"{slot}={file}: it names no class: expected {TARGET}, or {CLASS_PATH} and {INIT_ARGS}, in it or under {slot}:, {way}"
        )
    said = instance(resolved(OmegaConf.create(tree), node, f"{slot}={file}"), f"{slot}={file}")
    path = said.pop(FROM)
    name = path.rpartition(":")[2].rpartition(".")[2]
    said.pop(PARTIAL, None)  # what a slot cannot give by itself is given to its builder
    return [f"{slot}={path}", *(line for key, value in said.items() for line in pins(f"{slot}.{name}.{key}", value))]


def is_instance(node: Any) -> bool:
    return isinstance(node, dict) and (TARGET in node or CLASS_PATH in node)


def resolved(config: Any, node: Any, said: str) -> Any:
    """A node with its references to others of the file replaced by these."""
    if isinstance(node, dict):
        return {str(key): resolved(config, value, said) for key, value in node.items()}
    if isinstance(node, list):
        return [resolved(config, value, said) for value in node]
    if not isinstance(node, str) or "${" not in node:
        return node
    if RESOLVER.search(node):
        raise BadInput(f"{said}: {node} calls a resolver, which is not run; write the value")
    if "${." in node:
        raise BadInput(f"{said}: {node} is a relative reference; write the whole one, or the value")
    try:
        probe = OmegaConf.merge(config, {FROM: node})
        found = OmegaConf.to_container(OmegaConf.create({FROM: probe[FROM]}), resolve=True)[FROM]  # type: ignore[index, call-overload]
    except OmegaConfBaseException:
        return UNKNOWN
    return resolved(config, found, said) if found != node else UNKNOWN


def instance(node: Any, said: str) -> Any:
    """A value in which every object says where it is from."""
    if isinstance(node, list):
        return [instance(value, said) for value in node]
    if not isinstance(node, dict):
        return node
    if not is_instance(node):
        return {key: instance(value, said) for key, value in node.items()}
    if node.get("_recursive_") is False:
        raise BadInput(f"{said}: _recursive_: false hands a config over as it is; write a function that makes the whole")
    if "_args_" in node:
        raise BadInput(f"{said}: _args_ has no names; write each argument under its own")
    own = node.get(INIT_ARGS) or {} if CLASS_PATH in node else {k: v for k, v in node.items() if k not in (TARGET, *IGNORED)}
    return {FROM: colon_path(str(node.get(TARGET, node.get(CLASS_PATH))), said), **{k: instance(v, said) for k, v in own.items()}}


def colon_path(dotted: str, said: str) -> str:
    """`package.module.Name` as `package.module:Name`, told by which modules there are; none is imported.

    Raises:
        BadInput: there is no such module.
    """
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        if spec_of(".".join(parts[:cut])) is not None:
            return f"{'.'.join(parts[:cut])}:{'.'.join(parts[cut:])}"
    raise BadInput(f"{said}: {dotted}: expected the whole import path of a class or a function, of a package that is found from here")


def pins(key: str, value: Any) -> Iterator[str]:
    """The overrides that say a value: an object by its import path, with its arguments under it."""
    if value is UNKNOWN:
        return
    if isinstance(value, dict) and FROM in value:
        yield f"{key}={value[FROM]}"
        for name, inner in value.items():
            if name != FROM:
                yield from pins(f"{key}.{name}", inner)
    else:
        yield f"{key}={grammar.spell(known(value))}"


def known(value: Any) -> Any:
    """A list or a mapping without what is unknown in it."""
    if isinstance(value, dict):
        return {key: known(part) for key, part in value.items() if part is not UNKNOWN}
    return [known(part) for part in value if part is not UNKNOWN] if isinstance(value, list) else value
