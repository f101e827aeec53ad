"""Where the long steps run: in this process, or on a Ray cluster. What they do is the same."""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from rnnfv.extras import wanted

__all__ = ["LOCAL", "Engine", "LocalEngine", "RayEngine", "Tell", "Worker", "open_engine"]

_RETRIES = 10  # of one piece of work whose machine is lost, or whose process dies
_ANSWER = 10  # seconds within which a cluster has to answer
_FAILED = -1  # in the place of an index: what comes is an exception

Tell: TypeAlias = Callable[[int], None]
Worker: TypeAlias = Callable[[Sequence[Any], Tell], Iterator[tuple[int, Any]]]
Load: TypeAlias = Callable[[Any], Iterable[tuple[Any, ...]]]


class Engine(Protocol):
    """What runs independent pieces of work. Results do not depend on which one does, but for the rounding of sums.

    Attributes
    ----------
    processes : int or None
        How many a worker should start at most, where it starts some; None where it has the machine for itself.
    """

    @property
    def processes(self) -> int | None: ...

    def map(
        self, make_worker: Callable[[], Worker], items: Sequence[Any], *, batch: int, tell: Tell = ...
    ) -> Generator[tuple[int, Any]]:
        """Do something with every item.

        Parameters
        ----------
        make_worker : callable
            Makes what does it, once for each process: something that takes some of the items and a callable to which
            it tells how many more units it has seen, and yields the place of each item among them and the result, in
            any order. An exception from it ends the whole; what concerns one item is to be a result.
        items : sequence
        batch : int
            Items that a worker takes at a time, where there are several.
        tell : callable
            Is told, here, how many more units were seen.

        Yields
        ------
        (int, object)
            The index of each item, and its result, as they come.
        """

    def fit_parts(self, estimator: Any, parts: Sequence[Any], load: Load, *, batch: int, tell: Tell = ...) -> Any:
        """Fit an estimator on data that is read part by part.

        What is summed apart is merged two by two in the order of the parts, never in that of its arrival: the result
        is the same to the last bit, whatever was lost and computed again, on however many machines.

        Parameters
        ----------
        estimator : RegularizedCCA or GramPCA
            Not fitted. It has ``partial_fit`` and ``merge``.
        parts : sequence
            What ``load`` takes.
        load : callable
            From a part to blocks of data, each a tuple of arrays for ``partial_fit``.
        batch : int
            Parts that are summed together where there are several workers. With as many rows as columns in a batch,
            or more, sums take longer to make than to send.
        tell : callable
            Is told how many more parts are done.

        Returns
        -------
        estimator
        """


class LocalEngine:
    """Runs everything in this process, one thing after another.

    Examples
    --------
    >>> from rnnfv.distributed import LocalEngine
    >>> def make_worker():
    ...     return lambda items, tell: ((i, 2 * item) for i, item in enumerate(items))
    >>> dict(LocalEngine().map(make_worker, [3, 4, 5], batch=2))
    {0: 6, 1: 8, 2: 10}
    """

    processes = None

    def map(
        self,
        make_worker: Callable[[], Worker],
        items: Sequence[Any],
        *,
        batch: int,
        tell: Tell = lambda units: None,
    ) -> Generator[tuple[int, Any]]:
        """See `Engine.map`; ``batch`` is of no account."""
        yield from make_worker()(items, tell)

    def fit_parts(
        self, estimator: Any, parts: Sequence[Any], load: Load, *, batch: int, tell: Tell = lambda units: None
    ) -> Any:
        """See `Engine.fit_parts`; all is summed together, and ``batch`` of no account."""
        for part in parts:
            estimator = _fold(estimator, load, [part])
            tell(1)
        return estimator


LOCAL = LocalEngine()


@dataclass(frozen=True)
class RayEngine:
    """Runs on a Ray cluster: Ray Data's actors for `map`, Ray's tasks for `fit_parts`.

    Work of a machine that is lost, or of a process that dies, is done again elsewhere. Ray must have been started:
    see `open_engine`.

    Parameters
    ----------
    cpus : float
        That one worker reserves.
    gpus : float
        That one worker reserves; a part of one, such as 0.25, lets workers share it.

    Examples
    --------
    >>> from rnnfv.distributed import RayEngine, open_engine
    >>> def work(engine):
    ...     return dict(engine.map(lambda: lambda items, tell: enumerate(items), "abc", batch=2))
    >>> with open_engine("ray", cpus=2) as engine:  # doctest: +SKIP
    ...     work(engine)
    {0: 'a', 1: 'b', 2: 'c'}
    """

    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.cpus <= 0 or self.gpus < 0:
            raise ValueError(
                f"a worker reserves {self.cpus} CPUs and {self.gpus} GPUs: give more than 0, and 0 or more"
            )

    def map(
        self,
        make_worker: Callable[[], Worker],
        items: Sequence[Any],
        *,
        batch: int,
        tell: Tell = lambda units: None,
    ) -> Generator[tuple[int, Any]]:
        """See `Engine.map`."""
        import ray.data

        rows = [{"first": i, "items": pickle.dumps(list(items[i : i + batch]))} for i in range(0, len(items), batch)]
        if not rows:
            return
        with _quiet_patience():
            outcomes = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _Actor,
                fn_constructor_args=(make_worker, str(Path.cwd())),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=min(self._room(), len(rows))),
                num_cpus=self.cpus,
                num_gpus=self.gpus,
            )
        tables: Any = iter(outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
        missing = set(range(len(items)))
        try:
            for table in tables:
                for index, outcome in zip(table["index"].to_pylist(), table["outcome"].to_pylist(), strict=True):
                    result, units = pickle.loads(outcome)  # of our own actors, never of a file
                    if index == _FAILED:
                        raise result
                    if index not in missing:
                        raise RuntimeError(f"Ray gave item {index} again, of {len(items)}: start the same work again")
                    missing.remove(index)
                    tell(units)
                    yield index, result
        finally:
            # The actors end with the last that refers to them, which the frames of an exception must not be.
            if hasattr(tables, "close"):
                tables.close()
            del tables, outcomes
        if missing:
            number, first = len(missing), min(missing)
            raise RuntimeError(f"Ray gave nothing for {number} items, such as {first}: start the same work again")

    def fit_parts(
        self, estimator: Any, parts: Sequence[Any], load: Load, *, batch: int, tell: Tell = lambda units: None
    ) -> Any:
        """See `Engine.fit_parts`. Every batch is a task; a binary tree of tasks merges their sums."""
        import ray

        if len(parts) == 0:
            return estimator
        self._room()
        task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=_RETRIES)
        fold, merge = task(_fold), task(_merged)
        empty, loader = ray.put(estimator), ray.put(load)
        batches = [parts[i : i + batch] for i in range(0, len(parts), batch)]
        folder = str(Path.cwd())
        level = [fold.remote(empty, loader, part, folder) for part in batches]
        sizes = dict(zip(level, map(len, batches), strict=True))
        while len(level) > 1:
            # What nobody refers to any more is freed as soon as it is merged.
            level = [merge.remote(*pair) if len(pair) == 2 else pair[0] for pair in _pairs(level)]
        try:
            while sizes:
                for done in ray.wait(list(sizes), fetch_local=False)[0]:
                    tell(sizes.pop(done))
            return ray.get(level[0])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None

    @property
    def processes(self) -> int:
        """As many as the processors that a worker reserves."""
        return max(1, int(self.cpus))

    def _room(self) -> int:
        """How many workers the cluster has room for now."""
        import ray

        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        reserved = {"CPU": self.cpus, "GPU": self.gpus}
        room = sum(  # a worker is on one machine: what two have left over is no room for a third
            math.floor(min(machine.get(kind, 0) / size for kind, size in reserved.items() if size))
            for machine in machines
        )
        if room < 1:
            cpus, gpus = (sum(machine.get(kind, 0) for machine in machines) for kind in reserved)
            raise RuntimeError(
                f"no machine of the Ray cluster has {self.cpus:g} CPUs and {self.gpus:g} GPUs for a worker: "
                f"it has {cpus:g} and {gpus:g} in all"
            )
        return room


@contextmanager
def open_engine(
    name: Literal["local", "ray"] = "local", address: str | None = None, *, cpus: float = 1, gpus: float = 0
) -> Iterator[Engine]:
    """Connect to where work is to run; disconnect at the end.

    Parameters
    ----------
    name : {"local", "ray"}
    address : str, optional
        Of the Ray cluster: "auto" for the one to which this machine belongs, or host:port. Default: one on this
        machine alone, which ends with the block; or, where this process has called ``ray.init``, that one.
    cpus, gpus : float
        See `RayEngine`.

    Raises
    ------
    ImportError
        If Ray is not installed.
    ConnectionError
        If there is no cluster at the address, or it wants a token that is not here.
    ValueError
        If the name is unknown, or "local" is given an address or GPUs.
    """
    if name == "local":
        if address is not None or gpus or cpus != 1:
            raise ValueError("an address, and CPUs and GPUs of workers, are those of the engine ray: choose it, too")
        yield LOCAL
        return
    if name != "ray":
        raise ValueError(f"there is no engine {name!r}: choose local or ray")
    engine = RayEngine(cpus, gpus)
    # Read when Ray is imported and started, also by the processes of a cluster that is started here. What Ray's core
    # says on stderr is of its own affairs: what concerns the work is an exception.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with wanted("ray", "the engine ray needs Ray"):
        import ray
        import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # after the import, which sets it

    is_ours = not ray.is_initialized()
    if is_ours:
        _connect(address)
    try:
        yield engine
    finally:
        if is_ours:
            ray.shutdown()


def _connect(address: str | None) -> None:
    """Connect this process to a cluster, or start one on this machine alone."""
    import ray

    if address:
        _refuse_silence_at(address)
    # "local" also where the environment names a cluster: what is not asked for is not used.
    place, dashboard = (address, None) if address else ("local", False)
    try:
        with _own_handler_of_sigterm(), _silence():
            ray.init(place, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=dashboard)
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        why = str(error).split(". ")[0]
        remedy = "this machine must be part of it, and know its token, if it has one (RAY_AUTH_MODE, RAY_AUTH_TOKEN)"
        raise ConnectionError(f"{why}: {remedy}") from error


def _refuse_silence_at(address: str) -> None:
    """See that somebody answers there: Ray itself would try for a quarter of an hour."""
    place = urlsplit(address if "//" in address else f"//{address}")
    if place.port is None:  # it is not of that kind
        return
    try:
        socket.create_connection((place.hostname, place.port), _ANSWER).close()
    except OSError as error:
        raise ConnectionError(f"no Ray cluster answers at {address} ({error.strerror or error})") from error


@contextmanager
def _own_handler_of_sigterm() -> Iterator[None]:
    """Keep what this process does on SIGTERM: `ray.init` puts a handler of its own in its place."""
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers, nor does Ray there
        yield
        return
    before, told = signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        if before is not None:  # else it is not one of Python's
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _silence() -> Iterator[None]:
    """Let nothing through to stderr, also of what writes there past Python: Ray's core says there how much it says."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _quiet_patience() -> Iterator[None]:
    """Ray Data's settings for a dataset that is made in the block: no bars beside ours, and work may take days.

    A dataset copies the process's settings when it is made.
    """
    import ray.data

    context = ray.data.DataContext.get_current()
    ours = {"enable_progress_bars": False, "print_on_execution_start": False, "execution_no_progress_timeout_s": -1}
    theirs = {name: getattr(context, name) for name in ours}
    try:
        for name, value in ours.items():
            setattr(context, name, value)
        yield
    finally:
        for name, value in theirs.items():
            setattr(context, name, value)


# -- what runs elsewhere ---------------------------------------------------------------------------


class _Actor:
    """A process of Ray Data with one worker in it. Exceptions are results: Ray's own retries are for lost processes.

    A retry counts how many rows the lost process had sent, and sends those behind them. So the rows of a batch have an
    order, that of its items, and not that in which a worker happened to be done with them.
    """

    def __init__(self, make_worker: Callable[[], Worker], folder: str) -> None:
        _go_to(folder)
        self._make_worker = make_worker
        self._worker: Worker | None = None

    def __call__(self, batch: Any) -> Iterator[Any]:
        for first, items in zip(batch["first"].to_pylist(), batch["items"].to_pylist(), strict=True):
            units = 0

            def tell(more: int) -> None:
                nonlocal units
                units += more

            try:
                self._worker = self._worker or self._make_worker()
                results = sorted(self._worker(pickle.loads(items), tell), key=itemgetter(0))
            except Exception as error:
                yield _row(_FAILED, error, 0)
                continue
            for place, result in results:
                yield _row(first + place, result, units)
                units = 0


def _row(index: int, result: Any, units: int) -> Any:
    import pyarrow as pa

    outcome = pickle.dumps((result, units), protocol=pickle.HIGHEST_PROTOCOL)
    return pa.table({"index": pa.array([index], pa.int64()), "outcome": pa.array([outcome], pa.large_binary())})


def _go_to(folder: str) -> None:
    """Work in the folder that the command works in, where there is one: relative paths are seen from there."""
    with suppress(OSError):
        os.chdir(folder)


def _fold(estimator: Any, load: Load, parts: Sequence[Any], folder: str = "") -> Any:
    """The estimator, fitted on some parts more; elsewhere in the command's folder."""
    if folder:
        _go_to(folder)
    for part in parts:
        for block in load(part):
            estimator = estimator.partial_fit(*block)
    return estimator


def _pairs(items: list[Any]) -> list[list[Any]]:
    return [items[i : i + 2] for i in range(0, len(items), 2)]


def _merged(left: Any, right: Any) -> Any:
    return left.merge(right)
