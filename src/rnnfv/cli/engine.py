"""Where commands run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from rnnfv.distributed import Engine

__all__ = ["HERE", "Where", "open_where"]


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Where a command runs.

    Parameters
    ----------
    engine
        local, or ray: on all processors of a Ray cluster, with the same result.
    address
        Of the Ray cluster: auto for the one that this machine is part of, or host:port. Default: this machine alone.
    worker_cpus
        Processors that one worker on Ray reserves.
    worker_gpus
        GPUs that one worker on Ray reserves; a part of one, such as 0.25, lets workers share it.

    Raises
    ------
    ValueError
        If they do not go together.
    """

    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    worker_cpus: float = 1
    worker_gpus: float = 0

    def __post_init__(self) -> None:
        if self.engine == "local" and (self.address is not None or (self.worker_cpus, self.worker_gpus) != (1, 0)):
            raise ValueError("--address, --worker-cpus and --worker-gpus are of a Ray cluster: give --engine ray, too")
        if self.worker_cpus <= 0 or self.worker_gpus < 0:
            raise ValueError("--worker-cpus must be above 0, and --worker-gpus 0 or more")


HERE = Where()


def open_where(where: Where) -> AbstractContextManager[Engine]:
    """The engine that was asked for, connected until the end of the block."""
    from rnnfv.distributed import open_engine

    return open_engine(where.engine, where.address, cpus=where.worker_cpus, gpus=where.worker_gpus)
