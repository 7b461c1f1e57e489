# SPDX-License-Identifier: Apache-2.0
"""The project's own Python files, parsed once, for the rules of the house."""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FEATURES = ROOT / "src/alcor/features"

_NO_CODE = frozenset(
    (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def place(self) -> str:
        """The path within the project: `src/alcor/base/net.py`."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def module(self) -> str:
        """The module's name, for files under src: `alcor.base.net`, and `alcor.base` for a package."""
        parts = self.path.relative_to(ROOT / "src").with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def functions(self) -> Iterator[Function]:
        """Every function and method."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node

    def lines_of_code(self) -> set[int]:
        """The numbers of the lines that are neither blank nor only comment or docstring."""
        found: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in _NO_CODE:
                found.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None:
                found.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        return found

    def imports(self) -> frozenset[str]:
        """What it imports, by full name; `from a import b` counts as `a` and as `a.b`."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
        return frozenset(names)


@cache
def sources(*tops: str) -> tuple[Source, ...]:
    """The Python files under these folders of the project, generated ones left out, in order of path."""
    paths = sorted(
        path for top in tops for path in (ROOT / top).rglob("*.py") if not path.stem.endswith("_pb2")
    )
    return tuple(Source(path, text := path.read_text(encoding="utf-8"), ast.parse(text)) for path in paths)


def feature_names() -> list[str]:
    """The folders of features, by name."""
    return sorted(path.name for path in FEATURES.iterdir() if path.is_dir() and any(path.glob("*.py")))
