"""Finds waits without a bound in Python source, by syntax.

A wait counts as bounded where it carries a timeout, stands in ``asyncio.wait_for`` or under ``asyncio.timeout`` of the
same function, or where it only awaits another coroutine, whose own waits are looked at in turn. Collectives are
bounded by their process group, so what is looked at is that each group is made with a timeout. A ``result()`` counts
only in files that use threads, since a task of asyncio never waits there; a lock of threads does not count, since what
is done under it does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Methods that wait without an argument, and what makes them not wait.
_METHODS = frozenset({"acquire", "accept", "communicate", "get", "join", "read", "recv", "select", "wait"})
_ON_FUTURES = frozenset({"result", "exception"})
_BOUNDS = frozenset({"timeout", "block", "blocking"})
_LOCKS = frozenset({"Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"})
_THREADS = ("concurrent.futures", "run_coroutine_threadsafe")
#: Functions that wait unless they are given ``timeout``.
_FUNCTIONS = frozenset(
    {
        "asyncio.wait",
        "ray.get",
        "ray.wait",
        "subprocess.call",
        "subprocess.check_call",
        "subprocess.check_output",
        "subprocess.run",
        "request.urlopen",
        "urllib.request.urlopen",
        "dist.init_process_group",
        "dist.new_group",
        "torch.distributed.init_process_group",
        "torch.distributed.new_group",
    }
)
#: Functions that take their bound in this place.
_BOUND_AT = {"socket.create_connection": 2, "select.select": 4}


@dataclass
class _File:
    """What a file says that its single lines do not."""

    threads: bool
    locks: set[str] = field(default_factory=set)


def unbounded(source: str) -> Iterator[tuple[str, int, str]]:
    """Function (``Class.method``), line and text of each wait without a bound."""
    tree = ast.parse(source)
    file = _File(threads=any(word in source for word in _THREADS))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and _makes_lock(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            file.locks |= {name for target in targets for name in _names(target)}
    yield from _scan(tree, file, "", False)


def _scan(node: ast.AST, file: _File, function: str, bounded: bool) -> Iterator[tuple[str, int, str]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        function, bounded = f"{function}.{node.name}".lstrip("."), False
    if not bounded and isinstance(node, ast.expr | ast.stmt) and _waits(node, file):
        yield function, node.lineno, ast.unparse(node).splitlines()[0]
    within = bounded or (isinstance(node, ast.AsyncWith) and any(_bounds(item.context_expr) for item in node.items))
    within = within or (isinstance(node, ast.Call) and _name(node.func).endswith("wait_for"))
    for child in ast.iter_child_nodes(node):
        yield from _scan(child, file, function, within)


def _waits(node: ast.AST, file: _File) -> bool:
    """Whether this very node waits, with no bound of its own."""
    if isinstance(node, ast.Await):
        value = node.value
        if not isinstance(value, ast.Call):
            return True
        name = _name(value.func)
        if name.endswith(".read") and not value.args:
            return True
        return name in ("asyncio.shield", "asyncio.wrap_future") or (name == "asyncio.gather" and _gathers_tasks(value))
    if isinstance(node, ast.AsyncFor):
        return True
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return any(part.is_async for part in node.generators)
    if isinstance(node, ast.AsyncWith):
        return any(_last(item.context_expr) in file.locks | {"lock"} for item in node.items)
    if isinstance(node, ast.With):
        return any(_name(item.context_expr).endswith("PoolExecutor") for item in node.items)
    return isinstance(node, ast.Call) and _call_waits(node, file)


def _call_waits(call: ast.Call, file: _File) -> bool:
    name, given = _name(call.func), {keyword.arg for keyword in call.keywords}
    method = name.rpartition(".")[2]
    if name in _FUNCTIONS:
        return not given & {"timeout"}
    if name in _BOUND_AT:
        return not given & {"timeout"} and len(call.args) < _BOUND_AT[name]
    if name == "os.waitpid":
        return "WNOHANG" not in ast.unparse(call)
    if method == "init_distributed":
        return not given & {"timeout", "dist_init_required"}
    if method == "shutdown" and file.threads:
        return not any(
            k.arg == "wait" and isinstance(k.value, ast.Constant) and not k.value.value for k in call.keywords
        )
    if not isinstance(call.func, ast.Attribute) or call.args or given & _BOUNDS:
        return False
    if method == "get" and name[:1].isupper():  # of a class
        return False
    if method == "read":  # of a file it ends; of a connection it is awaited, and that is looked at by ``Await``
        return False
    return method in _METHODS or (method in _ON_FUTURES and file.threads)


def _gathers_tasks(call: ast.Call) -> bool:
    """Whether what is gathered began before, and so is not seen here."""
    parts = [arg.value if isinstance(arg, ast.Starred) else arg for arg in call.args]
    return any(
        not isinstance(part, ast.GeneratorExp | ast.ListComp | ast.Call) or _name(part).endswith("values")
        for part in parts
    )


def _bounds(context: ast.expr) -> bool:
    if not (isinstance(context, ast.Call) and _name(context.func) in ("asyncio.timeout", "asyncio.timeout_at")):
        return False
    return not (isinstance(context.args[0], ast.Constant) and context.args[0].value is None)


def _makes_lock(value: ast.expr | None) -> bool:
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return any(isinstance(part, ast.Call) and _name(part.func).rpartition(".")[2] in _LOCKS for part in parts)


def _names(target: ast.expr) -> Iterator[str]:
    for each in target.elts if isinstance(target, ast.Tuple) else [target]:
        yield _last(each)


def _last(node: ast.AST) -> str:
    return _name(node).rpartition(".")[2]


def _name(node: ast.AST) -> str:
    """``a.b.c`` of such an expression; what is called or indexed on the way is left out."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}".lstrip(".")
    if isinstance(node, ast.Call):
        return _name(node.func)
    return node.id if isinstance(node, ast.Name) else ""
