import numpy as np
import pytest

from rnnfv.datasets.japanese_vowels import load_japanese_vowels
from rnnfv.datasets.labelled import load_labelled
from rnnfv.datasets.manifest import read_manifest
from rnnfv.storage import write_features


def test_japanese_vowels_is_the_published_set():
    vowels = load_japanese_vowels()
    seqs, labels, groups = vowels.part("split1", "train")
    assert (len(seqs), seqs.dim) == (270, 12)
    assert np.unique(labels, return_counts=True)[1].tolist() == [30] * 9
    assert len(np.unique(groups)) == 270
    test, test_labels, _ = vowels.part("split1", "test")
    assert np.unique(test_labels, return_counts=True)[1].tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    lengths = np.concatenate([seqs.lengths, test.lengths])
    assert (lengths.min(), lengths.max()) == (7, 29)
    # The first value of the first utterance, as published.
    assert seqs[0][0, 0] == np.float32(1.860936)


@pytest.fixture
def written(tmp_path, ragged):
    ids = [f"v{i}" for i in range(12)]
    write_features(tmp_path / "features", ids, ragged)
    rows = "\n".join(f"v{i},{'ab'[i % 2]},,{'train' if i < 7 else 'test'}," for i in reversed(range(12)))
    (tmp_path / "manifest.csv").write_text(f"id,label,group,split1,split2\n{rows}\n")
    return tmp_path


def test_sequences_come_in_the_manifest_s_order(written, ragged):
    data = load_labelled(written / "features", written / "manifest.csv")
    for got, wanted in zip(data.sequences, reversed(ragged), strict=True):
        np.testing.assert_array_equal(got, wanted)
    seqs, labels, groups = data.part("split1", "train")
    assert len(seqs) == 7
    assert labels.tolist() == ["a", "b"] * 3 + ["a"]
    assert groups.tolist() == [f"v{i}" for i in reversed(range(7))]
    assert len(data.part("split2", "train")[0]) == 0


def test_an_item_without_features_is_named(written):
    with (written / "manifest.csv").open("a") as file:
        file.write("v99,a,,train,\n")
    with pytest.raises(ValueError, match="no features for 1 of 13 items of the manifest, the first 'v99'"):
        load_labelled(written / "features", written / "manifest.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,split1\n", "column 'label' is missing"),
        ("", "column 'id' is missing"),
        ("id,label,split1\na,x,train\na,x,test\n", "line 3: the id 'a'"),
        ("id,label,split1\na,x,train\n,x,test\n", "line 3: the id ''"),
        ("id,label,split1\na,x,valid\n", "line 2: split1 is 'valid'"),
        ("id,label,split1\na,x\n", "line 2: split1 is None"),
        ("id,split1,label\na,train\n", "line 2 ends before its label"),
    ],
)
def test_wrong_manifests_name_the_line(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path / "m.csv")


def test_splits_are_ordered_by_number_and_bom_and_crlf_are_read(tmp_path):
    splits = ",".join(f"split{i}" for i in (10, 2, 1))
    (tmp_path / "m.csv").write_bytes(f"\ufeffid,label,{splits}\r\na,x,train,test,\r\n".encode())
    manifest = read_manifest(tmp_path / "m.csv")
    assert list(manifest.splits) == ["split1", "split2", "split10"]
    assert manifest.groups.tolist() == ["a"]
