"""Run the benchmarks one after another and write one page of their ratios: RESULTS.md and results.json.

    python benchmarks/run_all.py                  # small sizes: minutes
    python benchmarks/run_all.py --full           # the paper's sizes: hours
    python benchmarks/run_all.py --only encode_speed train_speed
    python benchmarks/run_all.py --device cuda    # what has a GPU's line: RESULTS-cuda.md, results-cuda.json

Every script is a process of its own. What it prints is shown as it comes; a script that fails is a line on the page
and makes the exit code 1. With --only, the other scripts' results stay on the page, with the date and the machine of
their own run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _common as common

HERE = Path(__file__).parent
ORDER = [
    "startup_speed",
    "encode_speed",
    "growth",
    "train_speed",
    "mixture_speed",
    "cca_speed",
    "pca_speed",
    "svm_speed",
    "video_speed",
    "index_search",
    "serve_load",
    "sentences_memory",
    "action_rehearsal",
    "scaling",
    "order_videos",
    "real_sequences",
    "action_real",
    "retrieval_real",
    "retrieval_remedies",
]
ON_GPU = ("encode_speed", "train_speed", "cca_speed")
PLOTTED = ("growth",)  # what draws a plot beside the page
LONG = (
    "action_real",
    "retrieval_real",
    "retrieval_remedies",
)  # real data, minutes to hours: only with --full, or by name
HEADER = ["work", "ours", "against", "theirs", "ratio", "aim", "of the limit", "note"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the paper's sizes")
    parser.add_argument("--only", nargs="+", choices=ORDER, metavar="SCRIPT", help=", ".join(ORDER))
    parser.add_argument("--threads", type=int, default=1, help="threads of every library (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu (the default) or cuda")
    parser.add_argument("--limit", type=float, help="seconds for one script (default: 900, with --full 4 hours)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the page (default: that of the scripts)")
    args = parser.parse_args()
    suffix = "" if args.device == "cpu" else f"-{args.device}"
    page, data = args.out / f"RESULTS{suffix}.md", args.out / f"results{suffix}.json"
    every = [name for name in ORDER if args.full or name not in LONG] if args.device == "cpu" else list(ON_GPU)
    wanted = args.only or every
    if args.device != "cpu" and not set(wanted) <= set(ON_GPU):
        parser.error(f"on {args.device} there are only {', '.join(ON_GPU)}")
    this_run = {"date": datetime.date.today().isoformat(), "machine": common.machine(), "versions": common.versions()}
    this_run["limits"] = measured_limits(args)
    result: dict[str, Any] = this_run | {"benchmarks": {}}
    if args.only and data.is_file():
        before = json.loads(data.read_text("utf-8"))
        theirs = {name: before[name] for name in this_run}
        result["benchmarks"] = {name: {"run": theirs} | report for name, report in before["benchmarks"].items()}
    for name in wanted:
        print(f"== {name}", flush=True)
        result["benchmarks"][name] = {"run": this_run} | run(name, args)
        result["benchmarks"] = {key: result["benchmarks"][key] for key in ORDER if key in result["benchmarks"]}
        data.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        page.write_text(as_page(result), "utf-8")
    print(f"{page} and {data}")
    return int(any("failed" in result["benchmarks"][name] for name in wanted))


def measured_limits(args: argparse.Namespace) -> dict[str, Any]:
    """What the machine can do at most, before the first script."""
    common.limit_threads(args.threads)
    writing, reading = common.disk_rates()
    found = {
        "threads": args.threads,
        "float32 products, GFLOP/s": common.product_rate() / 1e9,
        "float64 products, GFLOP/s": common.product_rate(dtype="float64") / 1e9,
        "memory, copying, GB/s": common.memory_rate() / 1e9,
        "disk, writing through, GB/s": writing / 1e9,
        "disk, reading, GB/s": reading / 1e9,
    }
    if args.device != "cpu":
        for dtype in ("float32", "float64", "bfloat16"):
            found[f"{args.device}, {dtype} products, GFLOP/s"] = common.product_rate(args.device, dtype) / 1e9
    return found


def run(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """A script's report, with the seconds it took; or why there is none."""
    limit = args.limit or (4 * 3600 if args.full else 900)
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "report.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(told), "--threads", str(args.threads)]
        command += ["--full"] if args.full else []
        command += ["--device", args.device] if name in ON_GPU else []
        command += ["--plot", str(args.out / f"{name}.svg")] if name in PLOTTED else []
        begun = time.perf_counter()
        try:
            code = exit_code(command, limit)
            failed = f"exit code {code}" if code else "" if told.is_file() else "it wrote no results"
        except subprocess.TimeoutExpired:
            failed = f"it did not finish in {limit:,.0f} s"
        seconds = {"seconds": time.perf_counter() - begun}
        return seconds | ({"failed": failed} if failed else json.loads(told.read_text("utf-8")))


def exit_code(command: list[str], limit: float) -> int:
    """Run a command to its end; after the limit, or Ctrl-C, kill it with all processes that it has started."""
    with subprocess.Popen(command, process_group=0) as process:
        try:
            return process.wait(limit)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


# -- the page --------------------------------------------------------------------------------------


def as_page(result: dict[str, Any]) -> str:
    """The page in Markdown."""
    machine, limits = result["machine"], dict(result["limits"])
    threads = limits.pop("threads")
    parts = [
        "# What was measured",
        "Written by `make bench` (`make bench FULL=1` for the paper's sizes); not by hand. A ratio is the peer's time "
        "or size over ours, both measured in one run, taking turns, medians: above 1 rnnfv is the faster or smaller. "
        "Where the peer is a physical limit, 1 is the most there is.",
        f"The last run: {result['date']}, {machine_text(machine)}, {threads} thread(s).",
        "Versions: " + ", ".join(f"{name} {value}" for name, value in result["versions"].items()) + ".",
        "Limits of the machine, measured at the start of that run:",
        table(["limit", "measured"], [[name, f"{value:,.3g}"] for name, value in limits.items()]),
    ]
    for name, report in result["benchmarks"].items():
        parts += section(name, report, result)
    left_out = [f"[{name}.py]({name}.py)" for name in ORDER if name not in result["benchmarks"]]
    if left_out:
        parts.append("Not run here: " + ", ".join(left_out) + ".")
    return "\n\n".join(parts) + "\n"


def section(name: str, report: dict[str, Any], page: dict[str, Any]) -> list[str]:
    script, run = f"[{name}.py]({name}.py), {report['run']['date']}", report["run"]
    if run["machine"] != page["machine"]:
        rate = run.get("limits", {}).get("float32 products, GFLOP/s")
        script += f", on another machine ({machine_text(run['machine'])}{f', {rate:.3g} GFLOP/s' if rate else ''})"
    other = [f"{name} {value}" for name, value in run["versions"].items() if page["versions"].get(name) != value]
    script += f", with {', '.join(other)}" if other else ""
    if "failed" in report:
        return [f"## {name}", f"{script}, **failed**: {report['failed']}."]
    size = "the paper's sizes" if report["full"] else "small sizes"
    parts = [f"## {report['title']}", f"{script}, {size}, {report['seconds']:,.0f} s in all."]
    lines = [common.cells(common.Line(**line)) for line in report["lines"]]
    if lines:
        used = [i for i in range(len(HEADER)) if any(line[i] for line in lines)]
        parts.append(table([HEADER[i] for i in used], [[line[i] for i in used] for line in lines]))
    if name in PLOTTED and not any(text.startswith("the plot:") for text in report["skipped"]):
        parts.append(f"![{report['title']}]({name}.svg)")
    parts += [f"Skipped: {text}." for text in report["skipped"]]
    for what in ("prediction", "limited_by"):
        if report[what]:
            parts.append(f"*{'Predicted' if what == 'prediction' else 'What limits it now'}*: {report[what]}")
    return parts


def machine_text(machine: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in machine.items())


def table(header: list[str], rows: list[list[str]]) -> str:
    from rnnfv.tables import as_markdown

    return as_markdown(header, rows).rstrip()


if __name__ == "__main__":
    sys.exit(main())
