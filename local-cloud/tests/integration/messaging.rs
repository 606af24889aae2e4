//! SQS and SNS: names, attributes, delivery only where the queue's policy allows it, messages that survive.

use crate::harness::Cloud;

const SUBSCRIBED: &str = r#"
topic = sns.create_topic(Name="alerts")["TopicArn"]
url = sqs.create_queue(QueueName="log")["QueueUrl"]
queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
def allow(source):
    sqs.set_queue_attributes(QueueUrl=url, Attributes=dict(Policy=json.dumps(dict(Version="2012-10-17", Statement=[dict(
        Effect="Allow", Principal=dict(Service="sns.amazonaws.com"), Action="sqs:SendMessage", Resource=queue,
        Condition=dict(ArnEquals={"aws:SourceArn": source}))]))))
def receive():
    return sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0).get("Messages", [])
subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)["SubscriptionArn"]
"#;

#[test]
fn a_deleted_queues_name_is_blocked() {
    Cloud::start().python(
        r#"
url = sqs.create_queue(QueueName="q")["QueueUrl"]
sqs.delete_queue(QueueUrl=url)
try:
    sqs.create_queue(QueueName="q")
    raise AssertionError("created")
except sqs.exceptions.QueueDeletedRecently as error:
    assert error.response["Error"]["Code"] == "AWS.SimpleQueueService.QueueDeletedRecently"
refused("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName="q")
"#,
    );
}

#[test]
fn a_queue_is_created_once_with_its_attributes() {
    Cloud::start().python(
        r#"
url = sqs.create_queue(QueueName="q", Attributes=dict(VisibilityTimeout="10"), tags=dict(a="1"))["QueueUrl"]
assert sqs.create_queue(QueueName="q", Attributes=dict(VisibilityTimeout="10"))["QueueUrl"] == url
try:
    sqs.create_queue(QueueName="q", Attributes=dict(VisibilityTimeout="11"))
    raise AssertionError("created")
except sqs.exceptions.QueueNameExists:
    pass
assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"] == dict(VisibilityTimeout="10")
assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == dict(a="1")
refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes=dict(VisibilityTimeout="x"))
refused("InvalidAttributeName", sqs.set_queue_attributes, QueueUrl=url, Attributes=dict(Nope="x"))
refused("AWS.SimpleQueueService.NonExistentQueue", sqs.send_message, QueueUrl=url + "x", MessageBody="a")
"#,
    );
}

#[test]
fn a_message_is_hidden_while_it_is_worked_on() {
    Cloud::start().python(
        r#"
url = sqs.create_queue(QueueName="q", Attributes=dict(VisibilityTimeout="1"))["QueueUrl"]
sqs.send_message(QueueUrl=url, MessageBody="a", MessageAttributes=dict(k=dict(DataType="String", StringValue="v")))
first = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], AttributeNames=["All"])["Messages"][0]
assert first["Body"] == "a" and first["MessageAttributes"]["k"]["StringValue"] == "v"
assert "Messages" not in sqs.receive_message(QueueUrl=url)
counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
assert counts["ApproximateNumberOfMessagesNotVisible"] == "1"
# A long poll returns when the message is visible again.
second = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, AttributeNames=["All"])["Messages"][0]
assert second["Attributes"]["ApproximateReceiveCount"] == "2"
sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
sqs.delete_message(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"])
refused("ReceiptHandleIsInvalid", sqs.delete_message, QueueUrl=url, ReceiptHandle="x")
assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0"
batch = sqs.send_message_batch(QueueUrl=url, Entries=[dict(Id="1", MessageBody="x"), dict(Id="2", MessageBody="y", DelaySeconds=901)])
assert [one["Id"] for one in batch["Successful"]] == ["1"] and [one["Id"] for one in batch["Failed"]] == ["2"]
"#,
    );
}

#[test]
fn a_message_received_too_often_goes_to_the_dead_letter_queue() {
    Cloud::start().python(
        r#"
dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
policy = json.dumps(dict(deadLetterTargetArn=arn, maxReceiveCount=1))
url = sqs.create_queue(QueueName="q", Attributes=dict(RedrivePolicy=policy, VisibilityTimeout="0"))["QueueUrl"]
sqs.send_message(QueueUrl=url, MessageBody="a")
assert sqs.receive_message(QueueUrl=url)["Messages"]
assert "Messages" not in sqs.receive_message(QueueUrl=url)
assert sqs.receive_message(QueueUrl=dead)["Messages"][0]["Body"] == "a"
refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes=dict(RedrivePolicy=policy.replace("dead\"", "none\"")))
"#,
    );
}

#[test]
fn a_topic_delivers_to_a_queue_whose_policy_allows_it() {
    let cloud = Cloud::start();
    cloud.python(&format!(
        "{SUBSCRIBED}{}",
        r#"
sns.publish(TopicArn=topic, Message="lost")
allow(topic + "-other")
sns.publish(TopicArn=topic, Message="lost as well")
assert receive() == []
allow(topic)
id = sns.publish(TopicArn=topic, Subject="Deploy", Message="done")["MessageId"]
envelope = json.loads(receive()[0]["Body"])
assert (envelope["Type"], envelope["MessageId"], envelope["TopicArn"]) == ("Notification", id, topic)
assert (envelope["Subject"], envelope["Message"]) == ("Deploy", "done")
# A filter that did not filter would be worse than none.
message = refused("InvalidParameter", sns.set_subscription_attributes, SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue='{"k": ["v"]}')
assert "FilterPolicy is not one that the local cloud has" in message, message
refused("InvalidParameter", sns.subscribe, TopicArn=topic, Protocol="email", Endpoint="a@example.com", Attributes=dict(FilterPolicy='{"k": ["v"]}'))
sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true")
sns.publish(TopicArn=topic, Message="raw", MessageAttributes=dict(k=dict(DataType="String", StringValue="v")))
raw = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"][0]
assert raw["Body"] == "raw" and raw["MessageAttributes"]["k"]["StringValue"] == "v"
"#
    ));
    assert!(cloud.supervisor_log().contains("is not delivered"));
}

#[test]
fn subscribing_twice_gives_one_subscription_and_email_stays_pending() {
    Cloud::start().python(&format!(
        "{SUBSCRIBED}{}",
        r#"
assert sns.create_topic(Name="alerts")["TopicArn"] == topic
assert sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)["SubscriptionArn"] == subscription
answer = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.org")["SubscriptionArn"]
assert answer == "pending confirmation", answer
listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
assert sorted(one["SubscriptionArn"] for one in listed) == sorted([subscription, "PendingConfirmation"]), listed
refused("InvalidParameter", sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue + "x")
refused("NotFound", sns.publish, TopicArn=topic + "x", Message="a")
sns.tag_resource(ResourceArn=topic, Tags=[dict(Key="a", Value="1")])
assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [dict(Key="a", Value="1")]
sns.unsubscribe(SubscriptionArn=subscription)
sns.delete_topic(TopicArn=topic)
sns.delete_topic(TopicArn=topic)
assert sns.list_subscriptions()["Subscriptions"] == []
"#
    ));
}

#[test]
fn messages_survive_a_killed_supervisor() {
    let mut cloud = Cloud::start();
    cloud.python(
        r#"
url = sqs.create_queue(QueueName="q")["QueueUrl"]
sqs.send_message(QueueUrl=url, MessageBody="kept")
"#,
    );
    cloud.kill();
    cloud.restart();
    cloud.python(
        r#"
url = sqs.get_queue_url(QueueName="q")["QueueUrl"]
assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "kept"
"#,
    );
}

#[test]
fn what_was_received_and_deleted_stays_so_after_a_kill() {
    let mut cloud = Cloud::start();
    cloud.python(
        r#"
url = sqs.create_queue(QueueName="q", Attributes=dict(VisibilityTimeout="600"))["QueueUrl"]
for batch in range(30):
    entries = [dict(Id=str(number), MessageBody=f"{batch}-{number}") for number in range(10)]
    assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10
first = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
sqs.delete_message_batch(QueueUrl=url, Entries=[dict(Id=str(n), ReceiptHandle=m["ReceiptHandle"]) for n, m in enumerate(first)])
held = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
assert [m["Body"] for m in held] == [f"1-{number}" for number in range(10)]
gone = sqs.create_queue(QueueName="gone")["QueueUrl"]
sqs.send_message(QueueUrl=gone, MessageBody="lost with its queue")
sqs.delete_queue(QueueUrl=gone)
"#,
    );
    cloud.kill();
    let log = cloud.path().join("messages.log");
    let torn = std::fs::read_to_string(&log).expect("the log") + "{\"region\":\"us-east-1\",\"que";
    std::fs::write(&log, torn).expect("the log is written");
    cloud.restart();
    cloud.python(
        r#"
url = sqs.get_queue_url(QueueName="q")["QueueUrl"]
names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
assert counts == dict(zip(names, ["280", "10"])), counts
seen = []
while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
    seen += [message["Body"] for message in messages]
assert seen == [f"{batch}-{number}" for batch in range(2, 30) for number in range(10)], seen
"#,
    );
}

#[test]
fn a_dead_letter_queue_may_say_whose_it_is() {
    Cloud::start().python(
        r#"
def queue(name, **attributes):
    return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
def arn(name):
    return f"arn:aws:sqs:us-east-1:000000000000:{name}"
def redrive(name):
    return json.dumps(dict(deadLetterTargetArn=arn(name), maxReceiveCount=3))
refused("InvalidAttributeValue", queue, name="q", RedrivePolicy=redrive("none"))
refused("InvalidAttributeValue", queue, name="dead", RedriveAllowPolicy=json.dumps(dict(redrivePermission="byQueue")))
dead = queue("dead", RedriveAllowPolicy=json.dumps(dict(redrivePermission="byQueue", sourceQueueArns=[arn("mine")])))
refused("InvalidParameterValue", queue, name="other", RedrivePolicy=redrive("dead"))
mine = queue("mine", RedrivePolicy=redrive("dead"))
assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [mine]
sqs.set_queue_attributes(QueueUrl=dead, Attributes=dict(RedriveAllowPolicy=json.dumps(dict(redrivePermission="denyAll"))))
refused("InvalidParameterValue", sqs.set_queue_attributes, QueueUrl=mine, Attributes=dict(RedrivePolicy=redrive("dead")))
sqs.set_queue_attributes(QueueUrl=mine, Attributes=dict(RedrivePolicy=""))
assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == []
"#,
    );
}
