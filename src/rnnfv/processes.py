"""Processes that train one net together, as torchrun starts them."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["ALONE", "Group", "join", "place", "refuse_several"]

_PATIENCE = timedelta(minutes=30)  # for another process, such as the first one while it judges an epoch
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets them

T = TypeVar("T")


def place() -> tuple[int, int]:
    """Which process this is, from 0, and of how many: (0, 1) where it is alone. Does not import torch.

    Examples
    --------
    >>> from rnnfv.processes import place
    >>> place()
    (0, 1)
    """
    if "torch" in sys.modules:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            return dist.get_rank(), dist.get_world_size()
    if all(name in os.environ for name in _VARIABLES):
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def refuse_several(reason: str) -> None:
    """Say that there is nothing to share, where several processes were started.

    Raises
    ------
    ValueError
        If this process is one of several.
    """
    if place()[1] > 1:
        raise ValueError(f"{reason}: start it without torchrun")


@dataclass(frozen=True)
class Group:
    """The processes that train together. All of them call the same methods in the same order.

    Attributes
    ----------
    rank : int
        Which one this is, from 0.
    count : int
    """

    rank: int
    count: int

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that judges, writes and prints."""
        return self.rank == 0

    def share(self, items: NDArray[Any]) -> NDArray[Any]:
        """This process's share of the items; it may be empty."""
        return items[self.rank :: self.count]

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the processes, which is the same to the bit in all of them."""
        if self.count > 1:
            import torch.distributed as dist

            with _clear_errors():
                dist.all_reduce(tensor)

    def take_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.count > 1:
            import torch.distributed as dist

            with _clear_errors():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every process; it lies in the memory of the CPU and has one shape in all of them."""
        if self.count == 1:
            return [tensor]
        import torch
        import torch.distributed as dist

        gathered = [torch.empty_like(tensor) for _ in range(self.count)]
        with _clear_errors():
            dist.all_gather(gathered, tensor)
        return gathered

    def from_first(self, make: Callable[[], T]) -> T:
        """What the function gives in the first process, the only one that calls it.

        Raises
        ------
        RuntimeError
            In the other processes, where the function failed. In the first one its own error is raised.
        """
        if self.count == 1:
            return make()
        import torch
        import torch.distributed as dist

        outcome: list[Any] = [None, None]
        failure: Exception | None = None
        if self.is_first:
            try:
                outcome[0] = make()
            except Exception as error:
                failure, outcome[1] = error, str(error)
        with _clear_errors():
            dist.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
        if failure is not None:
            raise failure
        if outcome[1] is not None:
            raise RuntimeError(f"the first process failed: {outcome[1]}")
        value: T = outcome[0]
        return value

    def check_agreement(self, told: dict[str, Any]) -> None:
        """Refuse to train together what is not the same.

        Parameters
        ----------
        told : dict
            Plain values that must be equal in all processes.

        Raises
        ------
        ValueError
            In a process that differs from the first.
        """
        first = self.from_first(lambda: told)
        other = [name for name, value in first.items() if told.get(name) != value]
        if other:
            raise ValueError(
                f"process {self.rank} would train something else than the first (other {', '.join(other)}): "
                "processes that train together must all call fit with the same data and parameters"
            )


ALONE = Group(0, 1)


def join() -> Group:
    """The group of this process, which is made where torchrun started several and nobody has made it yet.

    With GPUs each process takes the one of its own number on this machine.

    Returns
    -------
    Group
        `ALONE` where there is one process.

    Raises
    ------
    RuntimeError
        If the other processes cannot be reached.
    ValueError
        If there are GPUs, but fewer than processes.
    """
    rank, count = place()
    if count == 1:
        return ALONE
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        local, gpus = int(os.environ.get("LOCAL_RANK", rank)), torch.cuda.device_count()
        if 0 < gpus <= local:
            raise ValueError(
                f"process {rank} has no GPU of its own: start at most {gpus} processes on this machine, "
                "or hide the GPUs from them (CUDA_VISIBLE_DEVICES=)"
            )
        if gpus:
            torch.cuda.set_device(local)
        # Its functions take the group that is there for a default argument. Imported later, as torch's optimisers do,
        # they would hold this one behind `_leave`, and a thread of it could abort the process while Python ends.
        import torch.distributed.nn.functional

        with _clear_errors():
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=_PATIENCE)
        atexit.register(_leave)
    return Group(rank, count)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Say in one line what torch says about sockets."""
    try:
        yield
    except RuntimeError as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise RuntimeError(
            f"another of the processes that train together has ended or does not answer ({first_line}); "
            "its own message says why. Start the same command again"
        ) from error
