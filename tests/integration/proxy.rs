//! A proxy in front of a cloud that does to calls what networks and services do: lose them, answer late, throttle, kill the caller.

mod left_out;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::harness::signal;

/// One call that passes.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `RunInstances`
    pub(crate) operation: String,
    pub(crate) changes: bool,
    /// How many calls there were before it, and how many that change something.
    pub(crate) number: usize,
    pub(crate) change: usize,
    /// The request line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whose credentials signed it.
    pub(crate) access_key: String,
}

impl Call {
    /// A field of a request in the query protocol, such as `MetadataOptions.HttpTokens`.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.body.split('&').find_map(|field| {
            let (key, value) = field.split_once('=')?;
            let decode =
                |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
            (decode(key) == name).then(|| decode(value))
        })
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    /// The answer is this long on its way.
    Late(Duration),
    /// The caller is killed, and the service never hears of it.
    KilledBefore,
    /// The service carries it out, and the caller is killed before the answer.
    KilledAfter,
    /// The service carries it out, and the answer is lost.
    AnswerLost,
    /// The service carries it out, and this text in its answer becomes that one, which is as long.
    Says(&'static str, &'static str),
    /// The service carries it out, and its answer comes without the elements of that list that hold this text.
    Hides(&'static str, &'static str),
    /// The service is not asked: this error is the answer.
    Fails(u16, &'static str, &'static str),
}

/// The calls that came by, with what happened to each.
pub(crate) type Wire = Arc<Mutex<Vec<(Call, Fate)>>>;

type Decide = Box<dyn Fn(&Call) -> Fate + Send + Sync>;

pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    process: Arc<AtomicI32>,
    calls: Wire,
    under_way: Arc<UnderWay>,
    left_out: Arc<AtomicUsize>,
}

/// The reads that wait for their answers: how many there are now, and how many there were at the most.
#[derive(Default)]
struct UnderWay {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl UnderWay {
    fn begin(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Proxy {
    /// A proxy for the cloud at `upstream`; `decide` says what happens to each call.
    pub(crate) fn start(upstream: &str, decide: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let cloud = upstream.trim_start_matches("http://").to_owned();
        let process = Arc::new(AtomicI32::new(0));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let under_way = Arc::new(UnderWay::default());
        let left_out = Arc::new(AtomicUsize::new(0));
        let decide: Arc<Decide> = Arc::new(Box::new(decide));
        {
            let (process, calls, under_way) = (process.clone(), calls.clone(), under_way.clone());
            let left_out = left_out.clone();
            std::thread::spawn(move || {
                for client in listener.incoming() {
                    let (cloud, process, calls, decide) =
                        (cloud.clone(), process.clone(), calls.clone(), decide.clone());
                    let (under_way, left_out) = (under_way.clone(), left_out.clone());
                    let client = client.expect("a connection");
                    std::thread::spawn(move || {
                        relay(client, &cloud, &process, &calls, &decide, &under_way, &left_out);
                    });
                }
            });
        }
        Self { endpoint, process, calls, under_way, left_out }
    }

    /// Whom a fatal call kills.
    pub(crate) fn of(&self, child: &std::process::Child) {
        self.process.store(i32::try_from(child.id()).expect("a process id"), Ordering::SeqCst);
    }

    pub(crate) fn wire(&self) -> Wire {
        self.calls.clone()
    }

    /// The calls that came by, with what happened to each.
    pub(crate) fn calls(&self) -> Vec<(Call, Fate)> {
        self.calls.lock().expect("the calls").clone()
    }

    /// How many reads waited for their answers at the same time, at the most.
    pub(crate) fn most_reads(&self) -> usize {
        self.under_way.most.load(Ordering::SeqCst)
    }

    /// How many answers came without something that was in them.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out.load(Ordering::SeqCst)
    }

    /// How many calls came by that would change something.
    pub(crate) fn changes(&self) -> usize {
        self.calls().iter().filter(|(call, _)| call.changes).count()
    }
}

fn relay(
    mut client: TcpStream,
    cloud: &str,
    process: &AtomicI32,
    calls: &Mutex<Vec<(Call, Fate)>>,
    decide: &Arc<Decide>,
    under_way: &UnderWay,
    left_out: &AtomicUsize,
) {
    let kill = || {
        // The caller may not have been named yet: it was only just started.
        while process.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        signal("-KILL", process.load(Ordering::SeqCst));
    };
    while let Some(request) = message(&mut client) {
        let (call, fate) = {
            let mut calls = calls.lock().expect("the calls");
            let text = String::from_utf8_lossy(&request).into_owned();
            let operation = operation(&text);
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let call = Call {
                changes: !["Describe", "List", "Get"].iter().any(|read| operation.starts_with(read)),
                number: calls.len(),
                change: calls.iter().filter(|(call, _)| call.changes).count(),
                head: head.to_owned(),
                body: body.to_owned(),
                access_key: text
                    .split_once("Credential=")
                    .and_then(|(_, scope)| scope.split_once('/'))
                    .map(|(key, _)| key.to_owned())
                    .unwrap_or_default(),
                operation,
            };
            let fate = decide(&call);
            calls.push((call.clone(), fate));
            (call, fate)
        };
        if fate == Fate::KilledBefore {
            return kill();
        }
        if let Fate::Fails(status, code, text) = fate {
            if client.write_all(&failure(&request, status, code, text)).is_err() {
                return;
            }
            continue;
        }
        if !call.changes {
            under_way.begin();
        }
        // A cloud that was stopped leaves its caller without an answer.
        let Ok(mut upstream) = TcpStream::connect(cloud) else { return };
        upstream.write_all(&request).expect("the request is passed on");
        let mut answer = message(&mut upstream).unwrap_or_else(|| panic!("no answer to {}", call.operation));
        if let Fate::Says(text, other) = fate {
            assert_eq!(text.len(), other.len(), "the answer keeps its length");
            answer = String::from_utf8_lossy(&answer).replace(text, other).into_bytes();
        }
        if let Fate::Hides(list, text) = fate {
            let (rest, count) = left_out::without(&answer, list, text);
            answer = rest;
            left_out.fetch_add(usize::from(count > 0), Ordering::SeqCst);
        }
        if let Fate::Late(delay) = fate {
            std::thread::sleep(delay);
        }
        if !call.changes {
            under_way.end();
        }
        match fate {
            Fate::KilledAfter => return kill(),
            Fate::AnswerLost => return,
            _ if client.write_all(&answer).is_err() || closes(&request) => return,
            _ => {}
        }
    }
}

/// Whether the client waits for the end of the connection.
fn closes(request: &[u8]) -> bool {
    String::from_utf8_lossy(request).to_ascii_lowercase().contains("\r\nconnection: close\r\n")
}

/// An error as the service of that request would write it.
fn failure(request: &[u8], status: u16, code: &str, text: &str) -> Vec<u8> {
    let request = String::from_utf8_lossy(request).to_ascii_lowercase();
    let (kind, body) = if request.contains("x-amz-json") {
        ("application/x-amz-json-1.1", format!(r#"{{"__type":"{code}","message":"{text}"}}"#))
    } else if request.contains("version=2016-11-15") {
        (
            "text/xml",
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors><RequestID>1</RequestID></Response>"
            ),
        )
    } else {
        (
            "text/xml",
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
            ),
        )
    };
    let length = body.len();
    format!("HTTP/1.1 {status} Error\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Reads one HTTP message: its head, and as much as its Content-Length or its chunks say. `None` at the end of the connection.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut part = [0; 8192];
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            let whole = if header("transfer-encoding:").is_some_and(|value| value.contains("chunked")) {
                bytes.ends_with(b"0\r\n\r\n")
            } else {
                let length = header("content-length:").and_then(|value| value.trim().parse::<usize>().ok());
                bytes.len() >= head + 4 + length.unwrap_or(0)
            };
            if whole {
                return Some(bytes);
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    }
}

/// The operation of a request, which stands in the body or in X-Amz-Target. Those of the local cloud itself are reads.
fn operation(request: &str) -> String {
    if request.split(' ').nth(1).is_some_and(|path| path.starts_with("/_local/")) {
        return "Get".to_owned();
    }
    let operation = request.split("Action=").nth(1).or_else(|| {
        let (_, target) = request.split_once("x-amz-target: ")?;
        target.split_once('.').map(|(_, operation)| operation)
    });
    let operation: String =
        operation.unwrap_or_default().chars().take_while(char::is_ascii_alphabetic).collect();
    assert!(!operation.is_empty(), "no operation in {request}");
    operation
}
