"""Taking a backup of an installation, running or not."""

import tempfile
from importlib.metadata import version
from pathlib import Path

from deploy.backup.archive import BackupError, DatabaseCopy, Manifest, Writer, written
from deploy.backup.databases import Source, cut
from deploy.backup.installation_bus import bus_of
from deploy.backup.streams import save_streams
from libs.ocrkit.bundle import SUFFIX, BundleInvalid, open_bundle
from libs.runtime.secrets import KEY_FILE
from libs.runtime.times import utc_now
from services.trainer.settings import TrainerSettings

TOKEN_FILE = "admin.token"
BUNDLES = "bundles"


async def take(settings: TrainerSettings, path: Path) -> Manifest:
    """Write a backup; the file appears whole and verified, or not at all.

    The order matters. First the bus: what it says a consumer is done with has then had its effect in the databases. Then all
    databases at one moment: what was published since the bus was read is published again from the outboxes. Then the bundles the
    trainer's database names, which never change.

    Args:
        settings: of the installation; its trainer's, because that one keeps files.

    Raises:
        BackupError: no installation, or something that cannot be read.
        OSError: no room, no right.
    """
    if not (settings.home / KEY_FILE).is_file():
        raise BackupError(f"There is no installation in {settings.home}; set INKWRIGHT_HOME to its folder.")
    if not path.parent.is_dir():
        raise BackupError(f"There is no folder {path.parent}.")
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as name, written(path) as writer:
        folder = Path(name)
        bus_time = utc_now()
        async with bus_of(settings) as bus:
            streams = await save_streams(bus, folder)
        _add_folder(writer, "bus", folder)
        with cut(settings) as (cut_time, sources):
            digests = sources["trainer"].texts("SELECT DISTINCT bundle_digest FROM model ORDER BY 1")
            databases = {service: _add_database(writer, source, folder) for service, source in sources.items()}
        for file in (KEY_FILE, TOKEN_FILE):
            if (settings.home / file).is_file():
                writer.add(f"home/{file}", settings.home / file)
        problems = [problem for digest in digests if (problem := _add_bundle(writer, settings.artifact_folder / f"{digest}{SUFFIX}"))]
        return writer.finish(
            Manifest(
                cut_time=cut_time,
                bus_time=bus_time,
                code_version=version("inkwright"),
                databases=databases,
                streams=streams,
                problems=problems,
            )
        )


def _add_database(writer: Writer, source: Source, folder: Path) -> DatabaseCopy:
    copy = source.copy(folder)
    _add_folder(writer, "databases", folder)
    return copy


def _add_folder(writer: Writer, name: str, folder: Path) -> None:
    """Take every file of a folder below ``name``, and remove it there: the disk need not hold all of them twice."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        writer.add(f"{name}/{path.relative_to(folder).as_posix()}", path)
        path.unlink()


def _add_bundle(writer: Writer, path: Path) -> str:
    """Take a bundle; what is wrong with it, or ``""``. A backup without one model is worth more than none."""
    try:
        bundle = open_bundle(path)
    except BundleInvalid as fault:
        return fault.message
    if bundle.digest != path.stem:
        return f"{path.name} holds another bundle, {bundle.digest}."
    writer.add(f"{BUNDLES}/{path.name}", path)
    return ""
