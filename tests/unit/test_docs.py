"""What README and docs say exists, exists: linked files, commands, and the choices of the configuration table."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    local = [link.split("#")[0] for link in links if not link.startswith(("http", "#"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_modules(page: Path) -> None:
    named = set(re.findall(r"python -m (launch\.\w+)", page.read_text("utf-8")))
    assert [name for name in sorted(named) if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []


def test_the_configuration_table_lists_every_group_and_choice() -> None:
    table = re.findall(r"^\| `(\w+)` \| ((?:`\w+` ?)+)\|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    listed = {group: sorted(re.findall(r"`(\w+)`", choices)) for group, choices in table}
    folders = [path for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name != "prompts"]
    assert listed == {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}


def test_make_targets_are_real() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert named and named <= targets
