//! What a script does with the messages of a queue: receives a list, loops over all, deletes.

use aws_sdk_sqs::types::MessageSystemAttributeName;
use rhai::{Array, Dynamic};

use super::Queue;
use super::message::Message;
use super::messages::Messages;
use super::transfer::Transfer;
use crate::clients::aws::failure;
use crate::error::Error;
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};

const RECEIVE: Function = Function {
    name: "receive",
    doc: "A list of messages, empty where none came in time. Each is hidden from others for the queue's visibility timeout, and comes \
          again unless it is deleted by then. SQS `ReceiveMessage`.",
    parameters: &[],
    returns: "list",
    permissions: &["sqs:ReceiveMessage"],
    example: r#"
        for message in sqs::ensure_queue("log").receive(#{ most: 10, wait_s: 1 }) {
            print(message.text);
            message.delete();
        }"#,
    keys: &[
        optional("most", Holds::Int, "How many at most, 1 to 10; 10 if not given"),
        optional("wait_s", Holds::Int, "How long to wait for the first one, 0 to 20; 20 if not given"),
    ],
};

const MESSAGES: Function = Function {
    name: "messages",
    doc: "The queue's messages as a list without an end, for a `for` loop; Ctrl-C ends the loop. A message is deleted when the loop \
          asks for the next one, so what was not seen is not lost; left by `break` or an error, the loop leaves its last message in the \
          queue. Ten messages are received together: be done with them within the queue's visibility timeout, or others get them as \
          well. An outage is waited for, and said. SQS `GetQueueAttributes`, `ReceiveMessage`, `DeleteMessageBatch`, \
          `ChangeMessageVisibilityBatch`.",
    parameters: &[],
    returns: "Messages",
    permissions: &[
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
    ],
    example: r#"
        let log = sqs::ensure_queue("log");
        for message in log.messages(#{ until_empty: true, wait_s: 1 }) { print(message.text); }"#,
    keys: &[
        optional("wait_s", Holds::Int, "How long one receive waits, 0 to 20; 20 if not given"),
        optional(
            "keep",
            Holds::Bool,
            "Delete nothing: each message is given once, and is there for others afterwards",
        ),
        optional(
            "until_empty",
            Holds::Bool,
            "End when a receive finds nothing; Ctrl-C then interrupts the run",
        ),
    ],
};

const DELETE_MESSAGE: Function = Function {
    name: "delete",
    doc: "Takes the message off its queue for good. SQS `DeleteMessageBatch`.",
    parameters: &[],
    returns: "()",
    permissions: &["sqs:DeleteMessage"],
    example: r#"
        for message in sqs::ensure_queue("log").receive(#{ wait_s: 0 }) { message.delete(); }"#,
    keys: &[],
};

const HIDE_FOR: Function = Function {
    name: "hide_for",
    doc: "Hides the message from others for so many seconds from now; 0 puts it back at once. Then it comes again, to whoever receives next: a `for` loop \
          over `messages` does not delete it. SQS `ChangeMessageVisibility`.",
    parameters: &["seconds: int"],
    returns: "()",
    permissions: &["sqs:ChangeMessageVisibility"],
    example: r#"
        for message in sqs::ensure_queue("log").receive(#{ wait_s: 0 }) { message.hide_for(0); }"#,
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .method0(&RECEIVE, |call, queue: &Queue| receive(call, queue, &Options::default()))
        .method_options(&RECEIVE, receive)
        .method0(&MESSAGES, |call, queue: &Queue| messages(call, queue, &Options::default()))
        .method_options(&MESSAGES, messages)
        .handle::<Messages>("Messages")
        .iterable(|messages: Messages| messages.start())
        .incomparable(|messages: &Messages| format!("messages of queue {}", messages.queue.name))
        .handle::<Message>("Message")
        .method0(&DELETE_MESSAGE, delete)
        .method1(&HIDE_FOR, hide_for)
        .property("id", "Its id.", |_, message: &Message| Ok(message.id.clone()))
        .property("subject", "Its subject, empty where it has none.", |_, message: &Message| {
            Ok(message.subject().to_owned())
        })
        .property(
            "text",
            "What was published; the whole body where SNS has not wrapped it.",
            |_, message: &Message| Ok(message.text().to_owned()),
        )
        .property("topic", "The name of the topic that it comes from, or empty.", |_, message: &Message| {
            Ok(message.topic().to_owned())
        })
        .property(
            "timestamp",
            "When it was published, such as `2026-01-02T03:04:05.678Z`.",
            |_, message: &Message| Ok(message.timestamp.clone()),
        )
        .property("body", "The body as it is in the queue.", |_, message: &Message| Ok(message.body.clone()))
        .property(
            "received",
            "How often it was received so far.",
            |_, message: &Message| Ok(message.received),
        )
        .property(
            "is_notification",
            "Whether it came from a topic, in SNS's envelope.",
            |_, message: &Message| Ok(message.is_notification()),
        )
        .property(
            "fields",
            "All of it, for programs: `id`, `timestamp`, `subject`, `message`, `topic`, `notification`, `received`.",
            |_, message: &Message| Ok(message.fields()),
        )
        .identified(|message: &Message| format!("message {}", message.id));
}

fn receive(call: &Call, queue: &Queue, options: &Options) -> Result<Array, Error> {
    let most = options.int_in("most", 1..=10)?.unwrap_or(10);
    let wait_s = options.int_in("wait_s", 0..=20)?.unwrap_or(20);
    call.effect(&format!("receive messages of queue {}", queue.name))?;
    let url = queue.known_url()?;
    let received = call.block(async {
        let request = call.aws()?.sqs.receive_message().queue_url(url);
        let request = request.max_number_of_messages(most).wait_time_seconds(wait_s);
        let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
        request.send().await.map_err(|error| failure("sqs", "ReceiveMessage", error))
    })?;
    let messages = received.messages.unwrap_or_default().into_iter();
    Ok(messages.map(|message| Dynamic::from(Message::new(queue, message))).collect())
}

fn messages(call: &Call, queue: &Queue, options: &Options) -> Result<Messages, Error> {
    call.effect(&format!("receive messages of queue {}", queue.name))?;
    Ok(Messages {
        host: call.host.clone(),
        queue: queue.clone(),
        wait_s: options.int_in("wait_s", 0..=20)?.unwrap_or(20),
        keep: options.bool("keep").unwrap_or(false),
        until_empty: options.bool("until_empty").unwrap_or(false),
    })
}

fn delete(call: &Call, message: &Message) -> Result<(), Error> {
    call.effect(&format!("delete message {}", message.id))?;
    let transfer = Transfer::new(call.host, &message.queue, 0)?;
    call.block(transfer.delete(std::slice::from_ref(message)))
}

/// SQS hides a message for 12 hours at most (SQS API Reference, `ChangeMessageVisibility`).
const LONGEST_HIDDEN_S: i32 = 12 * 3600;

fn hide_for(call: &Call, message: &Message, seconds: i64) -> Result<(), Error> {
    let seconds = i32::try_from(seconds)
        .ok()
        .filter(|seconds| (0..=LONGEST_HIDDEN_S).contains(seconds))
        .ok_or_else(|| {
            Error::invalid(format!("a message is hidden for 0 to {LONGEST_HIDDEN_S} seconds, not {seconds}"))
        })?;
    let what = if seconds == 0 { "put back".to_owned() } else { format!("hide for {seconds} s") };
    call.effect(&format!("{what} message {}", message.id))?;
    let url = message.queue.known_url()?;
    call.block(async {
        let request = call.aws()?.sqs.change_message_visibility().queue_url(url);
        let sent = request.receipt_handle(&message.receipt).visibility_timeout(seconds).send().await;
        sent.map(drop).map_err(|error| failure("sqs", "ChangeMessageVisibility", error))
    })?;
    message.put_back();
    Ok(())
}
