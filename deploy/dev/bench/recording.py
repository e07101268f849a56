"""Recordings of the workload, made once per size and seed, and a MySQL server that has one of them as its binlog.

PHIWATCH_DEV_HOME/bench/size-S/NAME/binlog.000001, NAME being
  w0   what the shop holds at the start: 500,000 x S customers and 300,000 x S orders, compressed
  w1   small transactions          w1z  the same work, compressed transactions
  w2   three huge transactions     w2z  the same, compressed
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

from measure import cpu_of

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
HOME = pathlib.Path(os.environ.get("PHIWATCH_DEV_HOME") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "phiwatch-dev")
PORT = int(os.environ.get("MYSQL_PORT", 33297))
NAMES = ("w1", "w2", "w1z", "w2z")
SERVERS = ("recorder", "serve", "live")
# Data that are made anew at any time.
ARGS = "--innodb-redo-log-capacity=1G --innodb-doublewrite=OFF --skip-name-resolve"


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def peers():
    """Folder of the built programs of peers-rust."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or HERE / "peers-rust" / "target") / "release"


class Server:
    """One of the bench's MySQL servers. Only one runs at a time: they share the port."""

    def __init__(self, name):
        self.data = HOME / "bench" / f"mysql-{name}"
        self.logs = HOME / "bench" / f"logs-{name}"
        self.environment = {
            **os.environ, "MYSQL_PORT": str(PORT), "MYSQL_DATADIR": str(self.data), "MYSQL_BUFFER_POOL": "1G",
            "MYSQL_ARGS": f"{ARGS} --log-bin={self.logs}/binlog"}

    def script(self, *args, **more):
        done = subprocess.run([HERE.parent / "mysql.sh", *args], check=True, stdout=subprocess.PIPE, text=True, env=self.environment, **more)
        return done.stdout

    def start(self):
        self.logs.mkdir(parents=True, exist_ok=True)
        say(self.script("start").strip())

    def stop(self):
        self.script("stop")

    def wipe(self):
        self.script("wipe")
        shutil.rmtree(self.logs, ignore_errors=True)

    def sql(self, text):
        return self.script("client", "--batch", "-N", "-e", text)

    def binlog(self):
        """Name of the file that is written now."""
        return self.sql("SHOW BINARY LOG STATUS").split("\t")[0]

    def cpu(self):
        """CPU seconds so far."""
        return cpu_of(int((self.data.with_name(self.data.name + ".run") / "mysqld.pid").read_text()))

    @contextlib.contextmanager
    def serving(self, recording):
        """The server, running with that file as its first binlog and with the tables that it speaks of."""
        try:
            self.prepare(recording)
            self.start()
            yield self
        finally:
            self.stop()

    def prepare(self, recording):
        self.start()
        if not self.sql("SHOW DATABASES LIKE 'magento'"):
            schema = (ROOT / "fixtures" / "magento" / "schema.sql").read_text(encoding="utf-8")
            self.script("client", input="SET sql_log_bin=0; CREATE DATABASE magento; USE magento;" + schema)
        self.sql("RESET BINARY LOGS AND GTIDS")
        self.stop()
        shutil.rmtree(self.logs)
        self.logs.mkdir()
        shutil.copyfile(recording, self.logs / "binlog.000001")
        (self.logs / "binlog.index").write_text(f"{self.logs}/binlog.000001\n")

    def program(self, name):
        """Command of one of the server's programs, without the script around it."""
        root = HOME / f"root-mysql-{os.environ.get('MYSQL_SUITE', 'sid')}"
        return [root / "lib64/ld-linux-x86-64.so.2", "--library-path", root / "usr/lib/x86_64-linux-gnu", root / "usr/bin" / name, "--no-defaults"]


def folder(size):
    return HOME / "bench" / f"size-{size:g}"


def files(size):
    """Path of each recording by name; records what is missing."""
    found = {name: folder(size) / name / "binlog.000001" for name in ("w0", *NAMES)}
    if not all(path.exists() for path in found.values()):
        record(size, found)
    return found


def record(size, into):
    server = Server("recorder")
    for suffix, session in (("", ""), ("z", "SET binlog_transaction_compression=ON")):
        if all(into[name + suffix].exists() for name in ("w1", "w2")) and into["w0"].exists():
            continue
        server.wipe()
        server.start()
        # Not compressed in the first run would be another 2 GB that nobody measures.
        parts = (("seed", "w0", "SET binlog_transaction_compression=ON"), ("oltp", "w1" + suffix, session), ("bulk", "w2" + suffix, session))
        for part, name, before in parts:
            server.sql("FLUSH BINARY LOGS")
            log = server.binlog()
            say(f"recording {name} ({part}, size {size:g})")
            subprocess.run([peers() / "workload", part, "--port", str(PORT), "--size", str(size), "--session", before], check=True)
            server.sql("FLUSH BINARY LOGS")
            target = into[name]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(server.logs / log, target.with_suffix(".part"))
            os.replace(target.with_suffix(".part"), target)
        server.wipe()


def rows(size, program):
    """Row changes of each recording, as `phiwatch decode --count` has them; counted once."""
    cache = folder(size) / "rows.json"
    if not cache.exists():
        counts = {}
        for name, path in files(size).items():
            run = subprocess.run([program, "decode", "--count", path], check=True, stdout=subprocess.PIPE, text=True)
            counts[name] = sum(json.loads(line)["rows"] for line in run.stdout.splitlines())
        cache.write_text(json.dumps(counts))
    return json.loads(cache.read_text())


if __name__ == "__main__":
    for name, path in files(float(os.environ.get("SIZE", 1))).items():
        print(name, path, path.stat().st_size)
