# SPDX-License-Identifier: Apache-2.0
"""Where things stand: no dead files, features in their four files and in order, tests beside what they test."""

import ast
import re

import pytest

from tests.house.source import FEATURES, ROOT, Source, feature_names, sources

QUESTIONS = ("model", "rules", "goal", "flows")
ENGINES = ("store", "resource", "goal", "dataplane", "api", "push")
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_MADE_BY = frozenset(
    [
        "list",
        "dict",
        "set",
        "bytearray",
        "defaultdict",
        "deque",
        "Counter",
        "OrderedDict",
        "count",
        "ContextVar",
    ]
)

PRODUCT = sources("src")
PARTS = sorted(path.name for path in (ROOT / "src/alcor").iterdir() if (path / "__init__.py").exists())


def test_every_module_is_used_or_an_entry_point() -> None:
    """The kit may be used by tests alone, everything else must be used by the product."""
    product = frozenset().union(*(source.imports() for source in PRODUCT))
    everything = product.union(*(source.imports() for source in sources("tests", "bench")))
    entries = set(re.findall(r"python -m (alcor[\w.]+)", (ROOT / "Makefile").read_text())) | {
        "alcor.__main__"
    }
    offenders = [
        source.place
        for source in PRODUCT
        if source.path.name != "__init__.py"
        and source.module not in entries
        and source.module not in (everything if source.module.startswith("alcor.testing.") else product)
    ]
    assert offenders == []


@pytest.mark.parametrize("feature", feature_names())
def test_a_feature_answers_its_four_questions_in_their_files(feature: str) -> None:
    """What a question has split off, by noun, is used inside the folder only."""
    files = {path.stem for path in (FEATURES / feature).rglob("*.py")}
    assert "__init__" in files
    assert files & set(QUESTIONS)
    split_off = files - {"__init__", *QUESTIONS}
    offenders = [
        f"{source.place} imports {feature}/{name}.py"
        for source in PRODUCT
        for name in split_off
        if f"alcor.features.{feature}.{name}" in source.imports() and source.path.parent != FEATURES / feature
    ]
    assert offenders == []


@pytest.mark.parametrize("feature", feature_names())
def test_a_feature_is_listed_where_its_parts_are_wired(feature: str) -> None:
    control, host = (_source(f"src/alcor/features/{name}.py").imports() for name in ("control", "host"))
    has = {path.stem.partition("_")[0] for path in (FEATURES / feature).glob("[a-z]*.py")}
    mentions = rf"alcor\.features\.{feature}(\..*)?"
    if has - {"flows"}:
        assert any(re.fullmatch(mentions, name) for name in control), (
            f"features/control.py leaves out {feature}"
        )
    if "flows" in has:
        named = any(re.fullmatch(mentions, name) for name in host)
        assert named or _is_read_by_other_flows(feature), f"features/host.py leaves out {feature}"


def test_flows_know_rows_and_nothing_of_the_control_plane() -> None:
    forbidden = re.compile(
        r"alcor\.(store|resource|goal|features\.control|features\.\w+\.(model|rules|goal)(_\w+)?)(\..*)?"
    )
    offenders = [
        f"{source.place} imports {name}"
        for source in sources("src/alcor/features")
        if source.path.stem.startswith("flows") or source.path.stem == "host"
        for name in source.imports()
        if forbidden.fullmatch(name)
    ]
    assert offenders == []


def test_a_feature_imports_only_those_below_it_in_the_list() -> None:
    order = _order()
    offenders = []
    for source in sources("src/alcor/features"):
        own = source.path.parent.name
        if own not in order:
            continue
        for name in source.imports():
            other = name.split(".")[2] if name.startswith("alcor.features.") else own
            if other in order and order.index(other) > order.index(own):
                offenders.append(f"{source.place} imports {other}, which stands above {own}")
    assert offenders == []


def test_every_feature_has_its_place_in_the_order() -> None:
    assert sorted(set(feature_names()) - set(_order())) == []


def test_features_keep_no_state_in_their_modules() -> None:
    offenders = [
        f"{source.place}:{node.lineno}"
        for source in sources("src/alcor/features")
        for node in source.tree.body
        if _is_mutable_constant(node)
    ]
    offenders += [
        f"{source.place}:{node.lineno} global"
        for source in sources("src/alcor/features")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Global)
    ]
    assert offenders == []


def test_engines_never_name_a_feature() -> None:
    """Not even in a string: what an engine knows of a noun, the feature has declared."""
    names = {form for name in feature_names() for form in (name, name + "s", name.replace("_", "-") + "s")}
    offenders = [
        f"{source.place}:{node.lineno} {node.value!r}"
        for source in sources(*(f"src/alcor/{engine}" for engine in ENGINES))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]
    assert offenders == []


def test_tests_stand_beside_what_they_test() -> None:
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(folders - set(PARTS) - {"house", "contract", "peers"}) == []


def test_every_file_of_tests_is_a_test_or_used_by_one() -> None:
    used = frozenset().union(*(source.imports() for source in sources("tests", "bench")))
    run_by_another_python = {
        name for source in sources("tests") for name in re.findall(r'with_name\("(\w+\.py)"\)', source.text)
    }
    offenders = [
        source.place
        for source in sources("tests")
        if source.path.name not in run_by_another_python
        and not source.path.stem.startswith("test_")
        and source.path.stem not in ("conftest", "__init__")
        and ".".join(source.path.relative_to(ROOT).with_suffix("").parts) not in used
    ]
    assert offenders == []


def test_names_of_tests_are_sentences() -> None:
    offenders = [
        f"{source.place}:{function.lineno} {function.name}"
        for source in sources("tests")
        for function in source.functions()
        if function.name.startswith("test_") and len(function.name.split("_")) < 3
    ]
    assert offenders == []


def test_no_test_judges_by_the_clock() -> None:
    clocks = {"time.perf_counter", "time.process_time", "time.perf_counter_ns", "timeit"}
    assert [source.place for source in sources("tests") if clocks & source.imports()] == []
    offenders = [
        f"{source.place}:{node.lineno}"
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith(("perf_counter", "process_time"))
    ]
    assert offenders == []


def _source(place: str) -> Source:
    return next(source for source in PRODUCT if source.place == place)


def _order() -> list[str]:
    """Features in the order of the lists of features/control.py: by their first mention outside of imports."""
    control = _source("src/alcor/features/control.py")
    names = feature_names()
    module_of: dict[str, str] = {}
    order: list[str] = []
    for node in control.tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("alcor.features"):
            for alias in node.names:
                parts = f"{node.module}.{alias.name}".split(".")
                module_of[alias.asname or alias.name] = parts[2]
    names_used = sorted(
        (node for node in ast.walk(control.tree) if isinstance(node, ast.Name)),
        key=lambda node: (node.lineno, node.col_offset),
    )
    for node in names_used:
        feature = module_of.get(node.id)
        if feature in names and feature not in order:
            order.append(feature)
    return order


def _is_read_by_other_flows(feature: str) -> bool:
    """Its rows are another feature's to turn into flows, or stay rows."""
    return any(
        name.startswith(f"alcor.features.{feature}.flows")
        for source in PRODUCT
        if source.path.stem.startswith(("flows", "goal"))
        for name in source.imports()
    )


def _is_mutable_constant(node: ast.stmt) -> bool:
    """A list, dict or set at module level, unless annotated as what cannot be changed (Mapping, Sequence...)."""
    if isinstance(node, ast.AnnAssign):
        read_only = ast.unparse(node.annotation).startswith(
            ("Mapping", "Sequence", "AbstractSet", "Iterable")
        )
        value = None if read_only else node.value
    elif isinstance(node, ast.Assign):
        is_export = any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
        value = None if is_export else node.value
    else:
        return False
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in MUTABLE_MADE_BY
    return isinstance(value, MUTABLE)
