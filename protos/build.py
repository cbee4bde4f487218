"""Builds what is derived from the protos: generated Python, the committed API text, lint and breaking checks.

    python protos/build.py generate   protos/gen (with descriptors and their comments, for OpenAPI) and protos/api.txtpb
    python protos/build.py check      api.txtpb equals the protos; buf lint; buf breaking against released.txtpb

protoc comes from grpcio-tools and buf from the wheel buf-bin; nothing is fetched.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, text_format
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
GENERATED = PROTOS / "gen"
DESCRIPTORS = GENERATED / "inkwright" / "descriptors.binpb"
API_TEXT = PROTOS / "api.txtpb"
RELEASED_TEXT = PROTOS / "released.txtpb"
HEADER = "# The committed text of every proto. Written by `make protos`; never edited by hand.\n"


def source_files() -> list[str]:
    """Paths of our proto files below ``protos/``, sorted."""
    return sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "inkwright").rglob("*.proto"))


def run_protoc(*arguments: str) -> None:
    """Run protoc over our files.

    Raises:
        SystemExit: protoc refused; it has printed why.
    """
    googleapis = Path(annotations_pb2.__file__).parents[2]
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    includes = [f"-I{PROTOS}", f"-I{googleapis}", f"-I{well_known}"]
    if protoc.main(["protoc", *includes, *arguments, *source_files()]) != 0:
        sys.exit("protoc refused the protos; see above.")


def generate() -> None:
    """Write ``protos/gen`` (messages, services, type stubs, descriptors with comments) and ``api.txtpb``."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir()
    outputs = ("python", "grpc_python", "mypy", "mypy_grpc")
    bin_folder = Path(sys.executable).parent
    plugins = [f"--plugin=protoc-gen-{name}={bin_folder / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
    run_protoc(*plugins, *(f"--{output}_out={GENERATED}" for output in outputs))
    for folder in [GENERATED / "inkwright", *(GENERATED / "inkwright").rglob("*")]:
        if folder.is_dir():
            (folder / "__init__.py").touch()
    DESCRIPTORS.write_bytes(descriptor_set(with_source=True).SerializeToString())
    API_TEXT.write_text(api_text(), encoding="utf-8")


def descriptor_set(*, with_source: bool) -> descriptor_pb2.FileDescriptorSet:
    """Our files and everything they import, as descriptors."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        options = ["--include_source_info"] if with_source else []
        run_protoc(f"--descriptor_set_out={image}", "--include_imports", *options)
        return descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())


def api_text() -> str:
    """The text form of all descriptors, imports included (the breaking check needs them)."""
    return HEADER + text_format.MessageToString(descriptor_set(with_source=False))


def buf(*arguments: str) -> None:
    """Run buf on a fresh image of the protos, ours alone.

    Raises:
        SystemExit: buf found something; it has printed what.
    """
    verb, *rest = arguments
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        image.write_bytes(descriptor_set(with_source=True).SerializeToString())
        command = [str(Path(sys.executable).parent / "buf"), verb, str(image), "--config", str(PROTOS.parent / "buf.yaml"), *rest]
        if subprocess.run([*command, *(f"--path={path}" for path in source_files())], check=False).returncode != 0:
            sys.exit(f"buf {verb} refused the protos; see above.")


def check() -> None:
    """Lint, equality with the committed text, and no breaking change since the last release."""
    if API_TEXT.read_text(encoding="utf-8") != api_text():
        sys.exit("protos/api.txtpb does not say what the protos say: run `make protos` and commit it.")
    buf("lint")
    if not RELEASED_TEXT.exists():
        print("buf breaking: nothing was released yet, so nothing can break.")
        return
    with tempfile.TemporaryDirectory() as folder:
        released = Path(folder) / "released.binpb"
        message = text_format.Parse(RELEASED_TEXT.read_text(encoding="utf-8"), descriptor_pb2.FileDescriptorSet())
        released.write_bytes(message.SerializeToString())
        buf("breaking", "--against", str(released))
    print("buf breaking: nothing broken since the last release.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["generate", "check"])
    {"generate": generate, "check": check}[parser.parse_args().verb]()


if __name__ == "__main__":
    main()
