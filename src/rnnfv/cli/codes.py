"""Exit codes; 0 says that all is done."""

FAILED, WRONG_USAGE, SOME_FAILED, INTERRUPTED, TERMINATED = 1, 2, 3, 130, 143
