"""The search that the demo makes: it knows left from right, where mean pooling does not."""

import pytest

from rnnfv.recipes.scenes import make_scene_search
from rnnfv.recipes.search import Searcher

for module in ("PIL", "onnxruntime", "faiss"):
    pytest.importorskip(module, reason=f"{module} is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_scene_search(tmp_path_factory.mktemp("scenes") / "pictures")


def test_it_is_right_about_order_where_mean_pooling_cannot_be(made):
    assert made.n_pictures == 1104
    assert made.recalls["rnn-fv"] > 90
    assert made.recalls["mean"] <= 50  # a scene and its mirror image have the same mean, but for left and right


def test_what_was_made_finds_pictures_and_sentences(made):
    searcher, (images, sentences) = Searcher([made.model]), made.indexes
    for text, name in (("left", "b"), ("right", "a")):
        found, folder = searcher.find_images(f"a red circle {text} of a blue square", images, 1)
        assert found[0][0] == f"blue-square_red-circle_{name}.png"
    picture = made.folder / "scenes" / "pictures" / "blue-square_red-circle_b.png"
    assert str(picture.parent) == folder
    best = [text for text, _ in searcher.find_sentences(searcher.picture_vector(picture, made.weights), sentences, 4)]
    assert all((text.index("circle") < text.index("square")) == ("left" in text) for text in best)


def test_other_things_are_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match="holds other things"):
        make_scene_search(tmp_path)
