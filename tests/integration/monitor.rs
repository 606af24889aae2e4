//! The live view of the log queue: what it shows, what it deletes, how it ends, and what it survives.

use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ops::clients::aws::{Clients, Target};
use serde_json::Value;

use crate::canaries;
use crate::harness::{Project, Ran, signal, until};

/// A topic with a queue behind it; a message that was received is hidden for so many seconds.
pub(crate) fn project(visibility_timeout_s: u32) -> Project {
    let project = Project::new();
    project.write(
        "alerts.rhai",
        &format!(
            r#"stack("music-app");
let topic = sns::ensure_topic("alerts");
sqs::ensure_queue("log", #{{ subscribe_to: topic, visibility_timeout_s: {visibility_timeout_s} }});"#
        ),
    );
    project.run_local("alerts.rhai", &["--yes"]).ended_with(0);
    project
}

/// What another AWS client sees of the same queue.
pub(crate) struct Outside {
    runtime: tokio::runtime::Runtime,
    aws: Clients,
    url: String,
}

impl Outside {
    pub(crate) fn of(project: &Project) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let target = Target::Local { endpoint: project.endpoint() };
        let aws = runtime.block_on(Clients::connect(&target, None)).expect("the local cloud answers");
        let asked = runtime.block_on(aws.sqs.get_queue_url().queue_name("music-app-log").send());
        let url = asked.expect("the queue is there").queue_url.expect("a URL");
        Self { runtime, aws, url }
    }

    pub(crate) fn publish(&self, subject: Option<&str>, message: &str) {
        let arn = "arn:aws:sns:us-east-1:000000000000:music-app-alerts";
        let request = self.aws.sns.publish().topic_arn(arn).set_subject(subject.map(str::to_owned));
        self.runtime.block_on(request.message(message).send()).expect("it is published");
    }

    fn send(&self, body: &str) {
        let request = self.aws.sqs.send_message().queue_url(&self.url).message_body(body);
        self.runtime.block_on(request.send()).expect("it is sent");
    }

    /// Messages in SNS's envelope, numbered.
    fn flood(&self, count: usize) {
        for ten in (0..count).collect::<Vec<_>>().chunks(10) {
            let entry = |number: &usize| {
                let body = serde_json::json!({
                    "Type": "Notification",
                    "MessageId": format!("n{number}"),
                    "TopicArn": "arn:aws:sns:us-east-1:000000000000:music-app-alerts",
                    "Subject": "Numbered",
                    "Message": format!("number {number}"),
                    "Timestamp": "2026-07-01T12:00:00.000Z",
                });
                aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .message_body(body.to_string())
                    .build()
                    .expect("an entry")
            };
            let request = self.aws.sqs.send_message_batch().queue_url(&self.url);
            let request = request.set_entries(Some(ten.iter().map(entry).collect()));
            let answer = self.runtime.block_on(request.send()).expect("they are sent");
            assert!(answer.failed().is_empty(), "{answer:?}");
        }
    }

    /// How many messages are there, visible or hidden.
    fn left(&self) -> usize {
        let request = self.aws.sqs.get_queue_attributes().queue_url(&self.url);
        let answer = request.attribute_names(aws_sdk_sqs::types::QueueAttributeName::All).send();
        let answer = self.runtime.block_on(answer).expect("the queue answers");
        let number = |name: &str| -> usize {
            let all = answer.attributes().expect("attributes");
            let value = all.iter().find(|(key, _)| key.as_str() == name).expect("a number").1;
            value.parse().expect("a number")
        };
        number("ApproximateNumberOfMessages") + number("ApproximateNumberOfMessagesNotVisible")
    }
}

/// A monitor that runs, and what it has printed so far.
struct Running {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    /// What it prints behind so many lines is read when it has ended: until then it waits for its reader.
    lines: Arc<AtomicUsize>,
}

impl Running {
    fn start(project: &Project, arguments: &[&str]) -> Self {
        Self::start_and_read(project, arguments, usize::MAX)
    }

    fn start_and_read(project: &Project, arguments: &[&str], lines: usize) -> Self {
        let mut command = project.command(&[&["run", "monitor", "--local"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
        let lines = Arc::new(AtomicUsize::new(lines));
        let stdout = collected(child.stdout.take().expect("a pipe"), lines.clone());
        let stderr = collected(child.stderr.take().expect("a pipe"), lines.clone());
        Self { child, stdout, stderr, lines }
    }

    /// Waits until its result says `text`.
    fn shows(&self, text: &str) {
        until(text, || self.stdout.lock().expect("text").contains(text));
    }

    /// Waits until it tells the person at the terminal `text`.
    fn says(&self, text: &str) {
        until(text, || self.stderr.lock().expect("text").contains(text));
    }

    /// Sends it a signal, and gives how it ended.
    fn end(self, name: &str) -> Ran {
        signal(name, i32::try_from(self.child.id()).expect("a process id"));
        self.ended()
    }

    /// How it ended by itself.
    fn ended(mut self) -> Ran {
        until("it ends", || self.child.try_wait().expect("a child").is_some());
        let status = self.child.wait().expect("it ends");
        self.lines.store(usize::MAX, Ordering::SeqCst);
        // The readers let go of the texts when they have read them to their ends.
        until("its output is read", || {
            Arc::strong_count(&self.stdout) + Arc::strong_count(&self.stderr) == 2
        });
        let text = |of: &Mutex<String>| of.lock().expect("text").clone();
        for printed in [&self.stdout, &self.stderr] {
            canaries::printed(&text(printed));
        }
        canaries::ended();
        Ran { code: status.code().unwrap_or(-1), stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }
}

/// What a pipe gives, as it comes; no more while there are so many lines.
fn collected(mut pipe: impl Read + Send + 'static, lines: Arc<AtomicUsize>) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let reader = text.clone();
    std::thread::spawn(move || {
        let mut part = [0; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut part) {
            reader.lock().expect("text").push_str(&String::from_utf8_lossy(&part[..count]));
            while reader.lock().expect("text").lines().count() >= lines.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    text
}

/// Shows what is there, and ends.
fn drain(project: &Project, arguments: &[&str]) -> Ran {
    project.run_local("monitor", &[&["--drain"], arguments].concat()).ended_with(0)
}

#[test]
fn messages_are_shown_with_subject_text_topic_and_time_and_then_deleted() {
    let project = project(60);
    let outside = Outside::of(&project);
    outside.publish(Some("Song added"), "Perché no, by Lucio Battisti");
    outside.publish(None, &"è".repeat(200));
    outside.flood(1);
    let ran = drain(&project, &["--tz", "Europe/Rome"]);
    for expected in [
        "     Subject  Song added\n     Message  Perché no, by Lucio Battisti\n     Topic    music-app-alerts\n",
        "     Subject  N/A\n",
        &format!("     Message  {}...\n", "è".repeat(147)),
        // Summer time.
        "NEW  2026-07-01 14:00:00 Rome\n     Subject  Numbered\n     Message  number 0\n",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}:\n{}", ran.stdout);
    }
    assert!(ran.stderr.contains("Messages of music-app-log, times of Europe/Rome"), "{}", ran.stderr);
    assert!(ran.stderr.contains("3 messages\n"), "{}", ran.stderr);
    assert_eq!(outside.left(), 0);
}

#[test]
fn ctrl_c_ends_a_waiting_monitor_with_the_total_and_success() {
    let project = project(60);
    let outside = Outside::of(&project);
    let running = Running::start(&project, &[]);
    outside.publish(Some("First"), "one");
    running.shows("one");
    outside.publish(Some("Second"), "two");
    running.shows("two");
    running.end("-INT").ended_with(0).says("2 messages\n");
    assert_eq!(outside.left(), 0);
}

#[test]
fn what_is_no_notification_is_shown_as_it_came_counted_and_deleted() {
    let project = project(60);
    let outside = Outside::of(&project);
    for body in ["no JSON at all", "{\"half\":", "[1, 2]"] {
        outside.send(body);
    }
    let ran = drain(&project, &[]).says("3 messages, 3 of them no notifications");
    assert_eq!(ran.stdout.matches("RAW  20").count(), 3, "{}", ran.stdout);
    assert!(ran.stdout.contains("     Message  {\"half\":\n"), "{}", ran.stdout);
    assert_eq!(outside.left(), 0);
}

#[test]
fn sequences_for_the_terminal_are_made_visible() {
    let project = project(60);
    let outside = Outside::of(&project);
    // SQS itself refuses ESC in a body; in the JSON of an envelope it may stand. 9b is the same in one byte.
    outside.publish(Some("Red"), "before\u{1b}[31m\u{1b}]0;title\u{7}\r\u{9b}2J\u{202e}after");
    let ran = drain(&project, &[]);
    let expected = r"before\u{1b}[31m\u{1b}]0;title\u{7}\r\u{9b}2J\u{202e}after";
    assert!(ran.stdout.contains(expected), "{:?}", ran.stdout);
    let obeyed = |character: char| character.is_control() && character != '\n';
    assert!(!ran.stdout.contains(obeyed), "{:?}", ran.stdout);
}

#[test]
fn keep_shows_every_message_once_and_leaves_it_visible() {
    let project = project(300);
    let outside = Outside::of(&project);
    outside.flood(25);
    let ran = drain(&project, &["--keep", "--json"]).says("25 messages, left in the queue");
    assert_eq!(numbers(&ran.stdout), (0..25).collect::<Vec<_>>());
    assert_eq!(outside.left(), 25);
    // Nothing stays hidden behind it.
    let ran = drain(&project, &["--json"]);
    assert_eq!(numbers(&ran.stdout), (0..25).collect::<Vec<_>>());
    assert_eq!(outside.left(), 0);
}

/// The numbers in the messages of [`Outside::flood`], sorted.
fn numbers(lines: &str) -> Vec<usize> {
    let number = |line: &str| -> usize {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let message = record["message"].as_str().expect("a text");
        message.strip_prefix("number ").and_then(|number| number.parse().ok()).expect("a number")
    };
    let mut numbers: Vec<_> = lines.lines().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_message_of_256_kilobytes_passes_whole() {
    let project = project(60);
    let outside = Outside::of(&project);
    let song = "🎵".repeat(64 * 1024);
    outside.send(&song);
    let ran = drain(&project, &["--json"]);
    let record: Value = serde_json::from_str(&ran.stdout).expect("one line of JSON");
    assert_eq!(record["message"].as_str().map(str::len), Some(256 * 1024));
    assert_eq!(record["message"], Value::String(song));
}

#[test]
fn five_thousand_messages_survive_a_monitor_that_is_killed() {
    const COUNT: usize = 5000;
    // What a killed run was not done with comes back after this time, and a slow one is done with its batches in less.
    let project = project(20);
    let outside = Outside::of(&project);
    outside.flood(COUNT);
    let mut shown: Vec<usize> = Vec::new();
    let mut kills = 0;
    for enough in [500, 1250] {
        let running = Running::start_and_read(&project, &["--json"], enough);
        until("it has shown many", || running.stdout.lock().expect("text").lines().count() >= enough);
        let ran = running.end("-KILL").ended_with(-1);
        kills += 1;
        // A line that was cut off by the kill was not shown.
        let whole = ran.stdout.rfind('\n').map_or("", |end| &ran.stdout[..=end]);
        shown.extend(numbers(whole));
    }
    assert!(outside.left() > 0, "the kills came too late to prove anything");
    until("the queue is empty", || {
        shown.extend(numbers(&drain(&project, &["--json"]).stdout));
        outside.left() == 0
    });
    shown.sort_unstable();
    let total = shown.len();
    shown.dedup();
    assert!(shown.iter().copied().eq(0..COUNT), "{} of {COUNT} were shown", shown.len());
    assert!(total - COUNT <= kills * 10, "{} were shown twice", total - COUNT);
}

#[test]
fn times_follow_the_rules_of_the_zone_on_the_day_of_the_message() {
    let project = project(60);
    let outside = Outside::of(&project);
    // Winter, summer, and the two sides of both changes in Europe (29 March and 25 October 2026, 01:00 UTC).
    let moments = [
        ("2026-01-15T12:00:00.000Z", "2026-01-15 13:00:00 Rome", "2026-01-15 07:00:00 New York"),
        ("2026-07-15T12:00:00.000Z", "2026-07-15 14:00:00 Rome", "2026-07-15 08:00:00 New York"),
        ("2026-03-29T00:59:59.999Z", "2026-03-29 01:59:59 Rome", "2026-03-28 20:59:59 New York"),
        ("2026-03-29T01:00:00.000Z", "2026-03-29 03:00:00 Rome", "2026-03-28 21:00:00 New York"),
        ("2026-10-25T00:59:59.000Z", "2026-10-25 02:59:59 Rome", "2026-10-24 20:59:59 New York"),
        ("2026-10-25T01:00:00.000Z", "2026-10-25 02:00:00 Rome", "2026-10-24 21:00:00 New York"),
    ];
    let topic = "arn:aws:sns:us-east-1:000000000000:music-app-alerts";
    let envelope = |timestamp: &str| serde_json::json!({ "Type": "Notification", "TopicArn": topic, "Message": "m", "Timestamp": timestamp });
    for (moment, _, _) in moments {
        outside.send(&envelope(moment).to_string());
    }
    // One that is no moment is shown as it is.
    outside.send(&envelope("last tuesday").to_string());
    let rome = drain(&project, &["--tz", "Europe/Rome", "--keep"]);
    let new_york = drain(&project, &["--tz", "America/New_York"]);
    for (moment, in_rome, in_new_york) in moments {
        assert!(rome.stdout.contains(&format!("NEW  {in_rome}\n")), "{moment}:\n{}", rome.stdout);
        assert!(new_york.stdout.contains(&format!("NEW  {in_new_york}\n")), "{moment}:\n{}", new_york.stdout);
    }
    assert!(rome.stdout.contains("NEW  last tuesday\n"), "{}", rome.stdout);
}

#[test]
fn expired_credentials_end_it_with_the_next_step_and_nothing_is_lost() {
    let project = project(60);
    let outside = Outside::of(&project);
    let running = Running::start(&project, &[]);
    outside.publish(Some("Before"), "before the end");
    running.shows("before the end");
    project.fault("sqs", "ReceiveMessage", "ExpiredToken");
    // The receive that waits is ended by a message; where none waited yet, the next one fails at once.
    outside.publish(None, "at the end");
    let ran = running.ended().ended_with(1).says("log in again, then run the same command again");
    assert!(!ran.stderr.contains("trying again"), "it does not come back by waiting:\n{}", ran.stderr);
    outside.publish(None, "after the login");
    let next = drain(&project, &[]);
    let shown = |text: &str| [&ran, &next].map(|run| run.stdout.matches(text).count());
    assert_eq!(shown("before the end"), [1, 0], "it was shown and deleted");
    assert_eq!(shown("at the end").iter().sum::<usize>(), 1, "{}\n{}", ran.stdout, next.stdout);
    assert_eq!(shown("after the login"), [0, 1]);
    assert_eq!(outside.left(), 0);
}

#[test]
fn an_outage_is_said_and_waited_for() {
    // What was shown before it is deleted after it: until then it stays hidden.
    let project = project(600);
    let outside = Outside::of(&project);
    let running = Running::start(&project, &[]);
    outside.publish(Some("Before"), "before the outage");
    running.shows("before the outage");
    signal("-KILL", project.supervisor());
    running.says("trying again in");
    project.ops(&["local", "up"]).ended_with(0);
    outside.publish(Some("After"), "after the outage");
    running.shows("after the outage");
    running.says("connected again after");
    running.end("-INT").ended_with(0).says("2 messages\n");
}

#[test]
fn a_missing_queue_and_a_wrong_zone_are_told_before_anything_is_received() {
    let project = project(60);
    project
        .run_local("monitor", &["--queue", "other"])
        .ended_with(1)
        .says("there is no queue music-app-other")
        .says("deploy the stack first");
    project
        .run_local("monitor", &["--tz", "Europe/Roma"])
        .ended_with(1)
        .says("`Europe/Roma` is no time zone that this machine knows");
}

#[test]
fn a_loop_that_breaks_leaves_its_last_message_and_deletes_the_others() {
    let project = project(300);
    let outside = Outside::of(&project);
    outside.flood(12);
    project.write(
        "three.rhai",
        r#"stack("music-app");
let seen = 0;
for message in sqs::get_queue("log").messages() {
    seen += 1;
    if seen == 3 { break; }
}
try {
    for message in sqs::get_queue("log").messages() { throw "no"; }
} catch {}
print(sqs::get_queue("log").receive(#{ wait_s: 0 }).len());"#,
    );
    let ran = project.run_local("three.rhai", &[]).ended_with(0);
    // Two were deleted; two more are hidden: those that the loops were not done with.
    assert_eq!(ran.stdout, "8\n");
    assert_eq!(outside.left(), 10);
}

#[test]
fn a_notice_reaches_the_queue() {
    let project = project(60);
    project.run_local("notify", &["--message", "Maintenance at 22:00", "--subject", "Soon"]).ended_with(0);
    let ran = drain(&project, &[]);
    assert!(
        ran.stdout.contains("     Subject  Soon\n     Message  Maintenance at 22:00\n"),
        "{}",
        ran.stdout
    );
    project
        .run_local("notify", &["--message", "x", "--subject", "è"])
        .ended_with(1)
        .says("cannot be the subject of a message");
    project.run_local("notify", &[]).ended_with(2).says("--message");
}

#[test]
fn a_playbook_that_fails_tells_why_once_and_a_refusal_is_no_failure() {
    let project = project(60);
    project.write(
        "fails.rhai",
        r#"let refused = flag("refused", "Delete without consent");
let well = flag("well", "End before anything fails");
stack("music-app");
let alerts = sns::get_topic("alerts");
on_failure(|why| alerts.publish("It failed", why));
if refused { owned().delete(); }
if well { exit(0); }
sqs::get_queue("other");"#,
    );
    project.run_local("fails.rhai", &[]).ended_with(1).says("there is no queue music-app-other");
    project.run_local("fails.rhai", &["--refused"]).ended_with(4);
    project.run_local("fails.rhai", &["--well"]).ended_with(0);
    let ran = drain(&project, &["--json"]);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    let record: Value = serde_json::from_str(ran.stdout.trim()).expect("JSON");
    assert_eq!(record["message"], "there is no queue music-app-other");
}

#[test]
fn a_clean_up_is_announced_after_consent_and_before_anything_goes() {
    let project = project(60);
    project.run_local("cleanup", &[]).ended_with(4);
    assert_eq!(drain(&project, &[]).stdout, "");
    let ran = project.run_local("cleanup", &["--yes"]).ended_with(0);
    assert!(ran.stderr.contains("1 effect"), "{}", ran.stderr);
    let plan = project.run_local("alerts.rhai", &["--yes"]);
    plan.ended_with(0);
    project
        .run_local("cleanup", &["--dry-run"])
        .ended_with(0)
        .says("publish \"Music app goes\" to topic alerts");
}
