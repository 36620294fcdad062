"""One point of a space: a config with nothing left to choose."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autoopt.config.settings import BATCH_SIZE, SCALE_LR
from autoopt.config.yaml_file import written
from autoopt.errors import BadInput
from autoopt.slots import SLOTS

SETTING_GROUPS = ("split", "batches", "trainer")
UNSAID = ("data", "model", "loss", "device")


@dataclass(frozen=True)
class Recipe:
    """Every slot with its techniques and one value for each argument, and the split, the batches, the Trainer and the epochs.

    `tree` is a config: its space has this recipe alone.
    """

    tree: Mapping[str, Any]

    @property
    def epochs(self) -> int:
        return int(self.tree["study"]["epochs"])

    @property
    def best_epoch(self) -> bool:
        """Whether the best epoch counts, not the last one."""
        return self.tree["study"].get("value") == "best"

    @property
    def trainer(self) -> dict[str, Any]:
        """The arguments of Lightning's Trainer that are set; recipes of older versions have none."""
        return {name: value for name, value in self.tree.get("trainer", {}).items() if value is not None}

    @property
    def accumulate(self) -> int:
        """Batches whose gradients are summed up for one optimizer step."""
        return int(self.trainer.get("accumulate_grad_batches") or self.tree["batches"].get("accumulate") or 1)

    @property
    def lr_factor(self) -> float:
        """The factor of all learning rates, which are those of 64 examples a step (`batches.scale_lr`).

        By the square root: Krizhevsky 2014, arXiv:1404.5997; linear: Goyal et al. 2017, arXiv:1706.02677.

        Raises:
            BadInput: it scales them, but leaves the batch size to the data.
        """
        batches = self.tree["batches"]
        power = SCALE_LR[batches.get("scale_lr", "none")]
        if not power:
            return 1.0
        if batches["size"] is None:
            raise BadInput(f"batches.scale_lr={batches['scale_lr']} needs batch sizes in numbers, not that of the data: batches.size=…")
        return float(batches["size"] * self.accumulate / BATCH_SIZE) ** power

    def techniques(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Slot, name and values of each technique, in the order in which the slots act."""
        for slot in SLOTS:
            for name, values in self.tree[slot].items():
                yield slot, name, values

    def title(self) -> str:
        """The chosen techniques in a few words: `adamw cosine mixup`."""
        shown = [name for slot, name, _ in self.techniques() if slot not in UNSAID and name != "keep"]
        order = {name: i for i, name in enumerate([*self.tree["optimizer"], *self.tree["schedule"]])}
        return " ".join(sorted(shown, key=lambda name: order.get(name, len(order)))) or "keep"

    def value(self, key: str) -> Any:
        """What it chooses under the key of a domain, such as a slot, `slot.technique.use` or a setting; None where it has no such value."""
        head, _, rest = key.partition(".")
        node = self.tree.get(head, {})
        if head not in SLOTS:
            return node.get(rest)
        name, _, argument = rest.partition(".")
        if not name:
            return next(iter(node), None)
        return name in node if argument == "use" else node.get(name, {}).get(argument)

    def flat(self) -> dict[str, Any]:
        """Every value under its dotted key."""
        rows = {f"{slot}.{name}.{key}": value for slot, name, values in self.techniques() for key, value in values.items()}
        return rows | {f"{node}.{key}": value for node in (*SETTING_GROUPS, "study") for key, value in self.tree.get(node, {}).items()}

    def names(self) -> dict[str, str]:
        """Each slot's technique, or techniques, by name."""
        return {slot: ",".join(self.tree[slot]) or "none" for slot in SLOTS}

    def replace(self, **nodes: Any) -> "Recipe":
        """The same recipe with some of its nodes changed."""
        return Recipe({**self.tree, **nodes})

    def yaml(self) -> str:
        return written(dict(self.tree))
