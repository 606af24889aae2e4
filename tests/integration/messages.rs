//! How messages get to a queue and back into it, and what is said while a name is blocked.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::faults::through;
use crate::harness::{Project, Ran};
use crate::proxy::{Fate, Proxy};

fn run(project: &Project, script: &str) -> Ran {
    project.write("playbooks/try.rhai", &format!("//! Tries.\nstack(\"s\");\n{script}\n"));
    project.run_local("try", &["--yes"])
}

const QUEUE: &str = r#"let topic = sns::ensure_topic("alerts");
let log = sqs::ensure_queue("log", #{ visibility_timeout_s: 300, subscribe_to: topic });
"#;

#[test]
fn a_message_that_is_put_back_comes_again_at_once() {
    let project = Project::empty();
    let script = format!(
        r#"{QUEUE}
topic.publish("one", "first");
let first = log.receive(#{{ wait_s: 5 }})[0];
print(log.receive(#{{ wait_s: 0 }}).len());
first.hide_for(0);
let again = log.receive(#{{ wait_s: 5 }})[0];
print([again.id == first.id, again.received]);
again.hide_for(600);
print(log.receive(#{{ wait_s: 0 }}).len());
for wrong in [-1, 43201] {{ try {{ again.hide_for(wrong); }} catch (error) {{ print(error.kind); }} }}"#
    );
    let ran = run(&project, &script).ended_with(0);
    assert_eq!(ran.stdout, "0\n[true, 2]\n0\ninvalid\ninvalid\n");
}

#[test]
fn a_loop_leaves_what_was_put_back_in_the_queue() {
    let project = Project::empty();
    let script = format!(
        r#"{QUEUE}
for text in ["keep", "done"] {{ topic.publish("s", text); }}
let seen = [];
for message in log.messages(#{{ until_empty: true, wait_s: 2 }}) {{
    seen.push(message.text);
    if message.text == "keep" && message.received < 3 {{ message.hide_for(0); }}
}}
seen.sort();
print(seen);
print(log.receive(#{{ wait_s: 0 }}).len());"#
    );
    // Twice put back, the third time read to its end; the other one was deleted at once.
    let ran = run(&project, &script).ended_with(0);
    assert_eq!(ran.stdout, "[\"done\", \"keep\", \"keep\", \"keep\"]\n0\n");
}

#[test]
fn a_subscription_delivers_as_it_is_asked_to_and_is_repaired() {
    let project = Project::empty();
    let with = |raw: &str| QUEUE.replace("subscribe_to: topic", &format!("subscribe_to: topic{raw}"));
    let read = r#"
topic.publish("subject", "plain");
for message in log.messages(#{ until_empty: true, wait_s: 2 }) { print([message.is_notification, message.body == "plain", message.text]); }"#;
    let enveloped = "[true, false, \"plain\"]\n";
    let plain = "[false, true, \"plain\"]\n";
    assert_eq!(run(&project, &(with("") + read)).ended_with(0).stdout, enveloped);
    let raw = with(", raw_message_delivery: true") + read;
    let ran = run(&project, &raw).ended_with(0).says("~ sns alerts  messages without SNS's envelope");
    assert_eq!(ran.stdout, plain);
    assert_eq!(run(&project, &raw).ended_with(0).says("==> 0 changes").stdout, plain);
    // What is not named is left as it is.
    assert_eq!(run(&project, &(with("") + read)).ended_with(0).says("==> 0 changes").stdout, plain);
    let back = with(", raw_message_delivery: false") + read;
    assert_eq!(run(&project, &back).ended_with(0).says("messages in SNS's envelope").stdout, enveloped);
    // One that is made so.
    let other = r#"
let other = sqs::ensure_queue("other", #{ subscribe_to: sns::ensure_topic("second"), raw_message_delivery: true });
sns::ensure_topic("second").publish("s", "plain");
print(other.receive(#{ wait_s: 5 })[0].body);"#;
    assert_eq!(run(&project, other).ended_with(0).stdout, "plain\n");
    let email = r#"sns::ensure_topic("third").ensure_subscription("email", "you@example.com", #{ raw_message_delivery: true });"#;
    run(&project, email).ended_with(1).says("does not support raw message delivery");
}

#[test]
fn while_the_name_of_a_queue_is_blocked_the_run_says_so_and_for_how_long() {
    let project = Project::empty();
    project.ops(&["local", "up"]).ended_with(0);
    let met = AtomicUsize::new(0);
    let proxy = Proxy::start(&project.endpoint(), move |call| {
        if call.operation == "CreateQueue" && met.fetch_add(1, Ordering::SeqCst) < 2 {
            Fate::Fails(400, "QueueDeletedRecently", "You must wait 60 seconds after deleting a queue")
        } else {
            Fate::Passes
        }
    });
    project.write("playbooks/try.rhai", "//! Tries.\nstack(\"s\");\nsqs::ensure_queue(\"log\");\n");
    let ran = through(&proxy, &project, &["run", "try", "--yes"]).ended_with(0).says("+ sqs log  queue");
    let line = ran
        .stderr
        .lines()
        .find(|line| line.contains("queue log"))
        .unwrap_or_else(|| panic!("{}", ran.stderr));
    let said = line.split("its name is blocked after a deletion, at most ").nth(1);
    let left: u32 =
        said.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    assert!((70..=75).contains(&left), "{line}");
}
