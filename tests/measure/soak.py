"""A thousand runs in one process with faults thrown at random: `python tests/measure/soak.py [RUNS] [SEED]`.

The agent is the real one on a two-layer random model; an MCP server of ours hangs and dies at times. Faults: the
model's process is killed, the run is cancelled, the disk is full, the server hangs or dies. Checked after every run:
what was stored is what the run gave. Checked at the end: processes, file descriptors, memory, which may not have grown
by more than a tenth since the first hundred runs.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tiny_model import write_tiny_model  # noqa: E402 - found by the line above

from umi_local.errors import StorageError, UmiError  # noqa: E402

WARM = 100  # runs before memory is first looked at: caches fill, libraries load
FAULTS = ("none", "none", "kill", "cancel", "full disk", "hang", "die")


def main(runs: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="umi-soak-") as folder:
        os.environ["UMI_LOCAL_HOME"] = str(Path(folder, "home"))
        return Soak(Path(folder), random.Random(seed)).go(runs)


class Soak:
    def __init__(self, folder: Path, chance: random.Random) -> None:
        from umi_local.cli import choices
        from umi_local.conversation import Conversation
        from umi_local.mcp import Manager, ServerFile, tools_of, trust
        from umi_local.sessions import SessionStore
        from umi_local.tools.arithmetic import calculator
        from umi_local.tools.files import write_file
        from umi_local.tools.python import run_python

        self.chance, self.folder = chance, folder
        work = folder / "work"
        work.mkdir()
        servers, pins = ServerFile(folder / "mcp.json"), folder / "pins.json"
        for name in ("hangs", "dies"):
            args = [str(HERE.parent / "hostile_server.py"), name, str(folder / name)]
            servers.add(name, {"command": sys.executable, "args": args, "timeout": 0.3})
        self.manager = Manager(servers)
        for name in ("hangs", "dies"):
            trust(pins, name, self.manager.offers(name))
        self.tools = [calculator, write_file, run_python]
        self.served = {tool.name.partition("__")[0]: tool for tool in tools_of(self.manager, servers, pins)}
        model = write_tiny_model(folder / "tiny.gguf")
        wanted = choices.resolve("", [str(model)], None, mode="multi", max_steps=2)
        self.store = SessionStore(folder / "sessions.db")
        allow = ["*"]
        self.conversation = Conversation(wanted, self.tools, work, self.store, None, allow)
        self.seen: Counter[str] = Counter()

    def go(self, runs: int) -> int:
        started, lost = time.monotonic(), 0
        before: dict[str, int] = {}
        for number in range(runs):
            if number == min(WARM, runs // 2):
                before = self.state()
            fault = self.chance.choice(FAULTS)
            if not self.one(fault):
                lost += 1
                print(f"run {number}, fault {fault}: what was said is not what is stored", flush=True)
            if number % 50 == 49:
                print(f"{number + 1:>5} runs, {time.monotonic() - started:.0f} s, {self.state()}", flush=True)
        after = self.state()
        self.conversation.close()
        self.manager.close()
        time.sleep(1)
        left = len(children())
        print(f"{runs} runs in {time.monotonic() - started:.0f} s: {dict(self.seen)}")
        print(f"lost turns {lost}; processes left after closing {left}")
        print(f"file descriptors {before['descriptors']} -> {after['descriptors']}")
        print(f"resident memory {before['megabytes']} -> {after['megabytes']} MB")
        grown = after["descriptors"] - before["descriptors"], after["megabytes"] - before["megabytes"]
        return int(lost > 0 or left > 0 or grown[0] > 8 or grown[1] > 0.1 * before["megabytes"])

    def one(self, fault: str) -> bool:
        """One run with one fault. Whether all that was said is stored."""
        if self.chance.random() < 0.3:
            self.conversation.new()
        self.conversation.tools = [*self.tools, *([self.served[fault + "s"]] if fault in ("hang", "die") else [])]
        later = threading.Timer(self.chance.random() * 0.4, self.throw, [fault])
        later.start()
        told: Any = None
        try:
            with self.full_disk(fault):
                told, _ = self.conversation.ask(f"Question {self.chance.randrange(10**6)}?")
            self.seen[f"{fault}: {told.stop}"] += 1
        except UmiError as error:
            self.seen[f"{fault}: {type(error).__name__}"] += 1
        later.join()
        stored = self.conversation.runs()
        if told is None:
            # A run that failed is stored as such, unless storing was what failed; what came before must be readable.
            return bool(stored) or not self.conversation.session or fault == "full disk"
        if stored[-1] != _without_history(told):
            print(f"told   {_without_history(told)}\nstored {stored[-1]}")
        return stored[-1] == _without_history(told)

    def throw(self, fault: str) -> None:
        backend: Any = self.conversation._backend
        child = getattr(backend, "_child", None)
        if fault == "kill" and child is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        if fault == "cancel":
            self.conversation.cancel()

    def full_disk(self, fault: str) -> Any:
        """Now and then, storing fails as it does on a full disk."""
        from unittest.mock import patch

        from umi_local.sessions import _put_step

        def fails(*arguments: Any) -> None:
            if fault == "full disk" and self.chance.random() < 0.5:
                raise StorageError("The disk is full.", "Free some space.")
            _put_step(*arguments)

        return patch("umi_local.sessions._put_step", fails)

    def state(self) -> dict[str, int]:
        return {
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "children": len(children()),
            "megabytes": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 10**6,
        }


def _without_history(run: Any) -> Any:
    from dataclasses import replace

    return replace(run, history=())


def children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(numbers[0] if numbers else 1000, numbers[1] if len(numbers) > 1 else 1))
