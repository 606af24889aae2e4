#!/usr/bin/env python3
"""How fast `ops run monitor --drain` takes a queue of notifications, beside the loop that one writes with boto3.

    AWS_ENDPOINT_URL=http://127.0.0.1:4566 benches/monitor/drain.py path/to/ops [MESSAGES] [RUNS]

Needs boto3, and an emulator of SNS and SQS at AWS_ENDPOINT_URL; region and credentials come from the environment. Each run fills
the queue anew for each program, in turns. Both print every message. Time is that from the start until
the last message is shown; CPU is that of the whole process, from wait4(2), and for boto3 also that of its loop alone.
"""
import json, os, statistics, subprocess, sys, tempfile, time

import boto3

NAME = "bench-log"


def peer(count):
    """Receives ten, prints them, deletes them, and again."""
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
    began, left = (time.perf_counter(), time.process_time()), count
    while left > 0:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20).get("Messages", [])
        for message in messages:
            body = json.loads(message["Body"])
            topic = body["TopicArn"].rsplit(":", 1)[-1]
            print(f"NEW {body['Timestamp']}\n  {body.get('Subject', 'N/A')}\n  {body['Message'][:150]}\n  {topic}", flush=True)
        sqs.delete_message_batch(QueueUrl=url, Entries=[
            dict(Id=str(number), ReceiptHandle=message["ReceiptHandle"]) for number, message in enumerate(messages)])
        left -= len(messages)
    print(f"{time.perf_counter() - began[0]} {time.process_time() - began[1]}", file=sys.stderr)


def flood(topic, count):
    sns = boto3.client("sns")
    for start in range(0, count, 10):
        sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[
            dict(Id=str(number), Subject="Song added", Message=f"number {number}, of which there are many in this bench")
            for number in range(start, min(start + 10, count))])


def measure(command, folder, count):
    """Seconds until the last message was shown, and the CPU of the whole process."""
    with tempfile.TemporaryFile("w+") as errors:
        began, shown, last = time.perf_counter(), 0, None
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        for line in process.stdout:
            if line.startswith(b"NEW"):
                shown, last = shown + 1, time.perf_counter()
        _, status, usage = os.wait4(process.pid, 0)
        errors.seek(0)
        said = errors.read()
        assert status == 0 and shown == count, f"{command}: {status}, {shown} of {count}: {said}"
        return last - began, usage.ru_utime + usage.ru_stime, said


def main():
    ops, count, runs = os.path.abspath(sys.argv[1]), int((sys.argv[2:] or [5000])[0]), int((sys.argv[3:] or [5])[0])
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="bench-alerts")["TopicArn"]
    url = sqs.create_queue(QueueName=NAME, Attributes=dict(VisibilityTimeout="300"))["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    project = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    programs = {
        "ops": [ops, "run", "monitor", "--stack", "bench", "--drain", "--tz", "UTC"],
        "boto3": [sys.executable, os.path.abspath(__file__), "--peer", str(count)],
    }
    figures = {name: [] for name in programs}
    for _ in range(runs):
        for name, command in programs.items():
            flood(topic, count)
            wall, cpu, said = measure(command, project, count)
            if name == "boto3":
                loop_wall, loop_cpu = map(float, said.split())
                figures.setdefault("boto3, loop alone", []).append((loop_wall, loop_cpu))
            figures[name].append((wall, cpu))
    sqs.delete_queue(QueueUrl=url)
    sns.delete_topic(TopicArn=topic)
    print(f"{count} messages, median of {runs} runs (smallest to largest)")
    for name, all in figures.items():
        spread = lambda at: f"{statistics.median(one[at] for one in all):7.2f} ({min(one[at] for one in all):.2f} to {max(one[at] for one in all):.2f})"
        print(f"{name:18} wall {spread(0)} s  CPU {spread(1)} s")
    for other in ("boto3", "boto3, loop alone"):
        ratio = lambda at: statistics.median(theirs[at] / ours[at] for theirs, ours in zip(figures[other], figures["ops"]))
        print(f"ops beside {other}: {ratio(0):.2f} times the messages per second, {ratio(1):.2f} times per CPU second")


if sys.argv[1:2] == ["--peer"]:
    peer(int(sys.argv[2]))
else:
    main()
