"""The READMEs promise: a tree that is true, commands that exist, the same in both languages."""

import re
from pathlib import Path

import pytest

from weixing.cli.main import run

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_the_tree_names_exactly_the_rooms_and_files_that_exist(readme):
    tree = re.search(r"```\nsrc/weixing/\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)[1]
    named = set(re.findall(r"^  ([a-z_]+(?:\.py|/))", tree, re.MULTILINE))
    package = ROOT / "src" / "weixing"
    folders = {path.parent.name for name in ("__init__.py", "config.json") for path in package.glob(f"*/{name}")}
    exist = {path.name for path in package.glob("[a-z]*.py")} | {f"{folder}/" for folder in folders}
    assert named == exist
    for folder in re.findall(r"^([a-z]+)/", tree, re.MULTILINE):
        assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_command_line_of_the_readme_names_options_that_exist(readme, capsys):
    lines = re.findall(r"^weixing (.+)$", readme.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        verb = line.split()[0]
        assert run([verb, "--help"]) == 0
        text = capsys.readouterr().out
        for option in re.findall(r"(?<= )--[a-z-]+", line):
            assert option in text, (verb, option)


def test_both_languages_show_the_same_commands():
    english, chinese = (re.findall(r"^weixing .+$", path.read_text(encoding="utf-8"), re.MULTILINE) for path in READMES)
    assert english == chinese


def test_no_file_is_above_400_lines():
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    assert [str(file) for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 400] == []


def test_rooms_import_only_rooms_before_them():
    rooms = [
        "text", "data", "model", "training", "planning", "formats", "tasks", "inference", "reporting", "serving", "cli"
    ]  # fmt: skip
    for path in (ROOT / "src" / "weixing").rglob("*.py"):
        room = path.relative_to(ROOT / "src" / "weixing").parts[0]
        if room in rooms:
            later = rooms[rooms.index(room) + 1 :]
            imports = re.findall(r"^\s*(?:from|import) weixing\.(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert not set(imports) & set(later), path
