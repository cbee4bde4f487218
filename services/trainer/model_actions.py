"""The verbs on models: register the bases, import, retire, read."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path

from libs.ocrkit.bundle import SUFFIX, BundleInvalid
from libs.runtime.errors import InvalidInput, NotFound, TooLarge
from libs.runtime.logs import get_logger
from libs.runtime.names import DEFAULT_PROJECT, MODEL, InvalidName, check_id, check_project, new_id
from services.trainer.bundles import check_graphs, keep_bundle, key_of
from services.trainer.deps import Deps
from services.trainer.events import tell_model, tell_retired
from services.trainer.model import Model, Origin

log = get_logger()

MAX_BUNDLE_BYTES = 512 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024


async def register_bases(deps: Deps) -> None:
    """Make every bundle in the models folder a base of the default project; one that is known by digest changes nothing.
    One process at a time.

    A file that is no bundle, or whose name cannot be a model's, is left out with a line in the log.
    """
    for path in sorted(deps.settings.models.glob(f"*{SUFFIX}")):
        try:
            name = MODEL.format(project=DEFAULT_PROJECT, model=check_id(path.stem, "model"))
            facts = await keep_bundle(deps.artifacts, path)
        except (BundleInvalid, InvalidName) as fault:
            log.error("base_refused", path=str(path), message=fault.message)
            continue
        async with deps.work() as w:
            known = await w.models.find(name)
            if known is not None and (known.bundle_digest == facts.bundle_digest or known.origin is not Origin.BASE):
                continue
            fresh = Model(name=name, uid=new_id("md"), origin=Origin.BASE, create_time=w.now, **asdict(facts))
            model = fresh if known is None else replace(known, **asdict(facts))
            await w.models.put(model)
            tell_model(w, model)
            await w.commit()
        log.info("base_registered", model=name, digest=facts.bundle_digest)


async def import_model(deps: Deps, name: str, chunks: AsyncIterator[bytes]) -> Model:
    """Take a bundle file and register it.

    Raises:
        InvalidName: the name breaks the rule.
        AlreadyExists: the name is taken.
        TooLarge: more than 512 MiB.
        BundleInvalid: what is wrong with the file.
    """
    check_id(MODEL.parse(name)["model"], "model")
    # The call streams, so its first message was not looked at before.
    check_project(name)
    async with deps.work(read_only=True) as w:
        await w.models.check_free(name)
    deps.settings.upload_folder.mkdir(parents=True, exist_ok=True)
    path = deps.settings.upload_folder / f"{new_id('up')}{SUFFIX}"
    try:
        await _receive(path, chunks)
        await asyncio.to_thread(check_graphs, path)
        facts = await keep_bundle(deps.artifacts, path)
    finally:
        path.unlink(missing_ok=True)
    async with deps.work() as w:
        await w.models.check_free(name)
        model = Model(name=name, uid=new_id("md"), origin=Origin.IMPORTED, create_time=w.now, **asdict(facts))
        await w.models.put(model)
        tell_model(w, model)
        await w.commit()
    return model


async def retire_model(deps: Deps, name: str) -> Model:
    """Withdraw a model.

    Raises:
        NotFound: no such model.
        WrongState: it is a base.
        ModelRetired: it was withdrawn before.
        ModelInUse: a deployment uses it.
    """
    MODEL.parse(name)
    async with deps.work() as w:
        retired = (await w.models.get(name)).retire()
        await w.models.put(retired)
        tell_retired(w, retired)
        await w.commit()
    return retired


async def read_bundle(deps: Deps, *, model: str, digest: str) -> AsyncIterator[bytes]:
    """A bundle's bytes in pieces of at most 1 MiB, by the model's name or by digest.

    Raises:
        InvalidInput: neither is given.
        NotFound: no such model or bundle.
    """
    async with deps.work(read_only=True) as w:
        if model:
            digest = (await w.models.get(model)).bundle_digest
        elif not digest:
            raise InvalidInput("Say which bundle to read: a model's name or a bundle digest.")
        elif not await w.models.has_digest(digest):
            raise NotFound(f"No model has a bundle with the digest {digest[:64]!r}.", digest=digest[:64])
    async for chunk in deps.artifacts.read_stream(key_of(digest), chunk_bytes=CHUNK_BYTES):
        yield chunk


async def _receive(path: Path, chunks: AsyncIterator[bytes]) -> None:
    size = 0
    with path.open("wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > MAX_BUNDLE_BYTES:
                raise TooLarge(
                    f"The bundle is larger than {MAX_BUNDLE_BYTES // 2**20} MiB; that is no model of ours.", maximum=MAX_BUNDLE_BYTES
                )
            await asyncio.to_thread(file.write, chunk)
