# SPDX-License-Identifier: Apache-2.0
"""How the code must read: lengths, names, licence, where `async` may stand. Each test names every offender."""

import ast
import re
from collections.abc import Iterator

from tests.house.source import ROOT, Function, Source, sources

LINES_OF_FILE_MAX = 600
LINES_OF_FUNCTION_MAX = 70
LINES_OF_PRODUCT_MAX = 25_000  # of code that users run: docs/decisions/budget.md
PARAMETERS_MAX = 4
FORBIDDEN_WORDS = frozenset(
    ["data", "info", "item", "obj", "manager", "helper", "helpers", "util", "utils", "common", "impl"]
)
OF_A_LIBRARY = frozenset({"data_received", "get_extra_info"})  # names that asyncio gives
MAY_BE_ASYNC = tuple(
    f"src/alcor/{part}/" for part in ("api", "push", "notify", "agent", "cli", "lab", "testing")
)
LOG_ADAPTERS = ("src/alcor/store/log/", "src/alcor/store/store.py")

PRODUCT = sources("src")
EVERYTHING = sources("src", "tests", "bench", "proto")


def test_no_file_is_longer_than_a_stranger_reads() -> None:
    lengths = {source.place: source.text.count("\n") for source in EVERYTHING}
    assert {place: length for place, length in lengths.items() if length > LINES_OF_FILE_MAX} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        f"{source.place}:{function.lineno} {function.name}": _length(function)
        for source in EVERYTHING
        for function in source.functions()
    }
    assert {place: length for place, length in lengths.items() if length > LINES_OF_FUNCTION_MAX} == {}


def test_the_product_stays_within_its_budget_of_lines() -> None:
    runs = [source for source in PRODUCT if not source.place.startswith("src/alcor/testing/")]
    assert sum(len(source.lines_of_code()) for source in runs) <= LINES_OF_PRODUCT_MAX


def test_neither_comments_nor_docstrings_nor_blank_lines_are_code() -> None:
    text = (
        '"""What it is."""\n\n# Why.\nx = """a\nb"""  # one\n\n\ndef f() -> None:\n    """Does nothing."""\n'
    )
    assert Source(ROOT / "x.py", text, ast.parse(text)).lines_of_code() == {4, 5, 8}


def test_a_function_takes_few_parameters_or_a_struct() -> None:
    counts = {
        f"{source.place}:{function.lineno} {function.name}": len(_parameters(function))
        for source in PRODUCT
        for function in source.functions()
    }
    assert {place: count for place, count in counts.items() if count > PARAMETERS_MAX} == {}


def test_no_name_says_nothing() -> None:
    offenders = [
        f"{source.place}:{line} {name}"
        for source in EVERYTHING
        for line, name in _declared_names(source)
        if FORBIDDEN_WORDS & set(_words(name)) and name not in OF_A_LIBRARY
    ]
    assert offenders == []


def test_every_file_names_its_licence_first() -> None:
    first = "# SPDX-License-Identifier: Apache-2.0\n"
    assert [source.place for source in EVERYTHING if not source.text.startswith(first)] == []


def test_async_stands_only_at_the_edges() -> None:
    offenders = [
        f"{source.place}:{node.lineno}"
        for source in PRODUCT
        if not source.place.startswith(MAY_BE_ASYNC + LOG_ADAPTERS)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await)
    ]
    assert offenders == []


def test_nothing_is_left_for_later() -> None:
    words = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error")) + r")\b")
    offenders = [
        f"{source.place}:{number} {line.strip()}"
        for source in EVERYTHING
        for number, line in enumerate(source.text.splitlines(), 1)
        if words.search(line)
    ]
    assert offenders == []


def test_what_silences_a_check_says_why() -> None:
    silence = re.compile(r"#\s*(noqa|type:\s*ignore|pragma)(:\s*|\[)?[\w, -]*\]?(?P<reason>.*)$")
    offenders = []
    for source in PRODUCT:
        lines = source.text.splitlines()
        for number, line in enumerate(lines, 1):
            found = silence.search(line)
            above = lines[number - 2].strip().startswith("#") if number > 1 else False
            if found and not found["reason"].strip(" #") and not above:
                offenders.append(f"{source.place}:{number} {line.strip()}")
    assert offenders == []


def test_an_exception_is_never_swallowed_without_a_word() -> None:
    offenders = [
        f"{source.place}:{node.lineno}"
        for source in PRODUCT
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (len(node.body) == 1 and isinstance(node.body[0], ast.Pass)))
        and not _has_comment(source, node.lineno, node.end_lineno or node.lineno)
    ]
    assert offenders == []


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _parameters(function: Function) -> list[str]:
    every = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    names = [argument.arg for argument in every]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def _declared_names(source: Source) -> Iterator[tuple[int, str]]:
    """(line, name) of what the file itself gives a name to."""
    yield 1, source.path.stem
    yield 1, source.path.parent.name
    for node in ast.walk(source.tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias() if node.asname:
                yield node.lineno, node.asname


def _words(name: str) -> list[str]:
    """`PortInfo` and `port_info` both have the word `info`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def _has_comment(source: Source, first: int, last: int) -> bool:
    return any("#" in line for line in source.text.splitlines()[first - 1 : last])
