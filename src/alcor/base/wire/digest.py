# SPDX-License-Identifier: Apache-2.0
"""Hashes by which push and agent find out what they agree on."""

from collections.abc import Iterable
from hashlib import blake2b

INCOMPLETE = b""  # in the place of a digest: the scope is held, but was not received whole

_DIGEST_BYTES = 16
_MODULUS = 1 << 8 * _DIGEST_BYTES


def row_hash(key: str, body: bytes) -> int:
    """The hash of one row, to be summed: 128 bits of BLAKE2b over key and body."""
    return int.from_bytes(blake2b(key.encode() + b"\0" + body, digest_size=_DIGEST_BYTES).digest(), "big")


def digest_of(rows: Iterable[tuple[str, bytes]]) -> int:
    """The digest of a scope: the sum of its rows' hashes, so that it is kept by differences and needs no order."""
    return sum(row_hash(key, body) for key, body in rows) % _MODULUS


def digest_moved(digest: int, key: str, old: bytes | None, new: bytes | None) -> int:
    """The digest of a scope after the row under `key` changed from `old` to `new` (None: no such row)."""
    if old is not None:
        digest -= row_hash(key, old)
    if new is not None:
        digest += row_hash(key, new)
    return digest % _MODULUS


def digest_bytes(digest: int) -> bytes:
    """A digest as it travels."""
    return digest.to_bytes(_DIGEST_BYTES, "big")


def interest_hash(complete: Iterable[str], incomplete: Iterable[str] = ()) -> bytes:
    """The hash of what is held: two sets of scope names, in any order."""
    names = [*sorted(complete), "", *sorted(incomplete)]
    return blake2b("\0".join(names).encode(), digest_size=_DIGEST_BYTES).digest()
