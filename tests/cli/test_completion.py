import shutil
import subprocess

import pytest

from rnnfv.cli.app import main


def script(shell, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["completion", shell])
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_valid(shell, capsys, tmp_path):
    text = script(shell, capsys)
    assert "index-images" in text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "completion"
    path.write_text(text)
    subprocess.run([shell, "-n", path], check=True)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["rnnfv", "re"], ["retrieval"]),
        (["rnnfv", "retrieval", "index-"], ["index-images", "index-sentences"]),
        (["rnnfv", "action", "fi"], ["fit"]),
        (["rnnfv", "encode", "features", "--mo"], ["--model"]),
        (["rnnfv", "completion", "fi"], ["fish"]),
    ],
)
def test_bash_completes_commands_and_options(words, wanted, capsys, tmp_path):
    path = tmp_path / "completion.bash"
    path.write_text(script("bash", capsys))
    code = (
        f"source {path}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE='{' '.join(words)}'; "
        "COMP_POINT=${#COMP_LINE}; _rnnfv; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == wanted
