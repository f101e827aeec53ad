"""Questions asked together are answered as they are alone; too many, too slow and wrong ones say so."""

import asyncio
import threading

import pytest

from rnnfv.serving.batching import Batcher
from rnnfv.serving.limits import BusyError

SMALL = {"together": 4, "waiting": 8, "seconds": 10}


class Held:
    """Work that waits until it is let go, and remembers its batches."""

    def __init__(self):
        self.go, self.batches = threading.Event(), []

    def __call__(self, questions):
        assert self.go.wait(10)
        self.batches.append(list(questions))
        return [question + 1 for question in questions]


def test_what_comes_meanwhile_is_one_batch():
    async def main():
        work = Held()
        async with Batcher(work, **SMALL) as batcher:
            first = asyncio.create_task(batcher.ask(0))
            await asyncio.sleep(0.05)  # it is being worked on
            rest = [asyncio.create_task(batcher.ask(n)) for n in range(1, 7)]
            await asyncio.sleep(0.05)
            work.go.set()
            assert await asyncio.gather(first, *rest) == list(range(1, 8))
        assert work.batches == [[0], [1, 2, 3, 4], [5, 6]]

    asyncio.run(main())


def test_one_too_many_is_told_to_come_back_and_costs_the_others_nothing():
    async def main():
        work = Held()
        async with Batcher(work, **SMALL) as batcher:
            asked = [asyncio.create_task(batcher.ask(n)) for n in range(8)]
            await asyncio.sleep(0.05)
            with pytest.raises(BusyError, match="8 requests are waiting"):
                await batcher.ask(8)
            work.go.set()
            assert await asyncio.gather(*asked) == list(range(1, 9))
            assert await batcher.ask(8) == 9

    asyncio.run(main())


def test_who_has_waited_too_long_is_told_and_is_not_worked_for():
    async def main():
        work = Held()
        async with Batcher(work, together=4, waiting=8, seconds=0.2) as batcher:
            answers = await asyncio.gather(batcher.ask(1), batcher.ask(2), return_exceptions=True)
            assert [type(answer) for answer in answers] == [TimeoutError, TimeoutError]
            late = [asyncio.create_task(batcher.ask(n)) for n in (3, 4)]
            await asyncio.sleep(0)
            late[0].cancel()
            await asyncio.sleep(0)
            work.go.set()
            assert await late[1] == 5
            assert [3] not in work.batches
            assert all(3 not in batch for batch in work.batches)

    asyncio.run(main())


def test_one_wrong_question_spoils_no_other():
    def work(questions):
        return [12 // question for question in questions]

    async def main():
        async with Batcher(work, **SMALL) as batcher:
            answers = await asyncio.gather(*(batcher.ask(n) for n in (3, 0, 4)), return_exceptions=True)
        assert (answers[0], type(answers[1]), answers[2]) == (4, ZeroDivisionError, 3)

    asyncio.run(main())


def test_the_end_leaves_nobody_waiting():
    async def main():
        work = Held()
        async with Batcher(work, **SMALL) as batcher:
            asked = [asyncio.create_task(batcher.ask(n)) for n in range(3)]
            await asyncio.sleep(0.05)
        work.go.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(answer, BusyError) for answer in answers)

    asyncio.run(main())
