"""`python -m rnnfv`: the command line."""

from rnnfv.cli import main

if __name__ == "__main__":
    main()
