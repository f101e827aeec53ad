"""The command line: `rnnfv --help`."""

from rnnfv.cli.app import main as main
