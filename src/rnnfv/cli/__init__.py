"""The command line: `rnnfv --help`."""

import os
import sys

TYPE_CHECKING = False  # as typing's, whose import would take as long as the rest of the help
if TYPE_CHECKING:
    from collections.abc import Sequence

HELP_PAGE = os.path.join(os.path.dirname(__file__), "help.txt")  # noqa: PTH118, PTH120  # pathlib is slow to import


def main(arguments: "Sequence[str] | None" = None) -> None:
    """Run the command line; errors of use or data are one line on stderr and an exit code.

    The page of `rnnfv --help` is kept as text, so that it is there at once: what makes the pages of the commands takes
    ten times longer to load than Python itself.

    Parameters
    ----------
    arguments : list of str, optional
        Default: the process's own.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    shows_unicode = (sys.stdout.encoding or "").lower() in ("utf-8", "utf8")
    if given in ([], ["--help"], ["-h"]) and shows_unicode:
        with open(HELP_PAGE, encoding="utf-8") as page:  # noqa: PTH123
            sys.stdout.write(page.read())
        sys.exit(0)
    try:
        from rnnfv.cli.app import main as run

        run(given)
    except KeyboardInterrupt:  # while that was loaded; later a command hears it
        from rnnfv.cli.codes import INTERRUPTED

        sys.stderr.write("rnnfv: interrupted\n")
        sys.exit(INTERRUPTED)
