import numpy as np
import pytest
from sklearn.svm import LinearSVC

from rnnfv.datasets.manifest import Manifest
from rnnfv.recipes.fusion import SplitVectors, fuse, read_vectors, write_vectors


@pytest.fixture
def manifest(rng):
    ids = np.array([f"clip{i}" for i in range(40)])
    labels = np.array(["a", "b", "c", "d"])[np.arange(40) % 4]
    return Manifest(ids, labels, ids, {"split1": np.where(np.arange(40) < 24, "train", "test")})


def vectors_of(manifest, values, order=slice(None)):
    train, test = (np.flatnonzero(manifest.splits["split1"] == part)[order] for part in ("train", "test"))
    return SplitVectors(manifest.ids[train], values[train], manifest.ids[test], values[test])


def test_two_halves_of_what_is_known_make_a_whole(tmp_path, manifest, rng):
    """One run tells a and b from c and d, the other a and c from b and d; items in another order."""
    noise = 0.01 * rng.normal(size=(2, 40, 3))
    codes = np.arange(40) % 4
    first, second = noise[0] + (codes // 2)[:, None], noise[1] + (codes % 2)[:, None]
    write_vectors(tmp_path / "one", "split1", 0, vectors_of(manifest, first))
    write_vectors(tmp_path / "two", "split1", 0, vectors_of(manifest, second, slice(None, None, -1)))
    assert fuse([tmp_path / "one"], manifest)["split1"][0] <= 50
    assert fuse([tmp_path / "one", tmp_path / "two"], manifest) == {"split1": [100.0]}


def test_agrees_with_an_svm_on_joined_vectors(tmp_path, manifest, rng):
    values = rng.normal(size=(2, 40, 5))
    for run, one in zip(("x", "y"), values, strict=True):
        write_vectors(tmp_path / run, "split1", 0, vectors_of(manifest, one))
    joined = np.concatenate(values, axis=1)
    svm = LinearSVC(tol=1e-8, max_iter=100_000).fit(joined[:24], manifest.labels[:24])
    assert fuse([tmp_path / "x", tmp_path / "y"], manifest) == {
        "split1": [100 * svm.score(joined[24:], manifest.labels[24:])]
    }


def test_a_run_of_one_seed_is_joined_with_every_seed_of_another(tmp_path, manifest, rng):
    for seed in range(2):
        write_vectors(tmp_path / "net", "split1", seed, vectors_of(manifest, rng.normal(size=(40, 2))))
    write_vectors(tmp_path / "idt", "split1", 0, vectors_of(manifest, rng.normal(size=(40, 2))))
    assert len(fuse([tmp_path / "net", tmp_path / "idt"], manifest, seeds=2)["split1"]) == 2


def test_what_does_not_fit_together_is_named(tmp_path, manifest, rng):
    whole = vectors_of(manifest, rng.normal(size=(40, 2)))
    write_vectors(tmp_path / "one", "split1", 0, whole)
    fewer = SplitVectors(whole.train_ids[1:], whole.train[1:], whole.test_ids, whole.test)
    write_vectors(tmp_path / "two", "split1", 0, fewer)
    with pytest.raises(ValueError, match="not of the same items: only one of them has 'clip0'"):
        fuse([tmp_path / "one", tmp_path / "two"], manifest)
    with pytest.raises(FileNotFoundError, match="evaluate that run with --vectors, for this split and seed"):
        fuse([tmp_path / "three"], manifest)
    with pytest.raises(ValueError, match="'clip0' in the train part of split1, but the manifest has not"):
        fuse([tmp_path / "one"], manifest.part(slice(1, None)))
    with pytest.raises(ValueError, match="seeds is 0"):
        fuse([tmp_path / "one"], manifest, seeds=0)
    (tmp_path / "one" / "split1-seed0.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="damaged"):
        read_vectors(tmp_path / "one", "split1", 0)
