#!/usr/bin/env python3
"""app-client beside psql: one million rows of five columns, the prompt, and completion.

    cargo build --release -p app-client
    benches/app-client/beside-psql.py target/release/app-client [ROUNDS]

Starts a PostgreSQL of its own. The two programs take turns; CPU is the program's own (wait4), and so is the
peak of its resident memory (VmHWM: what wait4 says of memory begins with that of the process that started it).
Prints Markdown for README.md."""

import fcntl, hashlib, os, pty, pwd, select, shutil, signal, statistics, subprocess, sys, tempfile, time

CLIENT = os.path.abspath(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
BIN = sorted(os.path.join("/usr/lib/postgresql", v, "bin") for v in os.listdir("/usr/lib/postgresql"))[-1]
ROWS, RELATIONS = 1_000_000, 10_000
SQL = "select * from big"
F_SETPIPE_SZ = 1031


def start(folder):
    """PostgreSQL on a Unix socket; as root through an account without rights."""
    account = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    if account:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    data = os.path.join(folder, "data")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/tmp", **account}
    subprocess.run([f"{BIN}/initdb", "-D", data, "-A", "trust", "-U", "bench", "--no-sync", "-E", "UTF8", "--no-locale"], check=True, **quiet)
    options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=256MB", "-k", folder]
    server = subprocess.Popen([f"{BIN}/postgres", "-D", data, *options], **quiet)
    while subprocess.run([f"{BIN}/pg_isready", "-q", "-h", folder]).returncode != 0:
        time.sleep(0.1)
    return server


def stream(command):
    """Wall, CPU, peak memory, first byte of one run, and the digest of what it printed."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    pipe = process.stdout.fileno()
    fcntl.fcntl(pipe, F_SETPIPE_SZ, 1 << 20)  # keeps the reader out of the measurement
    digest, first, size, peak = hashlib.blake2b(), None, 0, 0
    while piece := os.read(pipe, 1 << 20):
        first = first or time.monotonic()
        digest.update(piece)
        size += len(piece)
        peak = max(peak, peak_kib(process.pid))
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    process.returncode = 0
    return {
        "wall": time.monotonic() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": peak / 1024,
        "first": first - began,
        "size": size,
        "digest": digest.hexdigest(),
    }


def peak_kib(process):
    with open(f"/proc/{process}/status") as status:
        return max((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), default=0)


class Terminal:
    def __init__(self, command):
        self.began = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)

    def until(self, text):
        """Seconds from the last key (or the start) until `text` is drawn."""
        drawn, deadline = b"", time.monotonic() + 30
        while text not in drawn:
            assert time.monotonic() < deadline, drawn[-300:]
            if select.select([self.fd], [], [], 1)[0]:
                piece = os.read(self.fd, 65536)
                drawn += piece
                for _ in range(piece.count(b"\x1b[6n")):
                    os.write(self.fd, b"\x1b[1;1R")
        return time.monotonic() - self.began

    def keys(self, text):
        self.began = time.monotonic()
        os.write(self.fd, text)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def median(values):
    return statistics.median(values), min(values), max(values)


def shown(values, unit=1.0, digits=2):
    middle, low, high = (value * unit for value in median(values))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def prompt(complete):
    """The prompt beyond the login, and the popup of the completion; seconds."""
    ready, popup = [], []
    for _ in range(max(ROUNDS, 9)):
        began = time.monotonic()
        subprocess.run([CLIENT, "-tc", "select"], check=True, stdout=subprocess.DEVNULL)
        login = time.monotonic() - began
        terminal = Terminal([CLIENT])
        ready.append(terminal.until(b"bench postgres=> ") - login)
        if complete:
            time.sleep(2)  # the names arrive while the prompt waits; the popup asks nobody
            terminal.keys(b"select * from relation_99")
            terminal.until(b"relation_99")
            terminal.keys(b"\t")
            popup.append(terminal.until(b"relation_9901"))
        terminal.close()
    return ready, popup


def main():
    folder = tempfile.mkdtemp(prefix="app-client-bench-", dir="/tmp")
    os.chmod(folder, 0o755)
    server = start(folder)
    home = os.path.join(folder, "home")
    os.mkdir(home)
    os.environ.update(PGHOST=folder, PGUSER="bench", PGDATABASE="postgres", HOME=home, PAGER="cat", TERM="xterm-256color", NO_COLOR="1")
    try:
        psql = [f"{BIN}/psql", "-X", "-P", "pager=off"]
        make = (f"create table big as select g as id, md5(g::text) as name, g * 1.5 as amount, "
                f"timestamptz '2020-01-01' + g * interval '1 minute' as at, g % 2 = 0 as flag from generate_series(1, {ROWS}) g")
        subprocess.run([*psql, "-qc", make, "-c", "vacuum analyze big"], check=True)
        programs = {
            "psql": [*psql, "-c", SQL],
            "app-client": [CLIENT, "-c", SQL],
            "psql --csv": [*psql, "--csv", "-c", SQL],
            "app-client --csv": [CLIENT, "--csv", "-c", SQL],
        }
        runs = {name: [] for name in programs}
        for _ in range(ROUNDS):
            for name, command in programs.items():
                runs[name].append(stream(command))
        print(f"| {ROWS} rows | wall, s | CPU, s | peak memory, MiB | first byte, s | output, MB |\n|---|---|---|---|---|---|")
        for name, of in runs.items():
            column = lambda key: [run[key] for run in of]
            print(f"| {name} | {shown(column('wall'))} | {shown(column('cpu'))} | {shown(column('memory'), digits=0)} | "
                  f"{shown(column('first'), digits=3)} | {of[0]['size'] / 1e6:.0f} |")
        for ours, theirs in [("app-client", "psql"), ("app-client --csv", "psql --csv")]:
            ratio = lambda key: [a[key] / b[key] for a, b in zip(runs[ours], runs[theirs])]
            print(f"\n{ours} beside {theirs}: CPU {shown(ratio('cpu'))}, wall {shown(ratio('wall'))}")
        same = {run["digest"] for name in ("psql --csv", "app-client --csv") for run in runs[name]}
        print(f"\nCSV byte for byte the same in all runs: {'yes' if len(same) == 1 else 'NO'}")

        make = ("do $$ begin for i in 1.." + str(RELATIONS) + " loop execute format('create table relation_%s (id int, name text, at date)', i);"
                " if i % 1000 = 0 then commit; end if; end loop; end $$")
        ready_empty, _ = prompt(complete=False)
        subprocess.run([*psql, "-qc", make, "-c", "vacuum analyze pg_class, pg_attribute"], check=True)
        ready, popup = prompt(complete=True)
        print(f"\n| prompt and completion, ms, n = {len(ready)} | |\n|---|---|")
        print(f"| prompt beyond a login with one empty statement | {shown(ready_empty, 1000, 1)} |")
        print(f"| the same with {RELATIONS} relations | {shown(ready, 1000, 1)} |")
        print(f"| completion popup with {RELATIONS} relations | {shown(popup, 1000, 1)} |")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
