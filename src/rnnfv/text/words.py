"""Words: how text is cut into them, and under which spellings a word is looked up."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["tokenize", "word_forms"]

_JOINERS = "\u200c\u200d"  # the Unicode standard counts the zero-width joiners as parts of words
_SIBILANT_PLURAL = re.compile(r"(?:ss|x|z|ch|sh|o)es$")


class _WordCharacters(dict[int, str]):
    """For `str.translate`: characters of words stay, all others become blanks."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        belongs = unicodedata.category(character)[0] in "LMN" or character in "_" + _JOINERS
        return self.setdefault(code, character if belongs else " ")


_WORD_CHARACTERS = _WordCharacters()


def tokenize(text: str) -> list[str]:
    """Cut text into lower-case words: the one rule for all raw text in rnnfv.

    A word is a run of letters, marks, digits and underscores, as the Unicode standard has it (UTS 18, the class
    ``\\w``; on ASCII text the result is that of ``re.findall(r"\\w+", text.lower())``). Everything else parts words
    and is dropped: "t-shirt" is two words, and so is "don't". The rule is that of the tokens in the captions' JSON
    files, so that raw text and those tokens meet in one vocabulary. Text is put into Unicode's composed form (NFC)
    first, which is how files of word vectors spell accents. Languages written without blanks are not cut.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str
        Empty where the text has no words.

    Examples
    --------
    >>> from rnnfv.text.words import tokenize
    >>> tokenize("A boy's T-shirt, 2 sizes too large .")
    ['a', 'boy', 's', 't', 'shirt', '2', 'sizes', 'too', 'large']
    """
    return unicodedata.normalize("NFC", text.lower()).translate(_WORD_CHARACTERS).split()


def word_forms(word: str) -> list[str]:
    """The spellings under which a word is looked up, in order: the first one that has a vector counts.

    First as it is, then in lower case, Capitalised and in UPPER case (files such as GoogleNews keep names as they are
    written). Then, for words of four letters or more, without the ending of a plural, in lower case: "ladies" as
    "lady", "boxes" as "box", "dogs" as "dog". Verbs have the same endings ("climbs", "pushes").

    Parameters
    ----------
    word : str

    Returns
    -------
    list of str
        All different, the word itself first.

    Examples
    --------
    >>> from rnnfv.text.words import word_forms
    >>> word_forms("boxes")
    ['boxes', 'Boxes', 'BOXES', 'box', 'boxe']
    """
    lower = word.lower()
    return list(dict.fromkeys([word, lower, lower.capitalize(), word.upper(), *_singulars(lower)]))


def _singulars(word: str) -> list[str]:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return []
    if word.endswith("ies"):
        return [word[:-3] + "y", word[:-1]]
    if _SIBILANT_PLURAL.search(word):
        return [word[:-2], word[:-1]]
    return [word[:-1], word[:-2]] if word.endswith("es") else [word[:-1]]
