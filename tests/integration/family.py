"""A process of a test that starts a child of its own: ``python -m tests.integration.family DEPTH``.

The deepest one sleeps for ever; each says its pid and those below it.
"""

import asyncio
import json
import sys

from libs.runtime.child import Child


async def main(depth: int) -> None:
    """Start the next generation, pass its pids on, stay."""
    if depth == 0:
        print(json.dumps({"pid": 0}), flush=True)
        await asyncio.sleep(3600)
        return
    child = await Child.start([sys.executable, "-m", "tests.integration.family", str(depth - 1)], name=f"generation-{depth - 1}")
    print(json.dumps({"pid": child.pid}), flush=True)
    async for event in child.events():
        if event["pid"]:
            print(json.dumps(event), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
