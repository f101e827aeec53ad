"""The service under load: 200 clients at once on this machine, next to the bare model; and memory over many requests.

    python benchmarks/serve_load.py [--full] [--json FILE]

The model is that of `rnnfv demo --pictures`, and every request searches its 1,104 pictures by another sentence. Each
client sends its next request when it has the answer to the last. The service is a process of its own, and so are the
clients, on the same machine: on two cores they take from each other. The bare model is what the service calls,
sentences in batches of 64, in a loop, without a service. What the service answers to `/healthz` is what is possible
without any model: HTTP alone. With `--full` the load lasts a minute and 10,000 requests follow, else 5 seconds and
2,000 requests.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import _common as common
import aiohttp

from rnnfv.datasets.captions import read_captions
from rnnfv.recipes.scenes import SceneSearch, make_scene_search
from rnnfv.serving.service import Service

CLIENTS, TOGETHER, TOP = 200, 64, 10
WARM = 500  # requests before memory is looked at
LIMITED_BY = (
    "One Python process reads, checks and writes HTTP and JSON; the model works beside it, in a thread that holds the "
    "same lock half of the time, and the clients take the other core."
)


@dataclass
class Answers:
    """What came of a load."""

    seconds: list[float] = field(default_factory=list)  # until each good answer
    lost: int = 0
    taken: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.taken

    def percentile(self, share: int) -> float:
        return statistics.quantiles(self.seconds, n=100)[share - 1]


def main() -> int:
    args = common.options(__doc__).parse_args()
    common.limit_threads(args.threads)
    report = common.Report(f"The service with {CLIENTS} clients", limited_by=LIMITED_BY)
    with tempfile.TemporaryDirectory() as folder:
        made = make_scene_search(Path(folder) / "pictures")
        sentences = read_captions(made.folder / "scenes" / "dataset_scenes.json").raw
        bare = bare_rate(made, sentences)
        with served(made, args.threads) as address:
            load(report, address, sentences, bare, seconds=60 if args.full else 5)
            soak(report, address, sentences, requests=10_000 if args.full else 2_000)
    return common.finish(report, args)


def bare_rate(made: SceneSearch, sentences: list[str], seconds: float = 3.0) -> float:
    """Sentences a second, searched for in batches by what the service calls."""
    service, given = Service([made.model], [made.indexes[0]]), itertools.cycle(sentences)
    batch = lambda: [(next(given), TOP) for _ in range(TOGETHER)]  # noqa: E731
    service.read_texts(batch())
    begun, done = time.perf_counter(), 0
    while (taken := time.perf_counter() - begun) < seconds:
        done += len(service.read_texts(batch()))
    return done / taken


@contextmanager
def served(made: SceneSearch, threads: int) -> Iterator[str]:
    """The address of a service in a process of its own."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "rnnfv", "serve", made.model, "--index", made.indexes[0], "--port", str(port)]
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)}
    )
    try:
        assert process.stderr is not None
        if "rnnfv is at" not in (line := process.stderr.readline()):
            raise RuntimeError(f"the service did not start: {line}{process.stderr.read()}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def load(report: common.Report, address: str, sentences: list[str], bare: float, seconds: float) -> None:
    """All clients for so long; lines of the rate and of how long answers take."""
    plain = asyncio.run(ask(address, None, seconds=min(seconds, 5)))
    found = asyncio.run(ask(address, sentences, seconds=seconds))
    p50, p99 = found.percentile(50), found.percentile(99)
    report.figures = {
        "bare model, sentences/s": bare,
        "healthz, requests/s": plain.rate,
        "search, requests/s": found.rate,
        "p50, s": p50,
        "p99, s": p99,
        "answers": len(found.seconds),
        "lost": found.lost,
    }
    report.add(
        f"searches a second, {CLIENTS} clients, {seconds:g} s",
        f"{found.rate:,.0f}",
        peer=f"the bare model, batches of {TOGETHER}",
        theirs=f"{bare:,.0f}",
        ratio=found.rate / bare,
        share=found.rate / plain.rate,
        limit=f"HTTP alone, {plain.rate:,.0f}/s",
        note=f"{found.lost} of {len(found.seconds) + found.lost:,} lost",
    )
    # With no pause between requests, every client waits for all the others: this is as good as the rate allows.
    fair = CLIENTS / found.rate
    for name, value in (("half", p50), ("99 of 100", p99)):
        report.add(
            f"an answer, {name} come within",
            common.seconds_text(value),
            peer=f"{CLIENTS} / rate",
            theirs=common.seconds_text(fair),
            ratio=fair / value,
        )


def soak(report: common.Report, address: str, sentences: list[str], requests: int) -> None:
    """So many requests more; a line of the memory before and after."""
    asyncio.run(ask(address, sentences, requests=WARM))
    before = resident(address)
    found = asyncio.run(ask(address, sentences, requests=requests))
    after = resident(address)
    report.figures |= {"memory before, bytes": before, "memory after, bytes": after, "soak lost": found.lost}
    report.add(
        f"memory after {requests:,} requests",
        f"{after / 2**20:,.0f} MiB",
        peer="before them",
        theirs=f"{before / 2**20:,.0f} MiB",
        ratio=before / after,
        note=f"{found.lost} lost",
    )


async def ask(
    address: str, sentences: list[str] | None, *, seconds: float = 1e9, requests: int = sys.maxsize
) -> Answers:
    """Let all clients search, or look at /healthz where there are no sentences, for so long or so often."""
    answers, numbers, begun = Answers(), iter(range(requests)), time.perf_counter()

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            if (sent := time.perf_counter()) - begun > seconds:
                return
            try:
                if sentences is None:
                    request = session.get(f"{address}/healthz")
                else:
                    body = {"sentence": sentences[number % len(sentences)], "top": TOP}
                    request = session.post(f"{address}/search", json=body)
                async with request as answer:
                    is_good = len(await answer.read()) > 0 and answer.status == 200
            except aiohttp.ClientError:
                is_good = False
            if is_good:
                answers.seconds.append(time.perf_counter() - sent)
            else:
                answers.lost += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CLIENTS)) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    answers.taken = time.perf_counter() - begun
    return answers


def resident(address: str) -> float:
    """Bytes of the service's memory, as it tells them itself."""

    async def metrics() -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{address}/metrics") as answer:
            return await answer.text()

    found = re.search(r"^process_resident_memory_bytes (\S+)$", asyncio.run(metrics()), re.MULTILINE)
    if found is None:
        raise RuntimeError("the service does not tell its memory: that is only done on Linux")
    return float(found[1])


if __name__ == "__main__":
    sys.exit(main())
