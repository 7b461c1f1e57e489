# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001  # a script beside what it reads
"""Writes `alcor.base.wire.alcor_pb2` and its type stub from `alcor.proto`; run it after every change of that file."""

import re
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

HERE = Path(__file__).parent
TARGET = HERE.parent / "src" / "alcor" / "base" / "wire"
LICENCE = "# SPDX-License-Identifier: Apache-2.0\n"


def generate(folder: Path) -> None:
    """Writes both files into `folder`. Raises RuntimeError if the compiler refuses the proto file."""
    arguments = [
        "protoc",
        f"-I{HERE}",
        f"--python_out={folder}",
        f"--pyi_out={folder}",
        str(HERE / "alcor.proto"),
    ]
    if protoc.main(arguments):
        raise RuntimeError("protoc refused alcor.proto")
    for name in ("alcor_pb2.py", "alcor_pb2.pyi"):
        path = folder / name
        path.write_text(LICENCE + without_version(path.read_text()))


def descriptor(folder: Path) -> bytes:
    """What the proto file declares, as the compiler understands it; `folder` takes an intermediate file."""
    target = folder / "alcor.bin"
    if protoc.main(["protoc", f"-I{HERE}", f"--descriptor_set_out={target}", str(HERE / "alcor.proto")]):
        raise RuntimeError("protoc refused alcor.proto")
    return FileDescriptorSet.FromString(target.read_bytes()).file[0].SerializeToString()


def without_version(text: str) -> str:
    """Generated code without the check that ties it to the compiler's release: descriptors work with older ones too."""
    text = re.sub(r"_runtime_version\.ValidateProtobufRuntimeVersion\(.*?\n\)\n", "", text, flags=re.DOTALL)
    lines = [
        line
        for line in text.splitlines()
        if "runtime_version" not in line and "Protobuf Python Version" not in line
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
