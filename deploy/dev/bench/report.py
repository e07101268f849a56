"""Tables and goals, as Markdown, out of what bench.py measured."""

import datetime
import os
import pathlib
import platform
import random
import re
import statistics
import subprocess

from measure import percentile, spread
from recording import HERE, NAMES, ROOT

BEGIN, END = "<!-- measured: make bench writes from here -->", "<!-- to here -->"
TITLES = {
    "w1": "W1: small transactions", "w2": "W2: three huge transactions",
    "w1z": "W1z: W1, compressed transactions", "w2z": "W2z: W2, compressed transactions"}


def first_line(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return "not there"
    return done.stdout.splitlines()[0].strip() if done.stdout else "?"


def stamp(server):
    """When, at which commit, on what."""
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    changed = subprocess.run(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no", "crates", "Cargo.lock"],
                             stdout=subprocess.PIPE, text=True).stdout
    return {
        "date": datetime.date.today().isoformat(),
        "commit": first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD") + (" and changes" if changed else ""),
        "machine": f"{os.cpu_count()} cores ({model.group(1) if model else platform.machine()}), {int(memory.group(1)) / 2**20:.0f} GiB, Linux {platform.release()}",
        "load": os.getloadavg()[0],
        "versions": {
            "mysqld and mysqlbinlog": first_line(*map(str, server.program("mysqlbinlog")), "--version").split(" Ver ")[-1],
            "Rust": first_line("rustc", "--version"), "Java": first_line("java", "--version"), "Go": first_line("go", "version")}}


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def middle(runs, key):
    return statistics.median(run[key] for run in runs)


def several(runs, key):
    return spread([run[key] for run in runs])


def rate(value):
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.0f} k"


def peers(section, sizes, counts, against):
    """A table of runs. The last column compares with the peer `against`."""
    parts = []
    for name in NAMES:
        rows = []
        base = section[name].get(against)
        is_remote = "bare reader" in section[name]
        for peer, runs in section[name].items():
            if isinstance(runs, str):
                rows.append([peer, "fails", "", "", "", "", "", ""])
                continue
            wall, seen = middle(runs, "wall"), runs[0]["rows"]
            is_blind = seen is not None and peer not in ("bare reader", "zstd alone") and seen < counts[name]
            rows.append([
                peer, several(runs, "wall"), f"{sizes[name] / wall / 1e6:.0f}", f"**{seen} rows seen**" if is_blind else rate(counts[name] / wall),
                several(runs, "cpu"), f"{max(run['rss_mb'] for run in runs):.0f}", f"{middle(runs, 'server_cpu'):.2f}", f"{wall / middle(base, 'wall'):.2f}" if base else "-"])
        head = f"{TITLES[name]}: {sizes[name] / 1e6:.0f} MB, {counts[name]:,} row changes"
        heads = ["reader", "wall s", "MB/s", "rows/s", "CPU s", "peak MB", "server's CPU s", f"wall / {against}"]
        shown = [index for index in range(8) if (index != 6 or is_remote) and (index != 7 or base)]
        parts.append(f"**{head}**\n\n" + table([heads[index] for index in shown], [[row[index] for index in shown] for row in rows]))
    return "\n\n".join(parts)


def goals(results, sizes, counts):
    """Rows of: goal, measured, whether met."""
    rows = {"socket": socket_goals, "files": lambda data: file_goals(data, sizes, counts), "memory": memory_goals, "latency": latency_goals, "source": source_goals}
    for section, one in results.items():
        yield from rows[section](one["data"])


def verdict(is_met):
    return "yes" if is_met else "**no**"


def ratios(what, data, names, one, other, key):
    """(one / other) for each recording, as text, and the list."""
    found = [(name, middle(data[name][one], key) / middle(data[name][other], key)) for name in names
             if not isinstance(data[name].get(one, ""), str) and not isinstance(data[name].get(other, ""), str)]
    return ", ".join(f"{value:.{what}f} ({name.upper().replace('Z', 'z')})" for name, value in found), [value for _, value in found]


def socket_goals(data):
    text, values = ratios(2, data, ("w1", "w2"), "phiwatch", "bare reader", "wall")
    yield ["socket, plain: wall at most 1.2 x a bare reader's", text, verdict(max(values) <= 1.2)]
    peaks = {name: max(run["rss_mb"] for reader in ("phiwatch", "phiwatch, TLS") for run in data[name][reader]) for name in NAMES}
    yield ["peak memory under 64 MB: each recording, from the socket", ", ".join(f"{peak:.0f} MB ({name.upper().replace('Z', 'z')})" for name, peak in peaks.items()), verdict(max(peaks.values()) < 64)]
    for peer, least in (("go-mysql 1.16.0", 10), ("Debezium 3.6.1", 40), ("Java connector 0.41.0", 4)):
        text, values = ratios(1, data, ("w1", "w2"), peer, "phiwatch", "cpu")
        if values:
            yield [f"socket: at least {least} x less CPU than {peer.rsplit(' ', 1)[0]}", text, verdict(min(values) >= least)]


def file_goals(data, sizes, counts):
    speeds = {name: counts[name] / middle(data[name]["phiwatch"], "cpu") for name in ("w1", "w2")}
    bytes_ = {name: sizes[name] / middle(data[name]["phiwatch"], "cpu") / 1e9 for name in ("w1", "w2")}
    yield ["files, plain: at least 1.2 M row changes/s per core", ", ".join(f"{rate(value)} ({name.upper()})" for name, value in speeds.items()), verdict(min(speeds.values()) >= 1.2e6)]
    yield ["files, plain: at least 1 GB/s per core", ", ".join(f"{value:.2f} ({name.upper()})" for name, value in bytes_.items()), verdict(min(bytes_.values()) >= 1)]
    text, values = ratios(2, data, ("w1z", "w2z"), "phiwatch", "zstd alone", "wall")
    yield ["files, compressed: at most 1.3 x zstd alone (wall)", text, verdict(max(values) <= 1.3)]
    both = data["w1+w2"]["phiwatch"]
    used = middle(both, "cpu") / middle(both, "wall")
    yield ["several files use the cores", f"{used:.2f} cores busy, {middle(both, 'wall'):.2f} s", verdict(used > 1.3)]


def memory_goals(data):
    for label, words in (("payload", "a payload of 242 MB"), ("transaction", "a transaction of 10 GB"), ("row", "a row of 1 GiB")):
        one = data[label]
        yield [f"peak memory under 64 MB: {words}", f"{one['rss_mb']:.0f} MB ({one['bytes'] / 1e6:,.0f} MB read in {one['wall']:.1f} s)", verdict(one["rss_mb"] < 64)]
    yield ["idle under 40 MB", f"{data['idle']['rss_mb']:.0f} MB", verdict(data["idle"]["rss_mb"] < 40)]
    yield ["start to first event under 300 ms", f"{spread(data['first event ms'], 0)} ms", verdict(statistics.median(data["first event ms"]) < 300)]


def latency_goals(data):
    if not data["delays_ms"]:
        yield ["commit to alert in Kafka: p50 under 20 ms, p99 under 100 ms", "no alert came", verdict(False)]
        return
    half, most = percentile(data["delays_ms"], 0.5), percentile(data["delays_ms"], 0.99)
    speed = statistics.median(data["rates"])
    yield [f"commit to alert in Kafka at {data['wanted_rate']} transactions/s: p50 under 20 ms, p99 under 100 ms",
           f"p50 {half} ms, p99 {most} ms, greatest {max(data['delays_ms'])} ms at {speed:.0f} transactions/s ({len(data['delays_ms'])} of {data['incidents']} incidents)",
           verdict(half < 20 and most < 100 and speed > 0.98 * data["wanted_rate"])]


def source_goals(pairs):
    loss, low, high = losses(pairs)
    said = verdict(loss < 1) if high < 1 or low >= 1 else "not decided: the runs differ too much"
    yield ["the source at full load loses less than 1 %", f"{loss:.1f} % (95 %: {low:.1f} to {high:.1f})", said]


def losses(pairs):
    """Median loss of the pairs in per cent, and a bootstrap interval of it."""
    each = [100 * (1 - with_ / without) for without, with_ in pairs]
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(each, k=len(each))) for _ in range(2000))
    return statistics.median(each), medians[50], medians[1949]


def memory_table(data, counts):
    words = {
        "small transactions (w1)": "W1 (for comparison)", "payload": "W2z: one payload of a whole UPDATE", "transaction": "one transaction, uncompressed",
        "row": "one row, of a watched table", "maps": "w0: every customer and order of the shop is learned"}
    rows = [[words[label], f"{one['bytes'] / 1e6:,.0f}", f"{one['rss_mb']:.0f}", f"{one['wall']:.2f}", "yes" if one["gaps"] else "no"]
            for label, one in data.items() if label in words]
    out = table(["input (replay)", "MB", "peak MB", "seconds", "gap told"], rows)
    customers, orders = counts
    extra = max(0.0, data["maps"]["rss_mb"] - data["small transactions (w1)"]["rss_mb"])
    idle = data["idle"]
    return out + (
        f"\n\nMaps and engine state: {extra:.0f} MB for {customers:,} customers with {orders:,} orders and as many carts, "
        f"{extra * 1e6 / customers:.0f} MB per million customers. "
        f"Idle: {idle['rss_mb']:.0f} MB (peak since start {idle['peak_mb']:.0f} MB), {100 * idle['cpu_share']:.1f} % of a core. "
        f"From the start of a process with a checkpoint to the first transaction that it has examined: {spread(data['first event ms'], 0)} ms (5 starts).")


def text(results, size, sizes, counts):
    parts = []
    for name, one in results.items():
        stamp = one["stamp"]
        parts.append(f"- {name}: commit {stamp['commit']}, {stamp['date']}, load average at its start {stamp['load']:.1f}")
    last = list(results.values())[-1]["stamp"]
    versions = "; ".join(f"{name}: {version}" for name, version in last["versions"].items())
    out = [f"Size {size:g}, {last['machine']}.", f"{versions}.", "\n".join(parts), "### Goals", table(["goal", "measured", "met"], list(goals(results, sizes, counts)))]
    if "socket" in results:
        out += ["### From a server's socket", peers(results["socket"]["data"], sizes, counts, "bare reader")]
    if "files" in results:
        data = results["files"]["data"]
        both = data["w1+w2"]["phiwatch"]
        out += ["### From files", peers(data, sizes, counts, "zstd alone"),
                f"W1 and W2 as two files of one run: {several(both, 'wall')} s, {several(both, 'cpu')} CPU s, {max(run['rss_mb'] for run in both):.0f} MB."]
    if "memory" in results:
        out += ["### Memory and start", memory_table(results["memory"]["data"], (max(200, int(500_000 * size)), max(200, int(300_000 * size))))]
    if "latency" in results:
        out += ["### From the commit to Kafka", latency_text(results["latency"]["data"])]
    if "source" in results:
        out += ["### What the source loses", source_text(results["source"]["data"])]
    return "\n\n".join(out)


def latency_text(data):
    delays = data["delays_ms"]
    if not delays:
        return "No alert came."
    shares = [(share, percentile(delays, share)) for share in (0.5, 0.9, 0.99)]
    return table(["transactions/s", "alerts", "p50 ms", "p90 ms", "p99 ms", "greatest ms", "phiwatch's share of a core"], [[
        spread(data["rates"], 0), f"{len(delays)} of {data['incidents']} incidents", *(value for _, value in shares), max(delays),
        spread([100 * share for share in data["cpu_share"]], 0) + " %"]])


def source_text(pairs):
    loss, low, high = losses(pairs)
    return table(["", "transactions/s"], [
        ["nobody reads", spread([one for one, _ in pairs], 0)], ["phiwatch reads", spread([two for _, two in pairs], 0)],
        ["loss, median of pairs", f"{loss:.1f} % (95 % interval {low:.1f} to {high:.1f}; {len(pairs)} pairs of 3 s)"]])


def write(path, text):
    """Puts the text between the markers of the page."""
    page = path.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN, 1)
    path.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")
