"""After a restore from a backup: what tasks had made so far was not in it, so those under way begin again."""

from libs.runtime.logs import get_logger
from services.trainer.deps import Deps
from services.trainer.events import put_task

log = get_logger()


async def begin_again(deps: Deps) -> None:
    """Where the mark of a restore lies, queue the first node of every task under way, then remove the mark.

    Called before the first job is taken, by one process at a time: of replicas the first begins again, the others wait for it. A job
    of an earlier try that is still in the queue finds its node waiting, or over, and is dropped; two jobs for one node run it once.
    """
    mark = deps.settings.restored_mark
    if not mark.exists():
        return
    async with deps.work() as w:
        for task in await w.tasks.under_way():
            rewound = task.rewind()
            await put_task(w, rewound.resume(at=w.now), before=rewound)
            await w.logs.append(
                task, "", [("warning", "Restored from a backup, which holds no work folders: the task begins again")], at=w.now
            )
            log.info("task_begins_again", task=task.name)
        await w.commit()
    mark.unlink()
