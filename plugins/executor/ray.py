import math
from typing import Any

from autoopt.errors import BadInput
from autoopt.executor import Executor
from autoopt.executor.on_ray import OnRay
from autoopt.executor.remote import sent
from autoopt.executor.resources import Limits
from autoopt.store import Store

RAYS_OWN = ("CPU", "GPU", "memory", "object_store_memory")


def ray(setup: dict[str, Any], store: Store, limits: Limits, *, address: str | None = None, resources: dict | None = None) -> Executor:
    """A Ray cluster: each worker is an actor that has loaded the data and forks its trials; weights and logs come back to this machine.

    Without `address` a cluster of this machine is started; `auto` or `ray://host:port` joins one, which gets a copy of the working
    directory. A trial takes processors and GPUs as with `local`, and custom `resources` ({spot: 1}).

    Moritz et al. 2018, arXiv:1712.05889.
    """
    for name, need in (resources or {}).items():
        if isinstance(need, bool) or not isinstance(need, int | float) or not 0 < need < math.inf:
            raise BadInput(f"executor.ray.resources: {name}={need!r}: expected a number over 0")
        if need > 1 and need != int(need):
            raise BadInput(f"executor.ray.resources: {name}={need!r}: over 1, Ray takes whole numbers only")
        if name in RAYS_OWN:
            instead = "processors are executor.cpus_per_trial, GPUs executor.gpus_per_trial"
            raise BadInput(f"executor.ray.resources: {name}={need!r}: one of Ray's own resources; give custom ones ({instead})")
    return OnRay(sent(setup), store, limits, address, resources or {})
