#!/usr/bin/env python3
"""Runs pgbench against several servers in turn and prints a table; called by beside-pgbouncer.sh.

measure.py FOLDER NAME=PORT:USER:PROCESS ...    the first is the database itself, and the second is what the others are compared with

CPU time and statements are counted in a window that begins when all clients are connected: a login by SCRAM can cost the server
as much as hundreds of statements. Rounds are short and interleaved in random order, medians are shown with the least and the
greatest. `connect` counts whole runs, and `idle` what 8,000 clients that say nothing take.
"""

import base64, glob, hashlib, hmac, os, random, resource, socket, statistics, struct, subprocess, sys, time

folder = sys.argv[1]
servers = {}
for argument in sys.argv[2:]:
    name, _, where = argument.partition("=")
    port, user, process = where.split(":")
    servers[name] = (int(port), user, process)
baseline, compared = list(servers)[:2]
seconds = float(os.environ.get("SECONDS_EACH", "1"))
rounds = int(os.environ.get("ROUNDS", "7"))
tests = os.environ.get("TESTS", "simple prepared rows connect idle").split()
clients = [int(count) for count in os.environ.get("CLIENTS", "1 16 64").split()]


def cpu_us(process):
    times = glob.glob(f"/proc/{process}/task/*/schedstat") if process else []
    return sum(int(open(path).read().split()[0]) for path in times) / 1e3


def run(test, count, port, user, process):
    """Statements a second, CPU us a statement, and the latency in us that half of them stay below."""
    for path in glob.glob(f"{folder}/latencies*"):
        os.remove(path)
    warm_up = 0.4 + count * 0.006
    script = f"{folder}/{'rows' if test == 'rows' else 'statement'}.sql"
    mode = {"prepared": ["-M", "prepared"], "connect": ["-C"]}.get(test, [])
    command = ["pgbench", "-n", "-h", "127.0.0.1", "-p", str(port), "-U", user, "-c", str(count), "-j", "1", "-f", script]
    command += ["-T", str(int(seconds + warm_up + 1)), "-l", f"--log-prefix={folder}/latencies", *mode, "music"]
    start = time.time(), cpu_us(process)
    bench = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if test != "connect":
        time.sleep(warm_up)
        start = time.time(), cpu_us(process)
        time.sleep(seconds)
        end = time.time(), cpu_us(process)
    errors = bench.communicate()[1]
    if test == "connect":
        end = time.time(), cpu_us(process)
    if bench.returncode != 0:
        sys.exit(f"{test}, {count} clients, port {port}: {errors.strip()}")
    latencies = []
    for path in glob.glob(f"{folder}/latencies*"):
        for line in open(path):
            fields = line.split()
            if start[0] < int(fields[4]) + int(fields[5]) / 1e6 <= end[0]:
                latencies.append(int(fields[2]))
    done = len(latencies)
    return done / (end[0] - start[0]), (end[1] - start[1]) / done, statistics.median(latencies)


def connect(port, user, keys={}):
    """A client that has logged in by SCRAM-SHA-256 and says nothing. The slow key is computed once."""
    password = os.environ["PGPASSWORD"].encode()
    connection = socket.create_connection(("127.0.0.1", port))
    reader = connection.makefile("rb", 512)
    body = struct.pack(">I", 196608) + b"user\0" + user.encode() + b"\0database\0music\0\0"
    connection.sendall(struct.pack(">I", len(body) + 4) + body)
    nonce = base64.b64encode(os.urandom(18)).decode()
    mac = lambda key, text: hmac.new(key, text, hashlib.sha256).digest()
    say = lambda body: connection.sendall(b"p" + struct.pack(">I", len(body) + 4) + body)
    while True:
        kind, length = struct.unpack(">cI", reader.read(5))
        body = reader.read(length - 4)
        if kind == b"E":
            sys.exit(body.decode().replace("\0", " "))
        if kind == b"Z":
            reader.close()
            return connection
        step = struct.unpack(">I", body[:4])[0] if kind == b"R" else 0
        if step == 10:
            first = f"n,,n=,r={nonce}".encode()
            say(b"SCRAM-SHA-256\0" + struct.pack(">I", len(first)) + first)
        elif step == 11:
            challenge = body[4:].decode()
            fields = dict(field.split("=", 1) for field in challenge.split(","))
            salt, iterations = base64.b64decode(fields["s"]), int(fields["i"])
            if salt not in keys:
                keys[salt] = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
            client_key, last = mac(keys[salt], b"Client Key"), f"c=biws,r={fields['r']}"
            signed = f"n=,r={nonce},{challenge},{last}".encode()
            signature = mac(hashlib.sha256(client_key).digest(), signed)
            proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature))).decode()
            say(f"{last},p={proof}".encode())


def idle(port, user, process, count=8000):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    connections = [connect(port, user) for _ in range(count)]
    time.sleep(0.5)
    lines = open(f"/proc/{process}/smaps_rollup").read().splitlines()
    for connection in connections:
        connection.close()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


print("| test | clients | server | per s, ratio to the database | CPU us, least to greatest | CPU ratio | p50 us |")
print("|---|---|---|---|---|---|---|")
for test in [test for test in tests if test != "idle"]:
    for count in {"rows": [1], "connect": [16]}.get(test, clients):
        results = {name: [] for name in servers}
        for _ in range(rounds):
            for name in random.sample(list(servers), len(servers)):
                results[name].append(run(test, count, *servers[name]))
        middle = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in results.items()}
        for name, (per_second, cpu, p50) in middle.items():
            spread = [row[1] for row in results[name]]
            shown = "" if name == baseline else f"{cpu:.1f} ({min(spread):.1f} to {max(spread):.1f}) | {cpu / middle[compared][1]:.2f}"
            ratio = per_second / middle[baseline][0]
            print(f"| {test} | {count} | {name} | {per_second:.0f}, {ratio:.2f} | {shown or ' | '} | {p50:.0f} |", flush=True)
if "idle" in tests:
    for name in list(servers)[1:]:
        print(f"\n8,000 clients that say nothing, {name}: {idle(*servers[name]):.1f} MiB", flush=True)
