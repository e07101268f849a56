#!/usr/bin/env python3
"""Measures phiwatch beside its peers. `make bench` builds what this needs and starts it; docs/performance.md says what is measured.

Environment: SIZE (1), ROUNDS (3), BENCH_ONLY=files,socket,memory,latency,source (all). What was measured is kept in
PHIWATCH_DEV_HOME/bench/results-SIZE.json by section; the tables are made of all sections there. With SIZE 1 they are
written into docs/performance.md, else only printed.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

import recording
import report
from measure import Failed, cpu_of, environment, rows_of, run, status
from recording import HERE, HOME, NAMES, PORT, ROOT, Server, say

SIZE = float(os.environ.get("SIZE") or 1)
ROUNDS = int(os.environ.get("ROUNDS") or 3)
ONLY = [name for name in os.environ.get("BENCH_ONLY", "").split(",") if name]
PHIWATCH = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release" / "phiwatch"
KAFKA_PORT = int(os.environ.get("KAFKA_PORT") or 39292)
GAP = 3  # phiwatch's exit code for: done, but not everything could be examined
SLOW = 8.0  # seconds; a reader that takes longer is run once
QUICK = 2.0  # one that takes less is run so many times as often as the others
QUICK_TIMES = 3
LIVE_SIZE = 0.02  # of the shop that the live sections write to
PAUSE = 2.0  # seconds before each run against the source: the server's own work after the last one is done then
RATE = 5000  # transactions a second of the latency section


def interleaved(peers, server=None):
    """Runs every reader in turn, a number of times that depends on how long it takes. Reader -> runs, or why it failed.
    With a server, what it spent meanwhile is kept as well."""
    out = {name: [] for name in peers}
    for number in range(QUICK_TIMES * ROUNDS):
        for name, start in peers.items():
            runs = out[name]
            if isinstance(runs, str) or (runs and number >= times(runs[0]["wall"])):
                continue
            before = server.cpu() if server else 0
            try:
                result = start()
            except Failed as error:
                say(f"  {name}: {error}")
                out[name] = str(error)
                continue
            spent = server.cpu() - before if server else 0
            runs.append({"wall": result.wall, "cpu": result.cpu, "rss_mb": result.rss_mb, "rows": rows_of(result), "server_cpu": spent})
            say(f"  {name}: {result.wall:.2f} s, {result.cpu:.2f} s CPU, {result.rss_mb:.0f} MB")
    return out


def times(wall):
    """How often a reader that takes so many seconds is run."""
    return 1 if wall > SLOW else ROUNDS if wall > QUICK else QUICK_TIMES * ROUNDS


def mysqlbinlog(*options):
    return [*Server("serve").program("mysqlbinlog"), *options]


def files():
    """Recordings from files, in the page cache."""
    paths, results = recording.files(SIZE), {}
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        order = []
        for number, name in enumerate(("w0", "w1", "w2"), 1):
            order.append(work / f"binlog.{number:06}")
            order[-1].symlink_to(paths[name])
        run([PHIWATCH, "replay", "--state", work / "shop", order[0]], good=(0, GAP), keep_output=False)

        def replay(*what):
            return run([PHIWATCH, "replay", "--bench", *what], good=(0, GAP), keep_output=False)

        def known():
            shutil.rmtree(work / "state", ignore_errors=True)
            shutil.copytree(work / "shop", work / "state")
            return replay("--state", work / "state", order[1])

        for name in NAMES:
            say(f"files: {name}")
            path = paths[name]
            run(["cat", path], keep_output=False)  # into the page cache
            peers = {"phiwatch": lambda: replay(path)}
            if name == "w1":
                peers["phiwatch, shop known"] = known
            if name.endswith("z"):
                peers["zstd alone"] = lambda: run([recording.peers() / "peer", "zstd", path])
            peers["mysqlbinlog -v"] = lambda: run(mysqlbinlog("-v", "--base64-output=decode-rows", path), keep_output=False)
            results[name] = interleaved(peers)
        say("files: w1 and w2")
        results["w1+w2"] = interleaved({"phiwatch": lambda: replay(*order[1:])})
    return results


def config(folder, tls="off", sink="", listen="", start="oldest"):
    """A configuration file of phiwatch for the bench's server, with a state of its own."""
    path = pathlib.Path(folder) / "phiwatch.toml"
    path.write_text(
        f'[source]\nurl = "mysql://phi_repl@127.0.0.1:{PORT}"\ntls = "{tls}"\nca_file = "{HOME}/certs/ca.pem"\nserver_id = 40031\n'
        f'start = "{start}"\n[http]\nlisten = "{listen}"\n[state]\ndir = "{folder}/state"\n{sink}')
    return path


def follow_once(tls):
    with tempfile.TemporaryDirectory() as work:
        return run([PHIWATCH, "run", "--once", "--config", config(work, tls)], good=(0, GAP))


def remote(*options):
    """mysqlbinlog as a client of the server."""
    return mysqlbinlog("--read-from-remote-server", "--host=127.0.0.1", f"--port={PORT}", "--user=phi_repl", "--password=phi_repl",
                       "--connection-server-id=40041", "--to-last-log", *options, "binlog.000001")


def sockets():
    """Recordings from a server's socket: each in turn is the server's own log."""
    paths, counts, results = recording.files(SIZE), recording.rows(SIZE, PHIWATCH), {}
    with tempfile.TemporaryDirectory() as work:
        for number in (1, 2):
            (pathlib.Path(work) / f"binlog.{number:06}").symlink_to("/dev/null")
        for name in NAMES:
            say(f"socket: {name}")
            with Server("serve").serving(paths[name]) as server:
                purged = server.sql("SELECT @@GLOBAL.gtid_purged").replace("\\n", "").strip()
                results[name] = interleaved(readers(work, counts[name], purged), server)
    return results


def readers(work, count, purged):
    """All that read the present server's log; `work` has a link to /dev/null for each of its files."""
    peer, java, go = recording.peers() / "peer", HOME / "bench" / "peers-java", HOME / "bench" / "peer-go"
    jvm = ["java", "-cp", f"{java}/lib/*:{java}/classes", "Peers"]
    plain, secure = ("--ssl-mode=DISABLED", "--get-server-public-key"), ("--ssl-mode=REQUIRED",)
    out = {
        "bare reader": lambda: run([peer, "raw", "--port", PORT]),
        "phiwatch": lambda: follow_once("off"),
        "mysqlbinlog --raw": lambda: run(remote("--raw", f"--result-file={work}/", *plain)),
        "phiwatch, TLS": lambda: follow_once("required"),
        "mysqlbinlog --raw, TLS": lambda: run(remote("--raw", f"--result-file={work}/", *secure)),
        "mysqlbinlog -v": lambda: run(remote("-v", "--base64-output=decode-rows", *plain), keep_output=False),
        "mysql_async 0.37.1": lambda: run([peer, "mysql_async", "--port", PORT]),
        "mysql_cdc 0.2.1": lambda: run([peer, "mysql_cdc", "--port", PORT]),
        "go-mysql 1.16.0": lambda: run([go, PORT, "binlog.000002"]),
        "Java connector 0.41.0": lambda: run([*jvm, "connector", PORT]),
        "Debezium 3.6.1": lambda: run([*jvm, "debezium", PORT, count, purged]),
    }
    if not go.exists():
        del out["go-mysql 1.16.0"]
    return out


def memory():
    """Peaks over inputs that do not fit, and the little that waiting takes."""
    paths, out = recording.files(SIZE), {}

    def peak(label, bytes_in, *command):
        result = run([PHIWATCH, "replay", "--bench", *command], good=(0, GAP), keep_output=False)
        say(f"  {label}: {result.rss_mb:.0f} MB, {result.wall:.1f} s")
        out[label] = {"rss_mb": result.rss_mb, "wall": result.wall, "bytes": bytes_in, "gaps": result.code == GAP}

    say("memory")
    with tempfile.TemporaryDirectory(dir=HOME / "bench") as work:
        huge = pathlib.Path(work) / "binlog.000001"
        peak("small transactions (w1)", paths["w1"].stat().st_size, paths["w1"])
        peak("payload", paths["w2z"].stat().st_size, paths["w2z"])
        for what, base, size in (("transaction", "w2", 10 * 1000**3), ("row", "w1", (1 << 30) - (1 << 20))):
            run([recording.peers() / "huge", what, paths[base], huge, int(size * min(SIZE, 1))])
            peak(what, huge.stat().st_size, huge)
            huge.unlink()
        peak("maps", paths["w0"].stat().st_size, "--state", f"{work}/state", paths["w0"])
    with live() as server:
        out["idle"] = idle()
        out["first event ms"] = [first_event(server) for _ in range(5)]
    return out


@contextlib.contextmanager
def live():
    """A server with a small shop that is written to."""
    server = Server("live")
    server.wipe()
    try:
        server.start()
        run([recording.peers() / "workload", "seed", "--port", PORT, "--size", LIVE_SIZE])
        server.sql("RESET BINARY LOGS AND GTIDS")
        yield server
    finally:
        server.wipe()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Follower:
    """`phiwatch run` beside the live server, until the block ends."""

    def __init__(self, sink="", start="latest", work=None):
        self.sink, self.start, self.work = sink, start, work

    def __enter__(self):
        self.own = None if self.work else tempfile.TemporaryDirectory()
        folder = self.work or self.own.name
        self.port = free_port()
        path = config(folder, sink=self.sink, listen=f"127.0.0.1:{self.port}", start=self.start)
        self.began = time.monotonic()
        self.child = subprocess.Popen([PHIWATCH, "run", "--config", path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=open(f"{folder}/log", "a"), env=environment())
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait(60)
        if self.own:
            self.own.cleanup()

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def wait(self, is_there, pause=0.05):
        until = time.monotonic() + 60
        while not is_there():
            if self.child.poll() is not None or time.monotonic() > until:
                raise Failed("phiwatch run did not get ready")
            time.sleep(pause)

    def metric(self, name):
        return sum(float(line.split()[-1]) for line in self.get("/metrics").splitlines() if line.startswith(name) and line[len(name)] in " {")

    def ready(self):
        self.wait(lambda: self.metric("phiwatch_source_caught_up") == 1)

    def cpu(self):
        return cpu_of(self.child.pid)


def idle():
    with Follower() as follower:
        follower.ready()
        before, began = follower.cpu(), time.monotonic()
        time.sleep(10)
        spent = (follower.cpu() - before) / (time.monotonic() - began)
        return {"rss_mb": status(follower.child.pid, "VmRSS"), "peak_mb": status(follower.child.pid, "VmHWM"), "cpu_share": spent}


def first_event(server):
    """Milliseconds from the start of a process with a checkpoint to the first transaction that it has examined."""
    with tempfile.TemporaryDirectory() as work:
        with Follower(work=work) as follower:
            follower.ready()
        server.sql("UPDATE magento.quote SET grand_total=grand_total+1 WHERE entity_id=1")
        with Follower(work=work) as follower:
            follower.wait(lambda: follower.metric("phiwatch_transactions_total") > 0, pause=0.002)
            return (time.monotonic() - follower.began) * 1000


def load(*options):
    return json.loads(run([recording.peers() / "load", "--port", PORT, "--size", LIVE_SIZE, *options]).out)


def kafka(*arguments, more=None):
    return run([HERE.parent / "kafka.sh", *arguments], more={"KAFKA_PORT": str(KAFKA_PORT), "KAFKA_DATADIR": f"{HOME}/bench/kafka", **(more or {})}).out


def latency():
    """From the commit to the broker's own time of the alert, under load."""
    say("latency")
    kafka("wipe")
    kafka("start", more={"KAFKA_EXTRA": "log.message.timestamp.type=LogAppendTime"})
    kafka("topic", "phiwatch.bench", "1")
    sink = f'[[sink]]\ntype = "kafka"\nbootstrap = "127.0.0.1:{KAFKA_PORT}"\ntopic = "phiwatch.bench"\n'
    out = {"wanted_rate": RATE, "rates": [], "delays_ms": [], "incidents": 0, "cpu_share": []}
    try:
        with live(), Follower(sink) as follower:
            follower.ready()
            load("--rate", 200, "--incidents", 2, "--seconds", 3)  # connections and caches warm
            warm = len(delays())
            for _ in range(ROUNDS):
                before, began = follower.cpu(), time.monotonic()
                done = load("--rate", RATE, "--incidents", 20, "--seconds", 15)
                out["cpu_share"].append((follower.cpu() - before) / (time.monotonic() - began))
                out["rates"].append(done["transactions"] / done["seconds"])
                out["incidents"] += done["incidents"]
                say(f"  {out['rates'][-1]:.0f} transactions/s, {done['incidents']} incidents")
            time.sleep(5)
            out["delays_ms"] = delays()[warm:]
    finally:
        kafka("wipe")
    return out


def delays():
    """For each alert of a setting: broker's time - commit time, ms."""
    text = kafka("consume", "phiwatch.bench", "--timeout-ms", "6000", "--formatter-property", "print.timestamp=true")
    out = []
    for line in text.splitlines():
        if line.startswith("LogAppendTime:") and '"config-weakened"' in line:
            alert = json.loads(line[line.index("{"):])
            out.append(int(line[len("LogAppendTime:"):].split("\t", 1)[0]) - alert["time"])
    return out


def source():
    """Transactions a second that the server takes, with nobody and with phiwatch reading, in turn."""
    say("source")
    pairs = []
    with live():
        load("--seconds", 5, "--round", 0)
        for number in range(1, ROUNDS * 8 + 1):
            def alone():
                time.sleep(PAUSE)
                return load("--seconds", 3, "--round", 2 * number)["transactions"]

            def followed():
                with Follower() as follower:
                    follower.ready()
                    time.sleep(max(0.0, follower.began + PAUSE - time.monotonic()))
                    return load("--seconds", 3, "--round", 2 * number + 1)["transactions"]
            # Who is first changes, so that what grows meanwhile speaks for neither.
            if number % 2:
                without, with_ = alone(), followed()
            else:
                with_, without = followed(), alone()
            pairs.append([without / 3, with_ / 3])
            say(f"  {pairs[-1][0]:.0f} without, {pairs[-1][1]:.0f} with")
    return pairs


SECTIONS = {"files": files, "socket": sockets, "memory": memory, "latency": latency, "source": source}


def main():
    store = HOME / "bench" / f"results-{SIZE:g}.json"
    for name in recording.SERVERS:
        Server(name).stop()  # of a run that was interrupted
    recording.files(SIZE)
    recording.rows(SIZE, PHIWATCH)
    results = json.loads(store.read_text()) if store.exists() else {}
    for name, section in SECTIONS.items():
        if ONLY and name not in ONLY:
            continue
        began = time.monotonic()
        stamp = report.stamp(Server("serve"))
        results[name] = {"stamp": stamp, "data": section()}
        store.write_text(json.dumps(results, indent=1))
        say(f"{name}: {time.monotonic() - began:.0f} s")
    sizes = {name: path.stat().st_size for name, path in recording.files(SIZE).items()}
    text = report.text(results, SIZE, sizes, recording.rows(SIZE, PHIWATCH))
    print(text)
    if SIZE == 1:
        report.write(ROOT / "docs" / "performance.md", text)


if __name__ == "__main__":
    main()
