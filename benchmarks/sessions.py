"""Compare sessions that share an engine process with a session in its own process, in one interleaved run.

    python benchmarks/sessions.py [REPETITIONS]
    python benchmarks/sessions.py --kills N

The first form needs an otherwise idle machine. It measures the start of a first, a second and an own-process session,
the memory of eight sessions, the time that a relay adds to a call, and the CPU seconds of 64 callers. The second form
kills relays and the engine N times at random moments while four clients write. It counts unanswered calls, acknowledged
writes that are missing, and processes that remain.
"""

import argparse
import contextlib
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RUNTIME = tempfile.TemporaryDirectory(prefix="sessions-")
for variable in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
    os.environ[variable] = RUNTIME.name
os.environ.update(HF_HUB_OFFLINE="1", MCP_EMBEDDINGS_IDLE_EXIT="0.05")

from machine import machine, versions  # noqa: E402
from server_process import OURS, SHARED, FailedCallError, MeasuredServer  # noqa: E402
from workloads import Texts  # noqa: E402

CALLERS, SESSIONS, CALLS, KILL_CLIENTS = 64, 8, 10, 4
KILLS_IN_A_ROW = 8
"""Kills of engines in a row before the benchmark waits until each client has a write acknowledged. A request that ends
ten engines is refused, and a relay gives up if its last ten engines ended before they accepted it. If engines start
slowly, random kills alone can reach these limits."""


def engines() -> list[int]:
    """Return the ids of the engine processes of this run."""
    pids = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes() if b"engine" in arguments else b""
            if os.fsencode(RUNTIME.name) in environment:
                pids.append(int(folder.name))
    return pids


def cpu_seconds(pid: int) -> float:
    """Return user and system seconds of a process, including threads that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional_memory(pid: int) -> float:
    """Return the memory of a process in megabytes, with shared pages in proportion (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1_000


def end_engines() -> None:
    """End every engine process, so that the next session starts one."""
    for pid in engines():
        os.kill(pid, signal.SIGTERM)
    while engines():
        time.sleep(0.01)


def start(command: list[str]) -> tuple[MeasuredServer, float, float]:
    """Start a session; return it, and the seconds to the end of the handshake and to the first similarity."""
    began = time.perf_counter()
    server = MeasuredServer(command)
    handshake = time.perf_counter() - began
    server.call("similarity", left=["Apple"], right=["Orange"])
    return server, handshake, time.perf_counter() - began


def print_range(what: str, samples: list[float], unit: str = "") -> None:
    """Print the median and the range."""
    low, middle, high = min(samples), statistics.median(samples), max(samples)
    print(f"{what}: {middle:.3f}{unit} ({low:.3f} to {high:.3f})")


def starts(repetitions: int) -> None:
    """Measure the starts of first, second and own-process sessions in turn, with no other sessions running."""
    columns: list[list[float]] = [[] for _ in range(7)]
    first, own, second, handshakes, relay_cpu, memory, killed = columns
    for repetition in range(repetitions + 1):
        end_engines()
        first_server, _, first_answer = start(SHARED)
        second_server, handshake, answer = start(SHARED)
        cpu, size = cpu_seconds(second_server.pid), proportional_memory(second_server.pid)
        for engine in engines():
            os.kill(engine, signal.SIGKILL)
        after_kill = second_server.call("similarity", left=["Apple"], right=["Pear"])
        for server in (first_server, second_server):
            server.end()
        end_engines()
        alone, _, own_answer = start(OURS)
        alone.end()
        if repetition:  # the first repetition fills the caches
            values = (first_answer, own_answer, answer, handshake, cpu, size, after_kill)
            for column, value in zip(columns, values, strict=True):
                column.append(value)
    print_range("second session: spawn to initialize", handshakes, " s")
    print_range("second session: spawn to first similarity", second, " s")
    print_range("second session: CPU of the relay to the first answer", relay_cpu, " s")
    print_range("second session: memory of the relay", memory, " MB")
    print_range("first session: spawn to first similarity", first, " s")
    print_range("own process: spawn to first similarity", own, " s")
    print_range("a call to an engine that was just killed: time to its answer", killed, " s")
    print_range("first session over own process", [a / b for a, b in zip(first, own, strict=True)], " x")


def memory_of_sessions() -> None:
    """Compare the memory of eight sessions that share an engine with that of one own-process session."""
    end_engines()
    servers = [start(SHARED)[0] for _ in range(SESSIONS)]
    shared = sum(proportional_memory(server.pid) for server in servers)
    (engine,) = engines()
    shared += proportional_memory(engine)
    for server in servers:
        server.end()
    end_engines()
    alone = start(OURS)[0]
    own = proportional_memory(alone.pid)
    alone.end()
    print(f"{SESSIONS} sessions: {shared:.0f} MB, one own process: {own:.0f} MB, {shared / own:.2f} x")


def added_latency(repetitions: int) -> None:
    """Compare single calls through a relay and to an own process, in turn."""
    end_engines()
    texts = Texts()
    servers = [start(SHARED)[0], start(OURS)[0]]
    for _ in range(50):
        for server in servers:
            server.call("embed", texts=[texts.of(8)])
    differences: list[float] = []
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions):
        for column, server in zip(times, servers, strict=True):
            column.append(1_000 * server.call("embed", texts=[texts.of(8)]))
        differences.append(times[0][-1] - times[1][-1])
    print(
        f"one text, warm: through a relay {statistics.median(times[0]):.2f} ms, own {statistics.median(times[1]):.2f}"
    )
    print(f"added by the relay: {statistics.median(differences):.2f} ms, median of {repetitions} pairs")
    for server in servers:
        server.end()


def concurrent(servers: list[MeasuredServer], texts: Texts) -> None:
    """Let 64 callers embed one text after another."""
    count = CALLERS // len(servers)

    def call(server: MeasuredServer) -> None:
        for _ in range(count):
            server.start_call("embed", texts=[texts.of(12)])
        for _ in range((CALLS - 1) * count):
            server.any_answer()
            server.start_call("embed", texts=[texts.of(12)])
        for _ in range(count):
            server.any_answer()

    with ThreadPoolExecutor(len(servers)) as threads:
        list(threads.map(call, servers))


def callers(repetitions: int) -> None:
    """Compare 64 callers in eight sessions, including relays, with 64 callers in one own-process session."""
    end_engines()
    texts, ratios, walls = Texts(), [], []
    shared = [start(SHARED)[0] for _ in range(SESSIONS)]
    own = [start(OURS)[0]]
    pids = [*(server.pid for server in shared), *engines()]

    def measure(servers: list[MeasuredServer], processes: list[int]) -> tuple[float, float]:
        before, began = sum(map(cpu_seconds, processes)), time.perf_counter()
        concurrent(servers, texts)
        return sum(map(cpu_seconds, processes)) - before, time.perf_counter() - began

    for repetition in range(repetitions + 1):
        of_sessions = measure(shared, pids)
        of_own = measure(own, [own[0].pid])
        if repetition:
            ratios.append(of_sessions[0] / of_own[0])
            walls.append(of_sessions[1] / of_own[1])
    print_range(f"{CALLERS} callers in {SESSIONS} sessions over one own session: CPU", ratios, " x")
    print_range(f"{CALLERS} callers in {SESSIONS} sessions over one own session: wall", walls, " x")
    for server in (*shared, *own):
        server.end()


class Client:
    """A client that writes one item after another through a relay; if the relay is killed, it retries on a new one."""

    def __init__(self, number: int, stopped: threading.Event) -> None:
        self.number, self.stopped = number, stopped
        self.acknowledged: list[str] = []
        self.refused = self.unanswered = 0
        self.killed: MeasuredServer | None = None  # the last relay that this benchmark killed
        self.slowest = 0.0
        self.server = MeasuredServer(SHARED)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        """Write until the run ends."""
        while not self.stopped.is_set():
            identifier = f"{self.number}-{len(self.acknowledged)}"
            try:
                seconds = self.server.call(
                    "collection_add", collection="kept", texts={identifier: f"the text {identifier}"}
                )
            except FailedCallError as error:
                self.refused += 1
                print(f"refused: {error}")
            except (RuntimeError, OSError, ValueError) as error:
                if self.killed is not self.server:
                    self.unanswered += 1
                    print(f"not answered: {error}")
                self.restart()
            else:
                self.slowest = max(self.slowest, seconds)
                self.acknowledged.append(identifier)

    def kill(self) -> None:
        """Kill the relay."""
        self.killed = self.server
        with contextlib.suppress(OSError):
            self.killed.kill()

    def end(self) -> None:
        """End the relay if it has not been killed."""
        with contextlib.suppress(ChildProcessError):  # Popen.kill reaps a process that has already ended
            self.server.end()

    def restart(self) -> None:
        """Start another relay, and again if it ends before its handshake does."""
        self.end()
        started = False
        while not started:
            with contextlib.suppress(RuntimeError, OSError, ValueError):
                self.server = MeasuredServer(SHARED)
                started = True


def await_writes(clients: list[Client]) -> None:
    """Wait until each client has had another write acknowledged."""
    before = [len(client.acknowledged) for client in clients]
    while any(len(client.acknowledged) == count for client, count in zip(clients, before, strict=True)):
        time.sleep(0.05)


def kill_at_random(clients: list[Client], count: int) -> int:
    """Kill relays and the engine ``number`` times in total; return the number of kills of the engine."""
    rng, engine_kills = random.Random(0), 0
    for _ in range(count):
        time.sleep(rng.uniform(0.2, 3.0))
        running = engines()
        if running and rng.random() < 0.6:
            engine_kills += 1
            os.kill(rng.choice(running), signal.SIGKILL)
            if engine_kills % KILLS_IN_A_ROW == 0:
                await_writes(clients)
        else:
            rng.choice([client for client in clients if client.killed is not client.server] or clients).kill()
    return engine_kills


def kills(count: int) -> bool:
    """Kill at random while clients write; return whether nothing was lost."""
    stopped = threading.Event()
    clients = [Client(client, stopped) for client in range(KILL_CLIENTS)]
    engine_kills = kill_at_random(clients, count)
    stopped.set()
    for client in clients:
        client.thread.join()
        client.end()
    acknowledged = [identifier for client in clients for identifier in client.acknowledged]
    reader = MeasuredServer(SHARED)
    missing = missing_items(reader, acknowledged)
    reader.end()
    time.sleep(6)  # twice the idle time
    unanswered, refused = sum(client.unanswered for client in clients), sum(client.refused for client in clients)
    remaining = len(engines())
    print(
        f"{count} kills, {engine_kills} of the engine: {unanswered} calls unanswered, {refused} refused, "
        f"{missing} of {len(acknowledged):,} acknowledged writes lost, {remaining} processes left; "
        f"slowest answer {max(client.slowest for client in clients):.1f} s"
    )
    return not (unanswered or refused or missing or remaining)


def missing_items(server: MeasuredServer, acknowledged: list[str]) -> int:
    """Count acknowledged items that the collection lacks."""
    missing = 0
    for start in range(0, len(acknowledged), 50):
        batch = acknowledged[start : start + 50]
        answer = server.answer(server.start_call("read", source="kept", ids=batch, max_tokens=8_000))
        items = answer["result"].get("structuredContent", {}).get("items", [])
        missing += len(batch) - len(items)
    return missing


def main() -> int:
    """Measure, or kill with ``--kills``; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repetitions", nargs="?", type=int, default=9)
    parser.add_argument("--kills", type=int, default=0, metavar="N")
    options = parser.parse_args()
    print(machine(), versions(), sep="\n")
    succeeded = True
    if options.kills:
        succeeded = kills(options.kills)
    else:
        starts(options.repetitions)
        memory_of_sessions()
        added_latency(200)
        callers(options.repetitions)
    end_engines()
    RUNTIME.cleanup()
    sys.stdout.flush()
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
