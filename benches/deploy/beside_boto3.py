#!/usr/bin/env python3
"""`ops run deploy --nlb` and `cleanup` beside the script that one writes with boto3, against the same moto, in turns.

    benches/deploy/beside_boto3.py path/to/ops [RUNS]

Needs boto3 and moto[server]. Three phases each round: a deployment from nothing, the same again with nothing to do, the clean-up. The
emulator is emptied between the programs. Wall time, CPU and peak memory are those of the whole process, from wait4(2). The emulator has no
database and no server behind its answers: loading the schema and waiting for the server are left out of both.

The script knows less than the playbook: no role, no dead-letter queue, no certificate, no secrets, no tags, no repair.
"""
import json, os, socket, statistics, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

NAME = "bench"
PHASES = ["deploy", "deploy again", "clean up"]


# ---- the script -------------------------------------------------------------------------------------------------------------------

def clients():
    import boto3
    return (boto3.client(service) for service in ("ec2", "rds", "sns", "sqs", "elbv2"))


def group(ec2, vpc, name, permission):
    found = ec2.describe_security_groups(Filters=[dict(Name="group-name", Values=[name]), dict(Name="vpc-id", Values=[vpc])])["SecurityGroups"]
    made = found[0]["GroupId"] if found else ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
    if not found or not found[0]["IpPermissions"]:
        ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=[permission])
    return made


def until(probe):
    while not (value := probe()):
        time.sleep(0.2)
    return value


def up():
    ec2, rds, sns, sqs, elbv2 = clients()
    tcp = lambda port: dict(IpProtocol="tcp", FromPort=port, ToPort=port)
    try:
        ec2.describe_key_pairs(KeyNames=[NAME])
    except ec2.exceptions.ClientError:
        key = ec2.create_key_pair(KeyName=NAME, KeyType="ed25519")["KeyMaterial"]
        Path("key.pem").write_text(key)
    vpc = ec2.describe_vpcs(Filters=[dict(Name="isDefault", Values=["true"])])["Vpcs"][0]["VpcId"]
    app = group(ec2, vpc, f"{NAME}-app", tcp(8080) | dict(IpRanges=[dict(CidrIp="10.0.0.0/8")]))
    db = group(ec2, vpc, f"{NAME}-db", tcp(5432) | dict(UserIdGroupPairs=[dict(GroupId=app)]))

    topic = sns.create_topic(Name=f"{NAME}-alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"{NAME}-log", Attributes=dict(VisibilityTimeout="300"))["QueueUrl"]
    is_now = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn", "Policy"])["Attributes"]
    arn = is_now["QueueArn"]
    policy = dict(Version="2012-10-17", Statement=[dict(Effect="Allow", Principal=dict(Service="sns.amazonaws.com"),
        Action="sqs:SendMessage", Resource=arn, Condition=dict(ArnEquals={"aws:SourceArn": topic}))])
    if json.loads(is_now.get("Policy") or "null") != policy:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=dict(Policy=json.dumps(policy)))
    if not sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    database = lambda: rds.describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"][0]
    try:
        database()
    except rds.exceptions.DBInstanceNotFoundFault:
        rds.create_db_instance(DBInstanceIdentifier=NAME, DBInstanceClass="db.t3.micro", Engine="postgres", AllocatedStorage=20, DBName="music",
            MasterUsername="dbadmin", MasterUserPassword=os.urandom(16).hex(), VpcSecurityGroupIds=[db], PubliclyAccessible=False, StorageEncrypted=True)

    alive = [dict(Name="tag:Name", Values=[NAME]), dict(Name="instance-state-name", Values=["pending", "running"])]
    servers = lambda: [one for some in ec2.describe_instances(Filters=alive)["Reservations"] for one in some["Instances"]]
    if not servers():
        images = ec2.describe_images(Owners=["amazon"], Filters=[dict(Name="name", Values=["al2023-ami-*", "amzn2-ami-hvm-*"])])["Images"]
        ec2.run_instances(ImageId=max(images, key=lambda image: image.get("CreationDate", ""))["ImageId"], InstanceType="t3.micro", MinCount=1, MaxCount=1,
            KeyName=NAME, SecurityGroupIds=[app], TagSpecifications=[dict(ResourceType="instance", Tags=[dict(Key="Name", Value=NAME)])])
    server = until(lambda: [one for one in servers() if one["State"]["Name"] == "running"])[0]["InstanceId"]
    until(lambda: database()["DBInstanceStatus"] == "available")

    try:
        targets = elbv2.describe_target_groups(Names=[NAME])["TargetGroups"][0]["TargetGroupArn"]
    except elbv2.exceptions.TargetGroupNotFoundException:
        targets = elbv2.create_target_group(Name=NAME, Protocol="TCP", Port=8080, VpcId=vpc, TargetType="instance")["TargetGroups"][0]["TargetGroupArn"]
    try:
        balancer = elbv2.describe_load_balancers(Names=[NAME])["LoadBalancers"][0]
    except elbv2.exceptions.LoadBalancerNotFoundException:
        subnets = ec2.describe_subnets(Filters=[dict(Name="vpc-id", Values=[vpc])])["Subnets"]
        zones = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in subnets}
        balancer = elbv2.create_load_balancer(Name=NAME, Type="network", Subnets=list(zones.values()))["LoadBalancers"][0]
    arn = balancer["LoadBalancerArn"]
    until(lambda: elbv2.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]["State"]["Code"] == "active")
    if not elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"]:
        elbv2.create_listener(LoadBalancerArn=arn, Protocol="TCP", Port=8080, DefaultActions=[dict(Type="forward", TargetGroupArn=targets)])
    if server not in [health["Target"]["Id"] for health in elbv2.describe_target_health(TargetGroupArn=targets)["TargetHealthDescriptions"]]:
        elbv2.register_targets(TargetGroupArn=targets, Targets=[dict(Id=server)])


def down():
    ec2, rds, sns, sqs, elbv2 = clients()
    arn = elbv2.describe_load_balancers(Names=[NAME])["LoadBalancers"][0]["LoadBalancerArn"]
    elbv2.delete_load_balancer(LoadBalancerArn=arn)
    elbv2.delete_target_group(TargetGroupArn=elbv2.describe_target_groups(Names=[NAME])["TargetGroups"][0]["TargetGroupArn"])
    found = ec2.describe_instances(Filters=[dict(Name="tag:Name", Values=[NAME])])["Reservations"]
    servers = [one["InstanceId"] for some in found for one in some["Instances"]]
    ec2.terminate_instances(InstanceIds=servers)
    rds.delete_db_instance(DBInstanceIdentifier=NAME, SkipFinalSnapshot=True)
    topic = next(one["TopicArn"] for one in sns.list_topics()["Topics"] if one["TopicArn"].endswith(f":{NAME}-alerts"))
    for subscription in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    sns.delete_topic(TopicArn=topic)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=f"{NAME}-log")["QueueUrl"])
    terminated = lambda: all(one["State"]["Name"] == "terminated"
        for some in ec2.describe_instances(InstanceIds=servers)["Reservations"] for one in some["Instances"])
    until(terminated)
    gone = lambda: not [one for one in rds.describe_db_instances()["DBInstances"] if one["DBInstanceIdentifier"] == NAME]
    until(gone)
    for name in (f"{NAME}-db", f"{NAME}-app"):
        for one in ec2.describe_security_groups(Filters=[dict(Name="group-name", Values=[name])])["SecurityGroups"]:
            ec2.delete_security_group(GroupId=one["GroupId"])
    ec2.delete_key_pair(KeyName=NAME)


# ---- the bench --------------------------------------------------------------------------------------------------------------------

def measure(command, folder):
    """Seconds, CPU seconds of user mode, CPU seconds and MiB of one process."""
    with tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        if status:
            errors.seek(0)
            sys.exit(f"{command}: {errors.read()}")
    return wall, usage.ru_utime, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    ops, runs = str(Path(sys.argv[1]).resolve()), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    os.environ.update(AWS_ENDPOINT_URL=endpoint, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_REGION="us-east-1",
        AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true")
    moto = subprocess.Popen([Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    post = lambda path: urllib.request.urlopen(urllib.request.Request(endpoint + path, method="POST")).read()

    def answers():
        try:
            return urllib.request.urlopen(endpoint + "/moto-api/data.json", timeout=1).read(1)
        except OSError:
            return None

    me, project = [sys.executable, __file__], Path(__file__).resolve().parents[2]
    image = "registry.example.com/app-server@sha256:" + "0" * 64
    deploy = [ops, "run", "deploy", "--nlb", "--yes", "--skip-schema", "--client-cidr", "10.0.0.0/8", "--image", image]
    cases = {
        "boto3": [me + ["up"], me + ["up"], me + ["down"]],
        "ops": [deploy, deploy, [ops, "run", "cleanup", "--yes", "--delete-protected", "music-app"]],
    }
    taken = {(name, phase): [] for name in cases for phase in PHASES}
    try:
        until(answers)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HOME"] = folder
            for shared in ("playbooks", "sql"):
                Path(folder, shared).symlink_to(project / shared)
            # The first round warms the emulator up, which loads its services when they are first asked for.
            for number in range(runs + 1):
                for name, commands in cases.items():
                    post("/moto-api/reset")
                    for phase, command in zip(PHASES, commands):
                        sample = measure(command, folder)
                        if number > 0:
                            taken[name, phase].append(sample)
    finally:
        moto.terminate()
    print(f"{'':14}{'':7}{'wall, s':>22}{'x':>7}{'user, s':>9}{'x':>7}{'CPU, s':>9}{'x':>7}{'MiB':>7}{'x':>7}")
    for phase in PHASES:
        middle = {name: [statistics.median(column) for column in zip(*taken[name, phase])] for name in cases}
        for name in cases:
            walls = [sample[0] for sample in taken[name, phase]]
            x = [value / other for value, other in zip(middle[name], middle["boto3"])]
            wall, user, cpu, memory = middle[name]
            print(f"{phase:14}{name:7}{f'{wall:.2f} ({min(walls):.2f} to {max(walls):.2f})':>22}{x[0]:7.2f}{user:9.3f}{x[1]:7.2f}{cpu:9.3f}{x[2]:7.2f}{memory:7.0f}{x[3]:7.2f}")


if __name__ == "__main__":
    {"up": up, "down": down}.get(sys.argv[1], main)()
