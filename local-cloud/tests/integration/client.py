import base64, json, os, sys, time, urllib.request
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, FOLDER = os.environ["ENDPOINT"], os.environ["FOLDER"]


def client(service, region="us-east-1"):
    return boto3.client(service, endpoint_url=ENDPOINT, region_name=region, aws_access_key_id="local",
                        aws_secret_access_key="local", config=Config(retries={"total_max_attempts": 1}))


ec2, elbv2, iam, rds, secretsmanager, sns, sqs, ssm, sts = (
    client(name) for name in ("ec2", "elbv2", "iam", "rds", "secretsmanager", "sns", "sqs", "ssm", "sts"))


def refused(code, call, **arguments):
    try:
        answer = call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["Error"]["Message"]
    raise AssertionError(f"expected {code}, got {answer}")


def wait(what, condition, seconds=60):
    deadline = time.time() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.time() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def get(url):
    try:
        return urllib.request.urlopen(url, timeout=5).read().decode()
    except OSError:
        return None


def calls():
    return json.loads(get(ENDPOINT + "/_local/calls"))


KEY = b"ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32) + b" me"
AMI = {image["Architecture"]: image["ImageId"]
       for image in ec2.describe_images(Owners=["amazon"], Filters=[dict(Name="name", Values=["al2023-*"])])["Images"]}


def user_data(image="web", port=8080, env={}, **more):
    declared = dict(name="web", image=image, port=port, env=env, **more)
    return "#!/bin/sh\n# ops-service: " + base64.b64encode(json.dumps(declared).encode()).decode() + "\nfalse\n"


def launch(**arguments):
    given = dict(ImageId=AMI["x86_64"], InstanceType="t3.micro", MinCount=1, MaxCount=1)
    return ec2.run_instances(**given | arguments)["Instances"][0]["InstanceId"]


def instance(id):
    return ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]


def reach(id, state):
    return wait(f"{id} to be {state}", lambda: (found := instance(id))["State"]["Name"] == state and found)


def database(id="db"):
    return rds.describe_db_instances(DBInstanceIdentifier=id)["DBInstances"][0]


DB = dict(DBInstanceIdentifier="db", Engine="postgres", DBInstanceClass="db.t3.micro", AllocatedStorage=20,
          MasterUsername="owner", MasterUserPassword="correct-horse", DBName="music")


def available(id="db"):
    return wait(f"{id} to be available", lambda: (found := database(id))["DBInstanceStatus"] == "available" and found)


def vpc():
    return ec2.describe_vpcs()["Vpcs"][0]["VpcId"]


def subnets():
    return [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]


def target_group(name="group", **arguments):
    given = dict(Name=name, Protocol="TCP", Port=8080, VpcId=vpc())
    return elbv2.create_target_group(**given | arguments)["TargetGroups"][0]["TargetGroupArn"]


def load_balancer(name="balancer", **arguments):
    given = dict(Name=name, Type="network", Subnets=subnets())
    return elbv2.create_load_balancer(**given | arguments)["LoadBalancers"][0]["LoadBalancerArn"]


def listener(balancer, group, port=8080):
    action = dict(Type="forward", TargetGroupArn=group)
    made = elbv2.create_listener(LoadBalancerArn=balancer, Protocol="TCP", Port=port, DefaultActions=[action])
    return made["Listeners"][0]["ListenerArn"]


def described(balancer):
    return elbv2.describe_load_balancers(LoadBalancerArns=[balancer])["LoadBalancers"][0]


def reached_at(arn):
    tags = elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]
    return {tag["Key"]: tag["Value"] for tag in tags}["ops-local:address"]


def health(group, **target):
    targets = dict(Targets=[target]) if target else {}
    found = elbv2.describe_target_health(TargetGroupArn=group, **targets)["TargetHealthDescriptions"]
    return [(one["TargetHealth"]["State"], one["TargetHealth"].get("Reason")) for one in found]


def web(**declared):
    """A running instance whose service answers."""
    id = launch(UserData=user_data(ready_path="/", **declared))
    reach(id, "running")
    return id


def policy(*statements):
    return json.dumps(dict(Version="2012-10-17", Statement=list(statements)))


def trust(**principal):
    return policy(dict(Effect="Allow", Action="sts:AssumeRole", Principal=principal or dict(Service="ec2.amazonaws.com")))


def role(name="role", **arguments):
    return iam.create_role(**dict(RoleName=name, AssumeRolePolicyDocument=trust()) | arguments)["Role"]["Arn"]


def profile(name="profile", of=None):
    iam.create_instance_profile(InstanceProfileName=name)
    role(of or name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=of or name)
    return name
