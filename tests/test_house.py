"""The house's laws, read from the source with ``ast``: order of imports, purity, edges, ceilings.

Each rule takes one file (its path below ``proxy/`` and its tree) and says what is wrong with it.
Every rule is shown to bite on a made offender, so that none can pass because it looks at nothing.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "proxy"

# From the roof down; a room sees lower floors only, and no brother on its own.
FLOORS = (
    {"__main__"},
    {"cli"},
    {"app", "server"},
    {"parts", "defences"},  # our side of AWS, and the borders, as the settings want them
    {"endpoints"},
    {"relay", "openai", "simulator"},
    {"bedrock", "dialect", "access", "media", "memory"},
    {"catalog", "converse"},
    {"logs", "tracing"},  # a request's line and span are written from the record that is measured
    {"metrics", "settings", "errors", "sse", "valkey", "stderr"},
    {"tables", "likeness", "values", "tasks", "frozen"},  # how tables of settings look; a last word
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Rooms that get data and return data.
PURE = ("openai/", "catalog/", "converse/", "dialect.py", "errors.py", "sse.py", "media/sniff.py",
        "tables.py", "frozen.py")  # fmt: skip
# What they may use from outside. No clock, randomness, environment, network, thread or logger.
PURE_IMPORTS = frozenset(
    (
        "abc",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "fnmatch",
        "functools",
        "hashlib",
        "html",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "textwrap",
        "types",
        "typing",
        "unicodedata",
        "urllib.parse",
        "zlib",
        "orjson",
    )
)
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__", "globals"})
IMPURE_METHODS = frozenset({"now", "utcnow", "today", "fromtimestamp"})  # of datetime
MEMOS = frozenset({"cache", "lru_cache"})

MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_CALLS = frozenset(
    (
        "list",
        "dict",
        "set",
        "bytearray",
        "defaultdict",
        "deque",
        "OrderedDict",
        "Counter",
        "ChainMap",
        "WeakKeyDictionary",
        "WeakValueDictionary",
        "WeakSet",
        "SimpleNamespace",
    )
)

# Where any exception may be caught and kept, each with its reason. Two outer edges; no more.
EDGES = {
    "endpoints/generate.py": "the last hand before the client: it is told, the log has the trace",
    "bedrock/worker.py": "a thread's own end: whoever waits for the result gets the exception",
}
# Names are put together here so that this file does not break its own rule.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
    )
)

Faults = Iterator[str]
Rule = Callable[[str, ast.Module], Faults]


def sources() -> list[str]:
    return sorted(p.relative_to(HOUSE).as_posix() for p in HOUSE.rglob("*.py"))


def is_pure(path: str) -> bool:
    return any(path == room or (room.endswith("/") and path.startswith(room)) for room in PURE)


def room_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every imported module, also those imported inside functions; ``from a import b`` gives both
    ``a`` and ``a.b``, for ``b`` may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            yield node.lineno, name
            if name.split(".")[0] == "proxy":
                yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def inner_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Imports of our own, as paths: ``converse/types``."""
    for line, name in imports(tree):
        if name.startswith("proxy.") and name != "proxy.__version__":
            yield line, name.removeprefix("proxy.").replace(".", "/")


# ---- the rules --------------------------------------------------------------------------------


def imports_run_down(path: str, tree: ast.Module) -> Faults:
    here = room_of(path)
    if here == "__init__":
        return
    if here not in FLOOR:
        yield "a room that stands on no floor: give it one in FLOORS"
        return
    for line, name in inner_imports(tree):
        there = room_of(name)
        if there != here and FLOOR.get(there, -1) <= FLOOR[here]:
            yield f"{line}: {here} must not see {there}"
        if there == "settings" and here not in {"app", "cli", "parts", "defences"}:
            yield f"{line}: only app, its parts and cli see the settings"
    if any(name.startswith(".") for _, name in imports(tree)):
        yield "a relative import: the rules read absolute ones"


def dialects_are_strangers(path: str, tree: ast.Module) -> Faults:
    """``openai/chat`` never sees ``openai/responses``; what lies beside both is shared."""
    here = path.split("/")
    for line, name in inner_imports(tree):
        there = name.split("/")
        if here[0] != "openai" or there[0] != "openai" or len(there) < 2:
            continue
        if (HOUSE / "openai" / there[1]).is_dir() and here[1] != there[1]:
            yield f"{line}: a dialect imports {name}"


def simulator_is_independent(path: str, tree: ast.Module) -> Faults:
    if room_of(path) == "simulator":
        for line, name in inner_imports(tree):
            if room_of(name) != "simulator":
                yield f"{line}: the simulator judges {name} and so must not use it"


def pure_rooms_are_pure(path: str, tree: ast.Module) -> Faults:
    if not is_pure(path):
        return
    for line, name in imports(tree):
        if name.split(".")[0] == "proxy":
            if name.count(".") and not any(is_pure(f) for f in files_of(name)):
                yield f"{line}: {name} is not pure"
        elif name not in PURE_IMPORTS and name.split(".")[0] not in PURE_IMPORTS:
            yield f"{line}: imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)):
            yield f"{node.lineno}: async"
        elif isinstance(node, ast.Call) and is_impure(node.func):
            yield f"{node.lineno}: calls {called(node)}"
        elif isinstance(node, (ast.Name, ast.Attribute)) and last_name(node) in MEMOS:
            yield f"{node.lineno}: keeps a memo between calls"


def files_of(name: str) -> list[str]:
    """The files that a dotted name of ours can mean: a module, or a name inside one."""
    path = name.removeprefix("proxy.").replace(".", "/")
    parent = path.rpartition("/")[0]
    return [f"{path}.py", f"{path}/__init__.py", *([f"{parent}.py"] if parent else [])]


def environment_is_read_once(path: str, tree: ast.Module) -> Faults:
    if path == "settings.py":
        return
    for node in ast.walk(tree):
        name = last_name(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            name = next((a.name for a in node.names if a.name in {"environ", "getenv"}), "")
        if name in {"environ", "environb", "getenv", "putenv"}:
            yield f"{node.lineno}: {name}; only settings reads the environment"  # type: ignore[attr-defined]


def no_mutable_module_state(path: str, tree: ast.Module) -> Faults:
    bodies = [tree.body, *(n.body for n in ast.walk(tree) if isinstance(n, ast.ClassDef))]
    for body in bodies:
        for node in body:
            assigned = isinstance(node, (ast.Assign, ast.AnnAssign)) and names(node) != ["__all__"]
            if assigned and is_mutable(node.value):
                yield f"{node.lineno}: a mutable value at module or class level"
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield f"{node.lineno}: global"


def exceptions_are_caught_by_name(path: str, tree: ast.Module) -> Faults:
    """A handler that always raises again keeps nothing and is free to name anything."""
    for node in ast.walk(tree):
        line = 0
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            wide = any(c is None or last_name(c) in {"Exception", "BaseException"} for c in caught)
            if wide and not isinstance(node.body[-1], ast.Raise):
                line = node.lineno
        elif isinstance(node, ast.Call) and called(node) == "suppress":
            wide = any(last_name(a) in {"Exception", "BaseException"} for a in node.args)
            line = node.lineno if wide else 0
        if line and path not in EDGES:
            yield f"{line}: catches everything and keeps it, and is no edge"


def ceilings_hold(path: str, tree: ast.Module) -> Faults:
    lines = (HOUSE / path).read_text().count("\n") if (HOUSE / path).exists() else 0
    if lines > 400:
        yield f"{lines} lines; a file of over 400 wants splitting"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > 50:
                yield f"{node.lineno}: {node.name} has {length} lines; over 50 wants splitting"


def a_newcomer_can_stand(path: str, tree: ast.Module) -> Faults:
    if path.endswith("__init__.py"):
        return
    doc = ast.get_docstring(tree) or ""
    if len(doc.splitlines()) < 3:
        yield "opens with fewer than three lines on what this room is"


def called(node: ast.Call) -> str:
    return last_name(node.func)


def last_name(node: ast.AST | None) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def names(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [last_name(target) for target in targets]


def is_mutable(value: ast.expr | None) -> bool:
    made = isinstance(value, ast.Call) and called(value) in MUTABLE_CALLS
    return made or isinstance(value, MUTABLE)


def is_impure(function: ast.expr) -> bool:
    banned = IMPURE_CALLS if isinstance(function, ast.Name) else IMPURE_METHODS
    return last_name(function) in banned


RULES: tuple[Rule, ...] = (
    imports_run_down,
    dialects_are_strangers,
    simulator_is_independent,
    pure_rooms_are_pure,
    environment_is_read_once,
    no_mutable_module_state,
    exceptions_are_caught_by_name,
    ceilings_hold,
    a_newcomer_can_stand,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule: Rule) -> None:
    faults = [
        f"proxy/{path}:{fault}"
        for path in sources()
        for fault in rule(path, ast.parse((HOUSE / path).read_text()))
    ]
    assert not faults, "\n".join(faults)


# Offenders: the path they claim, their source.
OFFENDERS: tuple[tuple[Rule, str, str], ...] = (
    (imports_run_down, "converse/x.py", "from proxy.openai.chat import request"),
    (imports_run_down, "converse/x.py", "def f():\n    from proxy.catalog.model import Model"),
    (imports_run_down, "catalog/x.py", "import proxy.converse.types"),
    (imports_run_down, "relay.py", "from proxy.settings import Settings"),
    (imports_run_down, "endpoints/x.py", "from proxy import settings"),
    (imports_run_down, "converse/x.py", "from .types import Event"),
    (imports_run_down, "attic.py", ""),
    (dialects_are_strangers, "openai/responses/x.py", "from proxy.openai.chat.plan import Plan"),
    (dialects_are_strangers, "openai/models.py", "from proxy.openai.chat import plan"),
    (simulator_is_independent, "simulator/x.py", "from proxy.converse.types import Event"),
    (simulator_is_independent, "simulator/x.py", "from proxy import errors"),
    (pure_rooms_are_pure, "openai/chat/x.py", "import time"),
    (pure_rooms_are_pure, "openai/chat/x.py", "from os import urandom"),
    (pure_rooms_are_pure, "openai/chat/x.py", "import urllib.request"),
    (pure_rooms_are_pure, "catalog/x.py", "from proxy.metrics import Metrics"),
    (pure_rooms_are_pure, "openai/x.py", "from proxy.media.fetch import fetch"),
    (pure_rooms_are_pure, "converse/x.py", "async def f(): pass"),
    (pure_rooms_are_pure, "converse/x.py", "def f():\n    print(1)"),
    (pure_rooms_are_pure, "catalog/x.py", "from datetime import datetime\nx = datetime.now()"),
    (pure_rooms_are_pure, "errors.py", "import functools\n@functools.cache\ndef f(): pass"),
    (pure_rooms_are_pure, "media/sniff.py", "import random"),
    (environment_is_read_once, "app.py", "import os\nx = os.environ['A']"),
    (environment_is_read_once, "app.py", "from os import getenv"),
    (no_mutable_module_state, "relay.py", "SEEN = {}"),
    (no_mutable_module_state, "relay.py", "SEEN: list[int] = [1]"),
    (no_mutable_module_state, "relay.py", "SEEN = collections.deque(maxlen=3)"),
    (no_mutable_module_state, "relay.py", "class A:\n    seen = set()"),
    (no_mutable_module_state, "relay.py", "def f():\n    global x\n    x = 1"),
    (exceptions_are_caught_by_name, "relay.py", "try:\n    f()\nexcept Exception:\n    pass"),
    (exceptions_are_caught_by_name, "relay.py", "try:\n    f()\nexcept:\n    pass"),
    (exceptions_are_caught_by_name, "relay.py", "try:\n    f()\nexcept (A, Exception):\n    g()"),
    (exceptions_are_caught_by_name, "relay.py", "with contextlib.suppress(Exception):\n    f()"),
    (ceilings_hold, "made.py", "def f():\n" + "    x = 1\n" * 50),
    (a_newcomer_can_stand, "made.py", '"""One line."""'),
)


@pytest.mark.parametrize(
    ("rule", "path", "source"), OFFENDERS, ids=lambda value: getattr(value, "__name__", None)
)
def test_each_rule_bites(rule: Rule, path: str, source: str) -> None:
    assert list(rule(path, ast.parse(source)))


def test_each_rule_has_an_offender() -> None:
    assert {rule for rule, _, _ in OFFENDERS} == set(RULES)


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (imports_run_down, "app.py", "from proxy.settings import Settings"),
        (imports_run_down, "cli/x.py", "from proxy import __version__"),
        (imports_run_down, "converse/x.py", "from proxy.converse import types"),
        (pure_rooms_are_pure, "openai/chat/x.py", "from proxy.media.sniff import sniff"),
        (pure_rooms_are_pure, "openai/chat/x.py", "from proxy.errors import invalid"),
        (no_mutable_module_state, "x.py", "__all__ = ['a']\nT = MappingProxyType({})\nU = (1,)"),
        (
            exceptions_are_caught_by_name,
            "x.py",
            "try:\n  f()\nexcept BaseException:\n  g()\n  raise",
        ),
        (exceptions_are_caught_by_name, "x.py", "try:\n  f()\nexcept ValueError:\n  pass"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_no_rule_bites_the_innocent(rule: Rule, path: str, source: str) -> None:
    assert not list(rule(path, ast.parse(source)))


# ---- nothing passes because nothing is looked at ------------------------------------------------


def test_pure_rooms_are_there() -> None:
    files = sources()
    for room in PURE:
        assert any(f == room or (room.endswith("/") and f.startswith(room)) for f in files), room
    for named in (
        "openai/chat/to_converse.py",
        "openai/chat/from_converse.py",
        "openai/chat/chunks.py",
        "openai/errors.py",
        "openai/models.py",
        "catalog/families.py",
        "catalog/listing.py",
        "catalog/repairs.py",
        "converse/eventstream.py",
        "converse/replay.py",
        "dialect.py",
        "sse.py",
    ):
        assert is_pure(named), named
    assert not is_pure("relay.py")
    assert not is_pure("media/fetch.py")


def test_edges_are_few_and_used() -> None:
    assert len(EDGES) <= 3
    for path in EDGES:
        if (HOUSE / path).exists():
            source = (HOUSE / path).read_text()
            assert "except Exception" in source or "except BaseException" in source, path


def test_the_readme_draws_the_house() -> None:
    told = Path(__file__).parents[1] / "README.md"
    drawn = re.search(r"```\n(__main__ > .*?)```", told.read_text(), re.DOTALL)
    assert drawn
    floors = [{*re.findall(r"\w+", floor)} for floor in drawn[1].split(">")]
    assert floors == [*FLOORS]


def test_no_registry_and_no_machine_is_named() -> None:
    """In any file of the project: names of package registries, paths of a workplace."""
    made = {"__pycache__", "build", "dist", "node_modules"}  # and what tools keep in hidden folders
    banned = (*REGISTRIES, "/".join(("", "work", "main")), "/".join(("", "work", "shared")))
    seen = 0
    for path in ROOT.rglob("*"):
        folders = path.relative_to(ROOT).parts[:-1]
        hidden = any(f.startswith(".") and f not in {".ci", ".github"} for f in folders)
        if hidden or made & set(folders) or path.name == "uv.lock" or not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace").lower()
        assert not [name for name in banned if name in text], path
        seen += 1
    assert seen > 50
