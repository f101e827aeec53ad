"""Put the demo's latest figures and picture into README.md: they are generated, not typed.

rnnfv demo --seeds 5 --out demo --json demo/demo.json
python docs/update_readme.py demo
"""

import base64
import json
import re
import sys
from pathlib import Path

from rnnfv.recipes.demo import TITLES
from rnnfv.tables import as_markdown

ROOT = Path(__file__).parents[1]


def table(figures: dict) -> str:
    rows = []
    for name, row in figures["poolings"].items():
        spread = f" ± {row['std']:.2f}" if figures["protocol"]["seeds"] > 1 else ""
        rows.append([TITLES[name], f"{row['mean']:.2f}{spread}", str(row["dim"])])
    return as_markdown(["pooling", "accuracy %", "numbers"], rows).rstrip()


def main(demo: Path) -> None:
    readme = ROOT / "README.md"
    filled = table(json.loads((demo / "demo.json").read_text()))
    text = re.sub(
        r"(<!-- demo table -->\n).*?(\n<!-- end -->)", rf"\g<1>{filled}\g<2>", readme.read_text(), flags=re.DOTALL
    )
    readme.write_text(text)
    pictures = re.findall(r'base64,([^"]+)"', (demo / "report.html").read_text())
    (ROOT / "docs/images/vectors.png").write_bytes(base64.b64decode(pictures[-1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
