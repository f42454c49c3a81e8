"""What README and docs name exists: files, modules, classes, commands, make targets, settings; and what is generated is
up to date."""

import ast
import fnmatch
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from launch.config_reference import COMMANDS, outputs, run_groups
from tracelift_ray.config.described import field_types
from tracelift_ray.config.schema import RunConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = ("tracelift_ray", "actors", "launch", "benchmarks")
GROUPS = {*run_groups(), "experiment"}
#: Names of other projects.
FOREIGN = {"LlamaForReasonRewardModel"}
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@functools.cache
def definitions() -> dict[str, frozenset[str]]:
    """The names that each module of the project defines at its top."""
    found = {}
    for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        nodes = ast.parse(path.read_text("utf-8")).body
        named = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}
        targets = [t for node in nodes if isinstance(node, ast.Assign) for t in node.targets]
        targets += [node.target for node in nodes if isinstance(node, ast.AnnAssign)]
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[module] = frozenset(named | {target.id for target in targets if isinstance(target, ast.Name)})
    return found


@functools.cache
def words_of_the_code() -> frozenset[str]:
    """Every identifier in the project's Python, those of the libraries that it uses included."""
    paths = (path for folder in CODE for path in (ROOT / folder).rglob("*.py"))
    return frozenset(word for path in paths for word in re.findall(r"\w+", path.read_text("utf-8")))


def marked(page: Path) -> list[str]:
    """What a page shows as code within a line."""
    prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def shown(page: Path) -> Iterator[str]:
    """Words of a page that are code: within a line, and in the lines of examples."""
    blocks = re.findall(r"```\w*\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    for text in [*marked(page), *blocks, *re.findall(r"^    (.*)$", page.read_text("utf-8"), re.MULTILINE)]:
        yield from text.split()


def missing_files(words: list[str]) -> list[str]:
    """Those that look like a file or folder of the project and are none, seen from the root or the library."""
    bases = (ROOT, ROOT / "tracelift_ray", ROOT / "conf", ROOT / "tests", ROOT / "docs")
    at_root, below = ({path.name for path in base.iterdir() if path.is_dir()} for base in bases[:2])
    paths = [
        word
        for word in words
        if re.fullmatch(r"[a-z0-9_.-]+(/[a-z0-9_.*-]+)*/?", word)
        # A word such as ``reward/mean`` is a metric.
        and word.split("/")[0] in (at_root | below if re.search(r"\.\w+$|/$", word) else at_root) - {"runs", "models"}
        and "/" in word
    ]
    names = [word for word in words if re.fullmatch(r"\w+\.py", word)]
    lost = [path for path in paths if not any(list(base.glob(path.rstrip("/"))) for base in bases)]
    return lost + [name for name in names if not any(list((ROOT / folder).rglob(name)) for folder in CODE)]


def missing_names(words: list[str]) -> list[str]:
    """Modules, and names in them, that do not exist; and CamelCase names that no Python of the project has."""
    lost = []
    for word in words:
        dotted = re.fullmatch(r"((?:tracelift_ray|actors|launch)(?:\.\w+)+)(?:\(.*)?", word)
        if dotted:
            module, _, name = dotted.group(1).rpartition(".")
            known = definitions()
            package = (ROOT / dotted.group(1).replace(".", "/")).is_dir()
            if not (package or dotted.group(1) in known or name in known.get(module, ())):
                lost.append(word)
        elif re.fullmatch(r"(?:[A-Z][a-z]+){2,}", word) and word not in words_of_the_code() | FOREIGN:
            lost.append(word)
    return lost


def unknown_settings(words: list[str]) -> list[str]:
    """Dotted keys and choices of groups that no command has."""
    keys = set().union(*(field_types(cls) for cls in (RunConfig, *COMMANDS.values())))
    lost = []
    for word in words:
        key, given, value = word.strip("'\",;()").partition("=")
        if re.fullmatch(r"[a-z_]+(\.[\w*]+)+", key) and key.split(".")[0] in GROUPS:
            known = any(fnmatch.fnmatch(each, key) for each in keys)
            if not known and key.rpartition(".")[0] not in ("reward.tie_table", "reward.options"):
                lost.append(word)
        elif given and key in GROUPS and re.fullmatch(r"[a-z_,]+", value):
            lost += [word for choice in value.split(",") if not (ROOT / "conf" / key / f"{choice}.yaml").is_file()]
    return lost


@every_page
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    local = [link.partition("#") for link in links if not link.startswith("http")]
    targets = [(page.parent / path if path else page, anchor) for path, _, anchor in local]
    assert [str(path) for path, _ in targets if not path.exists()] == []
    assert [f"{path}#{anchor}" for path, anchor in targets if anchor and anchor not in anchors(path)] == []


def anchors(page: Path) -> set[str]:
    """What a link can name in a page: its headings, in the form that MkDocs and code hosts give them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@every_page
def test_commands_are_modules(page: Path) -> None:
    named = set(re.findall(r"python -m (launch\.\w+)", page.read_text("utf-8")))
    assert [name for name in sorted(named) if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []


@every_page
def test_files_and_folders_that_are_named_exist(page: Path) -> None:
    assert missing_files(marked(page)) == []


@every_page
def test_modules_and_classes_that_are_named_exist(page: Path) -> None:
    assert missing_names(marked(page)) == []


@every_page
def test_settings_and_choices_that_are_named_exist(page: Path) -> None:
    assert unknown_settings(list(shown(page))) == []


def test_what_does_not_exist_is_found() -> None:
    assert missing_files(["launch/train.py", "rl/losses.py", "conf/reward/", "rl/none.py", "nowhere.py"]) == [
        "rl/none.py",
        "nowhere.py",
    ]
    words = ["tracelift_ray.config.rules.OneOf", "tracelift_ray.rl", "launch.train", "tracelift_ray.rl.Nothing"]
    assert missing_names([*words, "RunConfig", "NoSuchThing"]) == ["tracelift_ray.rl.Nothing", "NoSuchThing"]
    words = ["reward.arm=exec_only", "reward=exec_only", "stream.max_*", "reward.arms", "reward=exec_onl"]
    assert unknown_settings(words) == ["reward.arms", "reward=exec_onl"]


@pytest.mark.parametrize(("path", "text"), outputs(), ids=lambda value: getattr(value, "name", ""))
def test_what_make_reference_writes_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text("utf-8") == text, "run `make reference`"


def test_make_targets_are_real() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", page.read_text("utf-8"), re.MULTILINE))
        assert named <= targets, page


def test_the_checklist_for_gpus_names_every_test_that_needs_one() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests" / "gpu").glob("test_*.py"))
    listed = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "gpu.md").read_text("utf-8"))
    assert sorted(listed) == sorted(re.findall(r"def (test_\w+)\(", tests))


@functools.cache
def texts_of_the_code() -> str:
    """Every text in the project's code, a line each, with … for what is put in."""
    texts = []
    for path in (path for folder in CODE[:3] for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(" ".join(text.split()) for text in texts)


def unsaid(message: str) -> list[str]:
    """The pieces of a message, between its gaps, that the code does not hold."""
    pieces = (piece.strip(" ….;:()") for piece in re.split(r"…|\.\.\.", message))
    return [piece for piece in pieces if len(piece) > 3 and piece not in texts_of_the_code()]


def test_every_message_under_troubleshooting_is_one_that_the_code_prints() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 50
    assert {message: lost for message in messages if (lost := unsaid(message))} == {}
    assert unsaid("the learner is tired (… of …)") == ["the learner is tired"]


def test_the_site_has_every_page_once_and_asks_nothing_of_the_network() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))

    def pages(nav: object) -> Iterator[str]:
        if isinstance(nav, str):
            yield nav
        for each in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
            yield from pages(each)

    assert sorted(pages(site["nav"])) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES[1:])
    assert site["strict"] and site["theme"]["font"] is False and "offline" in site["plugins"]
    assert "http" not in (ROOT / "mkdocs.yml").read_text("utf-8")
    assets = [*site["extra_css"], *site["extra"]["polyfills"]]
    assert all("http" not in (ROOT / "docs" / name).read_text("utf-8") for name in assets)
