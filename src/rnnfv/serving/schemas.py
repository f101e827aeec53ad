"""What the API takes and gives."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Actions",
    "Annotation",
    "EncodeRequest",
    "Explanation",
    "FoundImage",
    "FoundSentence",
    "Health",
    "NamedAction",
    "Problem",
    "SearchRequest",
    "SearchResult",
    "Step",
    "Top",
    "Vector",
]

Top = Annotated[int, Field(ge=1, le=100, description="How many are wanted.")]
_Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e30, le=1e30)]
_LONGEST_TEXT, _LONGEST_SEQUENCE, _WIDEST = 2000, 20_000, 100_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchRequest(_Strict):
    """A sentence, and how many images are wanted."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"sentence": "a red circle left of a blue square", "top": 5}]}
    )
    sentence: Annotated[str, Field(min_length=1, max_length=_LONGEST_TEXT)]
    top: Top = 10


class FoundImage(BaseModel):
    """An image, by the name that the index has, and how similar it is to the sentence."""

    image: str
    score: float


class SearchResult(BaseModel):
    """Best first."""

    results: list[FoundImage]


class FoundSentence(BaseModel):
    """A sentence, and how similar it is to the picture."""

    sentence: str
    score: float


class Annotation(BaseModel):
    """Best first."""

    results: list[FoundSentence]


class NamedAction(BaseModel):
    """A class, and the classifier's decision value: above 0 speaks for the class. It is no probability."""

    name: str
    score: float


class Step(BaseModel):
    """A moment: its frame, from 0, its time since the first one, and what it adds to the score of the first class."""

    frame: int
    seconds: float | None
    share: float


class Explanation(BaseModel):
    """The score of the first class is the sum of all shares and the constant."""

    constant: float
    steps: list[Step]
    strongest: Annotated[list[int], Field(description="The steps, from 0, that spoke most for the class.")]


class Actions(BaseModel):
    """All classes, best first, and the curve over time, where the model can tell it."""

    classes: list[NamedAction]
    explanation: Explanation | None
    note: Annotated[str, Field(description="What is missing of the video, or why there is no curve.")]


class EncodeRequest(_Strict):
    """Either a text, or a sequence: a list of steps, each a list of so many numbers as the model takes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "a red circle"}, {"sequence": [[0.1, 0.2], [0.3, 0.1]]}]},
    )
    text: Annotated[str, Field(min_length=1, max_length=_LONGEST_TEXT)] | None = None
    sequence: (
        Annotated[
            list[Annotated[list[_Number], Field(min_length=1, max_length=_WIDEST)]],
            Field(min_length=1, max_length=_LONGEST_SEQUENCE),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _one_of_both(self) -> EncodeRequest:
        if (self.text is None) == (self.sequence is None):
            raise ValueError("give either a text or a sequence")
        if self.sequence is not None and len({len(step) for step in self.sequence}) > 1:
            raise ValueError("all steps of a sequence have the same count of numbers")
        return self


class Vector(BaseModel):
    """The vector, and how many numbers it has."""

    dim: int
    vector: list[float]


class Health(BaseModel):
    """What runs here, and what it can do."""

    status: str
    version: str
    can: list[str]


class Problem(BaseModel):
    """What is wrong, in one line."""

    detail: str
