"""Children: orders in, events out, and none left behind."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from libs.runtime.child import Child
from libs.runtime.testing import assert_eventually
from tests.integration.processes import is_alive, mentioning


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_orders_go_in_and_events_come_out(tmp_path: Path) -> None:
    code = """
import json, os, sys
orders = json.loads(sys.stdin.readline())
print(json.dumps({"got": orders, "cwd": os.getcwd(), "env": os.environ["COLOUR"]}))
print("no json")
print("[1, 2]")
more = json.loads(sys.stdin.readline())
print(json.dumps(more))
print("to stderr", file=sys.stderr)
sys.exit(3)
"""
    lines: list[str] = []
    child = await Child.start(python(code), name="echo", orders={"épochs": 3}, env={"COLOUR": "blue"}, cwd=tmp_path, log_line=lines.append)
    await child.send({"stop": True})
    events = [event async for event in child.events()]
    assert events == [{"got": {"épochs": 3}, "cwd": str(tmp_path), "env": "blue"}, {"stop": True}]
    ended = await child.wait()
    assert (ended.code, ended.signal_name, ended.stderr_tail, str(ended)) == (3, None, ("to stderr",), "exit code 3")
    assert sorted(lines) == ["[1, 2]", "no json", "to stderr"]
    assert child.exit == ended
    assert not ended.ok


async def test_without_orders_stdin_is_closed() -> None:
    child = await Child.start(python("import sys; sys.exit(len(sys.stdin.read()))"), name="quiet")
    assert (await child.wait()).ok


async def test_sending_to_a_dead_child_is_no_error() -> None:
    child = await Child.start(python("pass"), name="short", orders={})
    await child.wait()
    await child.send({"late": True})


async def test_a_program_that_does_not_exist_says_so() -> None:
    child = await Child.start(["/no/such/program"], name="nothing")
    ended = await child.wait()
    assert ended.code == 127
    assert "/no/such/program" in ended.stderr_tail[-1]


async def test_the_tail_of_stderr_is_kept_for_the_report() -> None:
    code = "import sys\nfor n in range(1000): print(n, file=sys.stderr)\nraise SystemExit(1)"
    child = await Child.start(python(code), name="chatty", log_line=lambda _line: None)
    ended = await child.wait()
    assert ended.stderr_tail == tuple(str(number) for number in range(800, 1000))


async def test_a_polite_child_ends_by_itself() -> None:
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\nprint('{}', flush=True)\ntime.sleep(60)"
    child = await Child.start(python(code), name="polite")
    await anext(child.events())
    began = time.monotonic()
    assert (await child.terminate(10)).code == 5
    assert time.monotonic() - began < 5
    assert (await child.terminate(10)).code == 5


async def test_a_stubborn_child_is_killed_after_the_grace() -> None:
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('{}', flush=True)\ntime.sleep(60)"
    child = await Child.start(python(code), name="stubborn")
    await anext(child.events())
    began = time.monotonic()
    ended = await child.terminate(0.3)
    assert (ended.signal_name, str(ended)) == ("SIGKILL", "killed by SIGKILL")
    assert 0.3 <= time.monotonic() - began < 3
    assert not is_alive(child.pid)


@pytest.mark.parametrize("ending", ["exit", "terminate"])
async def test_its_own_plain_children_go_with_it(ending: str) -> None:
    code = """
import json, subprocess, sys
sleeper = subprocess.Popen(["sleep", "3600"])
print(json.dumps({"pid": sleeper.pid}), flush=True)
sys.stdin.readline()
sys.stdin.readline()
"""
    child = await Child.start(python(code), name="parent", orders={})
    pid = (await anext(child.events()))["pid"]
    assert is_alive(pid)
    if ending == "exit":
        child.close_stdin()
        await child.wait()
    else:
        await child.terminate(5)
    await assert_eventually(lambda: not is_alive(pid))


async def test_no_generation_outlives_a_killed_ancestor() -> None:
    child = await Child.start([sys.executable, "-m", "tests.integration.family", "2"], name="family")
    events = child.events()
    pids = [(await anext(events))["pid"] for _ in range(2)]
    assert all(is_alive(pid) for pid in pids)
    child.kill()
    await child.wait()
    await assert_eventually(lambda: not any(is_alive(pid) for pid in pids))


async def test_a_long_line_is_one_event() -> None:
    child = await Child.start(python("import json; print(json.dumps({'text': 'x' * 5_000_000}))"), name="long")
    events = [event async for event in child.events()]
    assert [len(event["text"]) for event in events] == [5_000_000]
    await child.wait()


async def test_starting_and_ending_many_leaves_none(tmp_path: Path) -> None:
    mark = str(tmp_path)
    children = await asyncio.gather(*(Child.start(python("import time; time.sleep(60)"), name="one", env={"MARK": mark}) for _ in range(5)))
    # A process in the middle of its exec shows no environment for a moment.
    await assert_eventually(lambda: len(mentioning(mark)) == 5)
    await asyncio.gather(*(child.terminate(2) for child in children))
    assert mentioning(mark) == {}
