"""Every long job, killed at random moments: the next start ends it, with the same bytes and nothing left over.

``RNNFV_KILLS=20`` is the full test; -s shows the figures.
"""

import os
import signal

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("faiss", reason="faiss is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

KILLS = int(os.environ.get("RNNFV_KILLS", "2"))
NAMES = [
    "extract",
    "extract with workers",
    "encode",
    "index images",
    "index sentences",
    "retrieval fit",
    "action fit",
]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_job_goes_on_to_the_same_bytes(commands, jobs, undisturbed, content, tmp_path, name):
    job, rng = jobs[name], np.random.default_rng(NAMES.index(name))

    def run(folder, **options):
        folder.mkdir(exist_ok=True)
        return commands.run(job.writing(folder), constants=job.constants, **options)

    seconds, wanted = undisturbed(name)
    killed = begun = tried = 0
    while killed < KILLS:
        folder = tmp_path / f"killed {tried}"
        tried += 1
        moment = float(rng.uniform(0, seconds))
        if run(folder, after=moment).code != -signal.SIGKILL:
            continue  # it had ended before
        killed += 1
        begun += content(folder) != {}
        again = run(folder)
        assert again.code == 0, again.words
        assert content(folder) == wanted, f"killed after {moment:.3f} of {seconds:.3f} s"
    print(f"\n{name}: {killed} kills within {seconds:.2f} s, {begun} of them after something was written")
