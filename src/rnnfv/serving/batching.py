"""Requests that come at the same time go through a model together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from rnnfv.serving.limits import BusyError

__all__ = ["Batcher"]

_Q = TypeVar("_Q")
_A = TypeVar("_A")


class Batcher(Generic[_Q, _A]):
    """Collects what is asked while the work on earlier questions goes on, and then does all of it in one call.

    Nobody waits for a batch to fill: the first question after a pause is worked on at once, alone. The work is done in
    a thread of its own, one call at a time.

    Parameters
    ----------
    work : callable
        Takes a list of questions and gives an answer for each, in their order; an exception in place of an answer is
        raised for that question. Where the whole call raises, its questions are tried one by one.
    together : int
        Questions of one call, at most.
    waiting : int
        Questions that wait, at most.
    seconds : float
        That a question waits for its answer, at most.
    tell : callable
        Told the size of every batch.

    Examples
    --------
    >>> import asyncio
    >>> from rnnfv.serving.batching import Batcher
    >>> async def main():
    ...     async with Batcher(lambda numbers: [2 * n for n in numbers], together=8, waiting=8, seconds=5) as double:
    ...         return await asyncio.gather(double.ask(1), double.ask(2))
    >>> asyncio.run(main())
    [2, 4]
    """

    def __init__(
        self,
        work: Callable[[list[_Q]], Sequence[_A | Exception]],
        *,
        together: int,
        waiting: int,
        seconds: float,
        tell: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._work, self._together, self._most, self._seconds, self._tell = work, together, waiting, seconds, tell

    async def __aenter__(self) -> Batcher[_Q, _A]:
        self._queue: asyncio.Queue[tuple[_Q, asyncio.Future[_A]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rnnfv-batch")
        self._task = asyncio.create_task(self._serve())
        self._asked: set[asyncio.Future[_A]] = set()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        for future in self._asked:
            if not future.done():
                future.set_exception(BusyError("the service is stopping"))
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def waiting(self) -> int:
        """Questions that have no answer yet."""
        return len(self._asked)

    async def ask(self, question: _Q) -> _A:
        """The answer to a question.

        Raises
        ------
        BusyError
            If too many wait already, or the service stops.
        TimeoutError
            If there is no answer in time. The question is then dropped, where the work on it has not begun.
        Exception
            What the work raises.
        """
        if len(self._asked) >= self._most:
            raise BusyError(f"{self._most} requests are waiting already: try again in a moment")
        future: asyncio.Future[_A] = asyncio.get_running_loop().create_future()
        self._asked.add(future)
        self._queue.put_nowait((question, future))
        try:
            async with asyncio.timeout(self._seconds):
                return await future
        except TimeoutError as error:
            raise TimeoutError(f"there was no answer within {self._seconds:g} seconds") from error
        finally:
            self._asked.discard(future)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            found = [await self._queue.get()]
            while len(found) < self._together and not self._queue.empty():
                found.append(self._queue.get_nowait())
            batch = [(question, future) for question, future in found if not future.done()]
            if not batch:
                continue
            self._tell(len(batch))
            answers = await loop.run_in_executor(self._thread, self._answers, [question for question, _ in batch])
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _answers(self, questions: list[_Q]) -> Sequence[_A | Exception]:
        try:
            return self._work(questions)
        except Exception as error:  # it is for the one who asked, and not for the thread
            if len(questions) == 1:
                return [error]
            return [answer for question in questions for answer in self._answers([question])]
