"""On a cluster of three node processes, of which one is killed, everything is as in one process."""

import os
import pickle
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rnnfv import GramPCA, MeanPooling, RegularizedCCA
from rnnfv.datasets.labelled import LabelledSequences
from rnnfv.datasets.manifest import Manifest
from rnnfv.distributed import LOCAL, RayEngine, _Actor, open_engine
from rnnfv.recipes.action import Settings, evaluate_actions
from rnnfv.recipes.encoding import encode_features
from rnnfv.recipes.extraction import extract_features
from rnnfv.recipes.retrieval import fit_retrieval
from rnnfv.recipes.sentences import SentenceSettings
from rnnfv.sequences import Sequences
from rnnfv.storage import write_features
from rnnfv.text.sentences import SentenceReader

ray = pytest.importorskip("ray")
_STORE = 100 << 20  # bytes of a node's object store

# -- the cluster -----------------------------------------------------------------------------------


class Nodes:
    """Three machines, each a group of processes with one CPU."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        # A dead node is noticed within a few seconds.
        health = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000}
        # The first one says that it has a GPU: Ray believes it, and shares it out.
        head = {
            "include_dashboard": False,
            "num_gpus": 1,
            "_system_config": health | {"health_check_failure_threshold": 3},
        }
        self.cluster = Cluster(initialize_head=True, head_node_args=self._node | head)
        self.others = [self.cluster.add_node(**self._node) for _ in range(2)]

    _node = {"num_cpus": 1, "object_store_memory": _STORE}  # noqa: RUF012

    def kill_one(self):
        """Kill all processes of a node, with its objects."""
        self.cluster.remove_node(self.others.pop(), allow_graceful=False)

    def complete(self):
        while len(self.others) < 2:
            self.others.append(self.cluster.add_node(**self._node))


@pytest.fixture(scope="module")
def nodes():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = _children()
    # Classes of this module go to the nodes as they are, since the nodes cannot import it.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Nodes()
    try:
        with open_engine("ray", made.cluster.address):
            yield made
    finally:
        made.cluster.shutdown()
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    deadline = time.monotonic() + 30
    while (left := _children() - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert not left


def _children():
    """The processes that this one has started, and theirs."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text(encoding="ascii").rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found, todo = set(), [os.getpid()]
    while todo:
        parent = todo.pop()
        children = {child for child, of in parents.items() if of == parent} - found
        found |= children
        todo += children
    return found


@pytest.fixture
def engine(nodes):
    nodes.complete()
    return RayEngine()


class Disturbed(RayEngine):
    """Kills a node when a few results have come."""

    def __init__(self, nodes, after=3):
        super().__init__()
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "after", after)

    def map(self, *arguments, **options):
        for done, outcome in enumerate(super().map(*arguments, **options), start=1):
            if done == self.after and len(self.nodes.others) == 2:
                self.nodes.kill_one()
            yield outcome

    def fit_parts(self, *arguments, tell=lambda units: None, **options):
        nodes = list(self.nodes.others)

        def tell_and_kill(units):
            if len(self.nodes.others) == len(nodes):
                self.nodes.kill_one()
            tell(units)

        return super().fit_parts(*arguments, tell=tell_and_kill, **options)


# -- extraction and encoding -----------------------------------------------------------------------


class Colours:
    """A net that is none: the mean of each colour channel of a frame. With a log it waits until all nodes began."""

    name, dim, input, prepare = "colours", 3, "frames", None

    def __init__(self, log=None, version=1):
        self.log, self.version = log, version

    def __call__(self, batch):
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(ray.get_runtime_context().get_node_id() + "\n")
            deadline = time.monotonic() + 120
            while len(set(self.log.read_text().split())) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
        return batch.mean(axis=(1, 2)).astype(np.float32)

    def description(self):
        return {"name": self.name, "dim": self.dim, "version": self.version}


LENGTHS = [31, 5, 12, 40, 20, 17, 3, 9, 25, 11, 8, 14, 6, 22]  # frames


@pytest.fixture(scope="module")
def videos(tmp_path_factory, write_video):
    folder = tmp_path_factory.mktemp("videos")
    for i, n in enumerate(LENGTHS):
        write_video(folder / f"{i:02d}.avi", n)
    (folder / "05.avi").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def features(videos, tmp_path_factory):
    """Extracted in this process."""
    out = tmp_path_factory.mktemp("features") / "out"
    extract_features(videos, Colours(), out, workers=0, shard_size=3)
    return out


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_node_dies_in_the_middle_of_an_extraction(videos, features, nodes, engine, monkeypatch, tmp_path):
    monkeypatch.setattr("rnnfv.recipes.extraction._AT_ONCE", 1)
    out, log = tmp_path / "out", tmp_path / "log"
    summary = extract_features(videos, Colours(log), out, workers=0, shard_size=3, engine=Disturbed(nodes))
    assert len(nodes.others) == 1
    assert len(set(log.read_text().split())) == 3  # all nodes had a share
    assert (summary.ok, summary.short, summary.failed) == (13, 0, 1)
    assert content(out) == content(features)


def test_videos_are_decoded_in_processes_of_their_own_there_too(videos, features, engine, tmp_path):
    extract_features(videos, Colours(), tmp_path / "out", shard_size=3, engine=engine)
    assert content(tmp_path / "out") == content(features)


def test_another_net_on_a_machine_is_refused(videos, engine, tmp_path):
    with pytest.raises(ValueError, match=r"the colours of .* is not the one asked for, but .*'version': 2"):
        extract_features(
            videos, Colours(), tmp_path / "out", engine=engine, make_backbone=lambda: Colours(version=2), workers=0
        )


def test_encoding_gives_the_same_bytes_when_a_node_dies(features, nodes, engine, tmp_path, rng):
    shards = tmp_path / "shards"
    for k in range(9):
        sequences = [rng.normal(size=(n, 3)).astype(np.float32) for n in (4, 7)]
        write_features(shards, [f"{k}a", f"{k}b"], sequences, shard=k)
    (shards / "part-00004.parquet").write_bytes(b"damaged")
    MeanPooling().fit([np.ones((2, 3))]).save(tmp_path / "model")
    made = []
    for name, where in (("local", LOCAL), ("disturbed", Disturbed(nodes))):
        out = tmp_path / f"{name}.npy"
        summary = encode_features(shards, tmp_path / "model", out, engine=where)
        assert (summary.encoded, summary.failed) == (16, 1)
        made.append((out.read_bytes(), out.with_suffix(".csv").read_bytes()))
    assert made[0] == made[1]


# -- sums ------------------------------------------------------------------------------------------


class Loaded:
    """Takes its time to give blocks of rows."""

    def __init__(self, X, Y=None):
        self.X, self.Y = X, Y

    def __call__(self, part):
        time.sleep(0.2)
        yield (self.X[part],) if self.Y is None else (self.X[part], self.Y[part])


def state(estimator):
    return pickle.dumps({name: value for name, value in vars(estimator).items() if name != "_sums"})


@pytest.mark.parametrize("kind", ["cca", "pca"])
def test_a_node_dies_in_the_middle_of_a_covariance(kind, nodes, engine, rng):
    X = rng.normal(size=(700, 30)) + 5
    Y = X[:, :8] @ rng.normal(size=(8, 12)) + rng.normal(size=(700, 12))
    loaded = Loaded(X, Y) if kind == "cca" else Loaded(X)
    make = (lambda: RegularizedCCA(1e-2)) if kind == "cca" else (lambda: GramPCA(10))
    parts, names = (
        [slice(i, i + 50) for i in range(0, 700, 50)],
        ["correlations_", "x_weights_", "y_weights_", "x_mean_"],
    )
    names = names if kind == "cca" else ["components_", "explained_variance_", "mean_"]
    fitted, seen = [], []
    for where in (LOCAL, engine, Disturbed(nodes)):
        seen.append(0)

        def tell(units):
            seen[-1] += units

        fitted.append(where.fit_parts(make(), parts, loaded, batch=2, tell=tell))
    assert seen == [14, 14, 14]
    assert len(nodes.others) == 1
    for name in names:
        local, undisturbed, disturbed = (getattr(estimator, name) for estimator in fitted)
        np.testing.assert_allclose(undisturbed, local, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(disturbed, undisturbed)
    assert fitted[2].partial_fit(*next(loaded(parts[0])))._sums.n == 750  # what came from there can be added to


def test_a_model_of_retrieval_is_the_same_when_a_node_dies(nodes, engine, word_file, world, monkeypatch):
    monkeypatch.setattr("rnnfv.recipes.retrieval._IN_MEMORY", 0)
    monkeypatch.setattr("rnnfv.recipes.sentences._BLOCK_VALUES", 600)
    train, validation = world(60, 1), world(10, 2)
    reader = SentenceReader([str(word_file)]).fit(train.texts)
    local, remote = (
        fit_retrieval(train, validation, SentenceSettings("mean"), reader, etas=[0.1], engine=where)
        for where in (LOCAL, Disturbed(nodes))
    )
    assert len(nodes.others) == 1
    assert local.note == remote.note
    np.testing.assert_allclose(remote.cca.correlations_, local.cca.correlations_, rtol=0, atol=1e-7)
    here, there = (
        model.encode_sentences(validation.texts) @ model.encode_images(validation.images).T for model in (local, remote)
    )
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-5)


# -- evaluation, and the engine itself -------------------------------------------------------------


def test_the_figures_of_actions_are_the_same_when_a_node_dies(nodes, engine, rng):
    labels = np.repeat(["a", "b"], 12)
    sequences = [rng.normal(size=(6, 4)).astype(np.float32) + (label == "b") for label in labels]
    sides = np.tile(["train", "train", "test"], 8)
    manifest = Manifest(
        np.array([f"{i}" for i in range(24)]),
        labels,
        np.array([f"g{i // 3 % 4}-{side}" for i, side in enumerate(sides)]),
        {"split1": sides},
        None,
    )
    data = LabelledSequences(Sequences.from_list(sequences), manifest)
    settings = Settings(("mean", "rnn-fv"), 2, (1,), (1,), 8, 8, 1)
    told, kept = [], []
    local, remote = (
        evaluate_actions(data, settings, reverse_test=True, engine=where, report=told.append, keep=kept.append)
        for where in (LOCAL, Disturbed(nodes, after=1))
    )
    assert len(nodes.others) == 1
    assert local == remote
    assert set(local["mean"].accuracies) == {"split1"}
    assert len(kept) == 8
    here_and_there = (sorted(fits, key=lambda fit: (fit.pooling, fit.seed)) for fits in (kept[:4], kept[4:]))
    for here, there in zip(*here_and_there, strict=True):  # workers finish in any order
        assert (here.pooling, here.split, here.seed) == (there.pooling, there.split, there.seed)
        np.testing.assert_array_equal(here.pipeline.predict(here.test[0]), there.pipeline.predict(there.test[0]))
    assert told[-1].endswith("4 of 4")


def test_relative_paths_are_seen_from_where_the_command_is(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.txt").write_text("seen")

    def make():
        return lambda items, tell: ((i, Path(item).read_text()) for i, item in enumerate(items))

    def load(part):
        yield (np.full((3, 2), len(Path(part).read_text())),)

    assert list(engine.map(make, ["here.txt"], batch=1)) == [(0, "seen")]
    assert engine.fit_parts(GramPCA(2), ["here.txt"], load, batch=1)._sums.x_mean.tolist() == [4, 4]


def test_an_exception_of_a_worker_is_raised_here(engine):
    def make():
        def work(items, tell):
            yield 0, items[0]
            raise FloatingPointError("too large")

        return work

    with pytest.raises(FloatingPointError, match=r"^too large$"):
        list(engine.map(make, [1, 2], batch=2))

    def load(part):
        raise FloatingPointError("too small")

    with pytest.raises(FloatingPointError, match=r"^too small$"):
        engine.fit_parts(GramPCA(2), [1, 2], load, batch=1)


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ([0, 1, 1], "gave item 1 again, of 2"),
        ([0], "nothing for 1 items, such as 1"),
        ([0, 1, 2], "item 2 again, of 2"),
    ],
)
def test_a_worker_that_loses_or_repeats_items_is_told(engine, places, told):
    def make():
        return lambda items, tell: ((place, None) for place in places)

    with pytest.raises(RuntimeError, match=told):
        list(engine.map(make, "ab", batch=2))


def test_rows_of_a_batch_come_in_the_order_of_its_items():
    """Else a retry, which goes on behind as many rows as a lost process had sent, would go on behind other ones."""

    def make(order):
        def work(items, tell):
            for place in order:
                tell(10)
                yield place, items[place]

        return work

    table = {"first": pa.array([4]), "items": pa.array([pickle.dumps("abc")])}
    sent = []
    for order in ([2, 0, 1], [1, 2, 0]):
        rows = list(_Actor(lambda order=order: make(order), ".")(pa.table(table)))
        outcomes = [pickle.loads(row["outcome"][0].as_py()) for row in rows]
        sent.append([(row["index"][0].as_py(), *outcome) for row, outcome in zip(rows, outcomes, strict=True)])
    assert sent == [[(4, "a", 30), (5, "b", 0), (6, "c", 0)]] * 2


@pytest.mark.parametrize("where", [LOCAL, RayEngine()])
def test_no_parts_leave_the_estimator_as_it_was(where):
    pca = GramPCA(2)
    assert where.fit_parts(pca, [], None, batch=1) is pca


@pytest.mark.parametrize(
    ("engine", "room"), [(RayEngine(3), 2), (RayEngine(0.5), 20), (RayEngine(1, 0.5), 2), (RayEngine(1, 0.25), 4)]
)
def test_a_worker_needs_its_room_on_one_machine(engine, room, monkeypatch):
    machines = [{"CPU": 5.0}, {"CPU": 4.0, "GPU": 1.0}, {"CPU": 1.0}, {"memory": 8.0}]
    there = [{"Alive": True, "Resources": machine} for machine in machines]
    there.append({"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}})
    monkeypatch.setattr(ray, "nodes", lambda: there)
    assert engine._room() == room


def test_machines_too_small_for_a_worker_have_no_room_together(monkeypatch):
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}] * 3)
    with pytest.raises(RuntimeError, match=r"no machine of the Ray cluster has 4 CPUs .* it has 6 and 0 in all"):
        RayEngine(4)._room()


def test_a_program_keeps_its_handler_of_sigterm(monkeypatch):
    """What `ray.init` does to it where it starts a cluster of its own, without the seconds that one takes."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda *args, **options: signal.signal(signal.SIGTERM, lambda *args: None))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with open_engine("ray"):
        assert signal.getsignal(signal.SIGTERM) is before


def test_nothing_to_do_is_nothing_done(engine):
    assert list(engine.map(list, [], batch=1)) == []


def test_a_cluster_without_room_is_told(nodes):
    with pytest.raises(RuntimeError, match=r"has 1 CPUs and 2 GPUs for a worker: it has \d and 1 in all"):
        list(RayEngine(gpus=2).map(list, [1], batch=1))


def test_workers_share_a_gpu(nodes, engine, tmp_path):
    log = tmp_path / "log"

    def make():
        def work(items, tell):
            context = ray.get_runtime_context()
            with log.open("a") as file:
                file.write(context.get_actor_id() + "\n")
            deadline = time.monotonic() + 60
            while len(set(log.read_text().split())) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            for i in range(len(items)):
                yield i, (context.get_node_id(), *ray.get_gpu_ids())

        return work

    there = dict(RayEngine(cpus=0.5, gpus=0.5).map(make, range(12), batch=1))
    assert set(there.values()) == {(nodes.cluster.head_node.node_id, 0)}
    assert len(set(log.read_text().split())) == 2


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("slurm", {}, "no engine 'slurm'"),
        ("local", {"address": "auto"}, "those of the engine ray"),
        ("local", {"gpus": 1}, "those of the engine ray"),
        ("ray", {"cpus": 0}, "give more than 0"),
    ],
)
def test_what_cannot_be_opened(name, options, told):
    with pytest.raises(ValueError, match=told), open_engine(name, **options):
        pass
