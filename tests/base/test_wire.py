# SPDX-License-Identifier: Apache-2.0
"""The wire: generated code is fresh, and hashes tell what differs."""

import importlib.util
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from alcor.base.wire import alcor_pb2
from alcor.base.wire.digest import digest_moved, digest_of, interest_hash

ROOT = Path(__file__).parents[2]


def test_the_python_of_the_wire_is_generated_from_the_proto_file(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto/generate.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    # The text of generated code differs between releases of the compiler; what it declares does not.
    fresh = FileDescriptorProto.FromString(generator.descriptor(tmp_path))
    for message in fresh.message_type:
        for field in message.field:
            field.ClearField("json_name")
    kept = FileDescriptorProto.FromString(alcor_pb2.DESCRIPTOR.serialized_pb)
    assert kept == fresh, "run `make proto`"


def test_a_digest_kept_by_differences_is_that_of_the_rows() -> None:
    digest, rows = 0, {}
    for key, body in [("a", b"1"), ("b", b"2"), ("a", b"3"), ("b", None), ("c", b""), ("a", None)]:
        digest = digest_moved(digest, key, rows.get(key), body)
        rows[key] = body
        if body is None:
            del rows[key]
        assert digest == digest_of(rows.items())
    assert digest == digest_of([("c", b"")]) != 0


def test_a_digest_tells_which_key_has_which_row() -> None:
    assert digest_of([("a", b"1"), ("b", b"2")]) == digest_of([("b", b"2"), ("a", b"1")])
    assert digest_of([("a", b"1"), ("b", b"2")]) != digest_of([("a", b"2"), ("b", b"1")])
    assert digest_of([("ab", b"c")]) != digest_of([("a", b"bc")])


def test_interest_tells_what_was_received_whole() -> None:
    assert interest_hash(["a", "b"]) == interest_hash({"b": 1, "a": 2})
    assert (
        len({interest_hash(["a"]), interest_hash(["a"], ["b"]), interest_hash(["a", "b"]), interest_hash([])})
        == 4
    )
