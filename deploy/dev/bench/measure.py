"""Runs of programs, and what they cost."""

import dataclasses
import math
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time


@dataclasses.dataclass
class Run:
    """One program from its start to its end: its CPU seconds, user and system, and its peak resident memory."""
    wall: float
    cpu: float
    rss_mb: float
    code: int
    out: str
    err: str


def environment(more=None):
    return {**os.environ, "NO_COLOR": "1", "PHIWATCH_SOURCE_PASSWORD": "phi_repl", **(more or {})}


def run(command, good=(0,), more=None, keep_output=True):
    """`keep_output` False: standard output goes to /dev/null, as far as it is text that nobody counts."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.NamedTemporaryFile("r") as peak:
        # The kernel counts what the parent had at the fork as the child's peak: so the parent must be a small one.
        command = ["/usr/bin/time", "--quiet", "-f", "%M", "-o", peak.name, *map(str, command)]
        began = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment(more),
                                 stdout=out if keep_output else subprocess.DEVNULL, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        peak_kb = int(peak.read().split()[-1])
    result = Run(wall, usage.ru_utime + usage.ru_stime, peak_kb / 1024, child.returncode, *texts)
    if result.code not in good:
        raise Failed(f"{' '.join(command[6:])} ended with {result.code}: {result.err[-400:].strip()}")
    return result


class Failed(Exception):
    """A program did not do its work. What it wrote is in the text."""


def rows_of(result):
    """Row changes that a reader says it saw, or None. All tables of the workload are watched by phiwatch."""
    found = re.search(r'"rows":(\d+)', result.out) or re.search(r"(\d+) row changes of watched tables", result.err)
    return int(found.group(1)) if found else None


def spread(values, digits=2):
    """Median, and least and greatest if there is more than one."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) < 2 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def percentile(values, share):
    """Nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def status(pid, field):
    """A field of /proc/PID/status in MB, 0 if the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.M)
    return int(found.group(1)) / 1024 if found else 0.0


def cpu_of(pid):
    """CPU seconds of a running process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
