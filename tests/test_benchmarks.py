"""The runner of the benchmarks and what its scripts share, without measuring anything large."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"

SCRIPT = """
import sys
import _common as common
args = common.options("made").parse_args()
report = common.Report("Made up", "slow", "nothing", figures={"full": args.full})
report.add("work", "1 s", peer="peer", theirs="3 s", ratio=3.0, share=0.5, limit="the clock", note="a | b")
report.skip("data", "there is none")
sys.exit(common.finish(report, args))
"""


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """run_all.py for two scripts in a folder of their own, one of which fails; and its results."""
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location("run_all", FOLDER / "run_all.py")
    run_all = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run_all)
    (tmp_path / "good.py").write_text(SCRIPT)
    (tmp_path / "bad.py").write_text("raise SystemExit(5)")
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    monkeypatch.setattr(run_all, "ORDER", ["good", "bad"])
    monkeypatch.setattr(run_all, "measured_limits", lambda args: {"threads": args.threads, "products": 1e9})
    monkeypatch.setenv("PYTHONPATH", str(FOLDER), prepend=":")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["run_all.py", "--out", str(tmp_path), *arguments])
        code = run_all.main()
        return code, (tmp_path / "RESULTS.md").read_text(), json.loads((tmp_path / "results.json").read_text())

    run.run_all = run_all
    return run


def test_the_page_has_every_line_and_says_what_was_skipped_and_what_failed(runner):
    code, page, data = runner()
    assert code == 1
    assert "| work | 1 s | peer | 3 s | 3.00 | 0.50 of the clock | a \\| b |" in page
    assert "Skipped: data: there is none." in page
    assert "*What limits it now*: nothing" in page
    assert "**failed**: exit code 5" in page
    assert data["benchmarks"]["good"]["lines"][0]["ratio"] == 3
    assert {"machine", "versions", "limits"} <= set(data)


def test_a_plot_stands_beside_the_page_and_is_shown_on_it(runner, tmp_path, monkeypatch):
    plotting = 'parser = common.options("made")\nparser.add_argument("--plot")\nargs = parser.parse_args()\n'
    plotting += 'open(args.plot, "w").write("<svg/>")'
    (tmp_path / "good.py").write_text(SCRIPT.replace('args = common.options("made").parse_args()', plotting))
    monkeypatch.setattr(runner.run_all, "PLOTTED", ("good", "bad"))
    _, page, _ = runner()
    assert "![Made up](good.svg)" in page
    assert (tmp_path / "good.svg").read_text() == "<svg/>"
    assert "bad.svg" not in page
    told = plotting.replace('open(args.plot, "w").write("<svg/>")', "")
    script = SCRIPT.replace('args = common.options("made").parse_args()', told).replace(
        'skip("data"', 'skip("the plot"'
    )
    (tmp_path / "good.py").write_text(script)
    _, page, _ = runner()
    assert "good.svg" not in page


def test_a_script_without_a_line_for_the_gpu_is_refused_there(runner, capsys):
    with pytest.raises(SystemExit, match="2"):
        runner("--device", "cuda", "--only", "good")
    assert "on cuda there are only encode_speed, train_speed, cca_speed" in capsys.readouterr().err


def test_results_of_scripts_that_are_not_run_again_stay(runner):
    runner()
    code, page, data = runner("--only", "good", "--full")
    assert code == 0
    assert data["benchmarks"]["good"]["figures"] == {"full": True}
    assert "exit code 5" in page


def test_every_script_keeps_the_date_and_the_machine_of_its_own_run(runner, monkeypatch):
    _, _, before = runner()
    monkeypatch.setattr(runner.run_all.common, "machine", lambda: {"processor": "abacus"})
    monkeypatch.setattr(runner.run_all.common, "versions", lambda: {**before["versions"], "numpy": "0.1"})
    _, page, data = runner("--only", "good")
    assert data["benchmarks"]["good"]["run"]["machine"] == data["machine"] == {"processor": "abacus"}
    assert data["benchmarks"]["bad"]["run"]["machine"] == before["machine"]
    good, bad = page.split("## bad")
    assert "processor: abacus" in good
    assert good.count(before["machine"]["processor"]) == 0
    assert before["machine"]["processor"] in bad
    assert f"numpy {before['versions']['numpy']}" in bad


def test_results_of_before_runs_were_noted_are_of_the_run_of_their_page(runner, tmp_path):
    _, _, before = runner()
    for report in before["benchmarks"].values():
        del report["run"]
    before |= {"date": "2001-02-03", "machine": {"processor": "abacus"}}
    (tmp_path / "results.json").write_text(json.dumps(before))
    _, _, data = runner("--only", "good")
    assert data["benchmarks"]["bad"]["run"]["date"] == "2001-02-03"
    assert data["benchmarks"]["good"]["run"]["date"] == data["date"] != "2001-02-03"


def test_a_script_that_takes_too_long_leaves_no_process_behind(runner, tmp_path, monkeypatch):
    (tmp_path / "bad.py").write_text(
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        "pathlib.Path(__file__).with_name('child').write_text(str(child.pid) + '.')\n"
        "time.sleep(100)\n"
    )
    child, popen_wait = tmp_path / "child", subprocess.Popen.wait

    def wait(process, timeout=None):
        """The time is over when the script has a child."""
        if timeout is None:
            return popen_wait(process)
        while not (child.exists() and child.read_text().endswith(".")):
            time.sleep(0.05)
        raise subprocess.TimeoutExpired("bad.py", timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    code, page, _ = runner("--only", "bad", "--limit", "3")
    assert code == 1
    assert "**failed**: it did not finish in 3 s" in page
    stat = Path("/proc", child.read_text().rstrip("."), "stat")
    deadline = time.monotonic() + 30
    while stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_script_is_run_and_says_how_it_is_used(monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    import run_all

    assert set(run_all.ORDER) == {path.stem for path in FOLDER.glob("*.py")} - {"_common", "run_all"}
    for name in run_all.ORDER:
        assert f"python benchmarks/{name}.py" in (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def test_contenders_take_turns_and_the_first_turn_does_not_count(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import _common as common

    order, clock = [], iter(range(100))
    monkeypatch.setattr(common.time, "perf_counter", lambda: float(next(clock)))
    times = common.in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert times == {"a": (1.0, 1.0), "b": (1.0, 1.0)}


def test_a_script_tells_from_a_process_of_its_own(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(FOLDER)
    import _common as common

    path = tmp_path / "job.py"
    path.write_text(
        "import json, os, sys\nprint(json.dumps({'job': sys.argv[2], 'threads': os.environ['OMP_NUM_THREADS']}))"
    )
    assert common.in_process(str(path), [1, "x"], threads=3) == {"job": '[1, "x"]', "threads": "3"}
    path.write_text("import time\ntime.sleep(60)")
    with pytest.raises(common.UnmeasuredError, match="it did not finish in 0 s"):
        common.in_process(str(path), 0, threads=1, limit=0.2)
    path.write_text("raise ValueError('no such job')")
    with pytest.raises(SystemExit, match="no such job"):
        common.in_process(str(path), 0, threads=1)
