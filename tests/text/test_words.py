"""Words: the tokenizer against other programs' rules, and the order of spellings."""

import json
import os
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnfv.text.words import tokenize, word_forms

FLICKR8K = Path(os.environ.get("RNNFV_DATA", "../shared/data")) / "flickr8k" / "dataset_flickr8k.json"


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_text_is_cut_as_by_the_pattern_w(text):
    assert tokenize(text) == re.findall(r"\w+", text.lower())


@settings(deadline=None)
@given(st.text())
def test_any_text_is_cut_into_words_that_stay_whole(text):
    words = tokenize(text)
    assert all(word and tokenize(word) == [word] for word in words)
    assert tokenize(" ".join(words)) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" . , ! ", []),
        ("Don't\tSTOP\nnow", ["don", "t", "stop", "now"]),
        ("a black-and-white dog", ["a", "black", "and", "white", "dog"]),
        ("Caf\u00e9 and cafe\u0301", ["caf\u00e9", "and", "caf\u00e9"]),
        ("STRASSE \u0130zmir", ["strasse", "i\u0307zmir"]),
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e",
            ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u092d\u093e\u0937\u093e"],
        ),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"]),
        ("dog\u2019s\u00a0ball\u2026 \U0001f415", ["dog", "s", "ball"]),
        ("new_york 3.5", ["new_york", "3", "5"]),
    ],
)
def test_cases(text, words):
    assert tokenize(text) == words


def test_the_pattern_w_of_the_regex_library_gives_the_same_words():
    regex = pytest.importorskip("regex", reason="the regex library is not installed")
    # Without numbers such as \u00bd and joining punctuation such as \u203f, which the two count differently.
    kinds = ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd", "Po", "Ps", "Zs")
    text = "".join(chr(code) for code in range(0x20, 0x11000, 7) if unicodedata.category(chr(code)) in kinds)
    assert tokenize(text) == regex.findall(r"\w+", unicodedata.normalize("NFC", text.lower()))


def test_raw_captions_give_the_tokens_of_the_data_set():
    if not FLICKR8K.is_file():
        pytest.skip(f"no {FLICKR8K}: set RNNFV_DATA to where the data are")
    sentences = [sentence for image in json.loads(FLICKR8K.read_bytes())["images"] for sentence in image["sentences"]]
    assert all(tokenize(sentence["raw"]) == sentence["tokens"] for sentence in sentences)


@pytest.mark.parametrize(
    ("word", "others"),
    [
        ("dog", ["Dog", "DOG"]),
        ("McDonald", ["mcdonald", "Mcdonald", "MCDONALD"]),
        ("dogs", ["Dogs", "DOGS", "dog"]),
        ("Dogs", ["dogs", "DOGS", "dog"]),
        ("ladies", ["Ladies", "LADIES", "lady", "ladie"]),
        ("movies", ["Movies", "MOVIES", "movy", "movie"]),
        ("boxes", ["Boxes", "BOXES", "box", "boxe"]),
        ("dresses", ["Dresses", "DRESSES", "dress", "dresse"]),
        ("horses", ["Horses", "HORSES", "horse", "hors"]),
        ("grass", ["Grass", "GRASS"]),
        ("bus", ["Bus", "BUS"]),
        ("this", ["This", "THIS"]),
        ("2", []),
    ],
)
def test_forms_in_their_order(word, others):
    assert word_forms(word) == [word, *others]
