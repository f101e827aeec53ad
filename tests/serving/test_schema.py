"""Whatever the document of the API allows, and what it does not: never an answer that blames the server."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode

from rnnfv.serving.api import make_api

POSTS = {"/search": 25, "/annotate": 25, "/actions": 5, "/encode": 25}  # examples: for a video a process is started
CASES = [("POST", path, mode) for path in POSTS for mode in GenerationMode]
CASES += [
    ("GET", path, GenerationMode.POSITIVE) for path in ("/healthz", "/metrics")
]  # take nothing that could be wrong
QUIET = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def schema(opened):
    return schemathesis.openapi.from_asgi("/openapi.json", make_api(opened))


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_no_request_is_answered_with_a_fault_of_the_server(schema, method, path, mode):
    operation, codes = schema[path][method], []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(QUIET, max_examples=POSTS.get(path, 1))
    def ask(case):
        answer = case.call()
        case.validate_response(answer, checks=[not_a_server_error])
        codes.append(answer.status_code)

    ask()
    assert codes
    assert max(codes) < 500
