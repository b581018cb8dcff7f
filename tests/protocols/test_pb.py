"""Our messages are those that clients of Triton have, and both live in one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from tritonclient.grpc import model_config_pb2, service_pb2

from workbench.protocols import pb

FOLDER = Path(pb.__file__).parent
FILES = ("grpc_service.proto", "model_config.proto")


def test_the_descriptors_are_what_the_protos_say(tmp_path: Path) -> None:
    out = tmp_path / "descriptors.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{FOLDER}", f"--descriptor_set_out={out}", *FILES]
    subprocess.run(command, check=True, timeout=60)
    compiled = FileDescriptorSet.FromString(out.read_bytes())
    assert compiled == FileDescriptorSet.FromString((FOLDER / "descriptors.binpb").read_bytes())


def test_they_agree_with_tritonclient_in_every_name_number_and_type() -> None:
    for module in (service_pb2, model_config_pb2):
        theirs, ours = FileDescriptorProto(), FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(theirs)
        pb.POOL.FindFileByName(theirs.name).CopyToProto(ours)
        assert without_json_names(ours) == without_json_names(theirs)


def test_bytes_of_one_are_read_by_the_other() -> None:
    theirs = service_pb2.ModelInferRequest(model_name="m", id="7", raw_input_contents=[b"\0\1"])
    ours = pb.message("ModelInferRequest").FromString(theirs.SerializeToString())
    assert type(ours) is not type(theirs)
    assert ours.SerializeToString() == theirs.SerializeToString()


def without_json_names(file: FileDescriptorProto) -> FileDescriptorProto:
    """protoc writes them into sets and leaves them out of generated code."""

    def clear(message: DescriptorProto) -> None:
        for field in message.field:
            field.ClearField("json_name")
        for nested in message.nested_type:
            clear(nested)

    for message in file.message_type:
        clear(message)
    return file
