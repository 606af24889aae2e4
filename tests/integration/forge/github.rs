//! A stand-in for GitHub's API: checks what it is asked, opens what is sealed for it with its private key, and keeps it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::SecretKey;
use serde_json::{Value, json};
use ssh_key::rand_core::OsRng;

/// An answer that the stand-in is told to give.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, message: &str) -> Self {
        Answer { status, headers: Vec::new(), body: json!({ "message": message }).to_string() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

struct Held {
    value: String,
    updated: u32,
}

struct State {
    repository: String,
    token: String,
    key: SecretKey,
    secrets: BTreeMap<String, Held>,
    puts: usize,
    clock: u32,
    to_put: BTreeMap<String, Answer>,
    to_all: Option<Answer>,
}

/// One server, until the test ends.
pub(crate) struct StandIn {
    address: String,
    state: Arc<Mutex<State>>,
}

impl StandIn {
    pub(crate) fn start(repository: &str, token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(State {
            repository: repository.to_owned(),
            token: token.to_owned(),
            key: SecretKey::generate(&mut OsRng),
            secrets: BTreeMap::new(),
            puts: 0,
            clock: 0,
            to_put: BTreeMap::new(),
            to_all: None,
        }));
        let served = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let served = served.clone();
                std::thread::spawn(move || serve(stream.expect("a connection"), &served));
            }
        });
        StandIn { address, state }
    }

    /// With a path before the routes, as an enterprise server has.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/v3", self.address)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("the stand-in has not failed")
    }

    /// Names and values, as they were before they were sealed.
    pub(crate) fn secrets(&self) -> Vec<(String, String)> {
        self.state().secrets.iter().map(|(name, held)| (name.clone(), held.value.clone())).collect()
    }

    pub(crate) fn puts(&self) -> usize {
        self.state().puts
    }

    /// Somebody else sets a secret.
    pub(crate) fn touch(&self, name: &str) {
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        state.secrets.get_mut(name).expect("it is there").updated = now;
    }

    pub(crate) fn answer_put(&self, name: &str, answer: Answer) {
        self.state().to_put.insert(name.to_owned(), answer);
    }

    pub(crate) fn answer_all(&self, answer: Answer) {
        self.state().to_all = Some(answer);
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let (method, path) =
            (words.next().expect("a method").to_owned(), words.next().expect("a path").to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let answer = answer(&mut state.lock().expect("the state"), &method, &path, &headers, &body);
        let mut text = format!("HTTP/1.1 {} x\r\n", answer.status);
        for (name, value) in &answer.headers {
            text += &format!("{name}: {value}\r\n");
        }
        let body = if answer.status == 204 { "" } else { &answer.body };
        text += &format!("content-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(
    state: &mut State,
    method: &str,
    path: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> Answer {
    if let Some(answer) = &state.to_all {
        return answer.clone();
    }
    let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    if header("authorization") != format!("Bearer {}", state.token) {
        return Answer::new(401, "Bad credentials");
    }
    let wanted = [("x-github-api-version", "2022-11-28"), ("accept", "application/vnd.github+json")];
    for (name, value) in wanted {
        if header(name) != value {
            return Answer::new(400, &format!("{name} is {:?}", header(name)));
        }
    }
    if header("user-agent").is_empty() {
        return Answer::new(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
        );
    }
    let route = format!("/api/v3/repos/{}/actions/secrets", state.repository);
    let Some(rest) = path.strip_prefix(&route) else { return Answer::new(404, "Not Found") };
    let json = |value: Value| Answer { status: 200, headers: Vec::new(), body: value.to_string() };
    let known = |name: &str, held: &Held| json!({ "name": name, "created_at": "2026-01-01T00:00:00Z", "updated_at": format!("2026-01-01T00:00:{:02}Z", held.updated) });
    match (method, rest.split('?').next().unwrap_or_default()) {
        ("GET", "") => {
            let all: Vec<_> = state.secrets.iter().map(|(name, held)| known(name, held)).collect();
            json(json!({ "total_count": all.len(), "secrets": all }))
        }
        ("GET", "/public-key") => {
            json(json!({ "key_id": "k1", "key": STANDARD.encode(state.key.public_key().as_bytes()) }))
        }
        ("GET", name) => match state.secrets.get(&name[1..]) {
            Some(held) => json(known(&name[1..], held)),
            None => Answer::new(404, "Not Found"),
        },
        ("PUT", name) => put(state, &name[1..], body),
        _ => Answer::new(405, "Method Not Allowed"),
    }
}

/// 201 for a new secret, 204 for one that was there; 422 for what was not sealed for this key.
fn put(state: &mut State, name: &str, body: &[u8]) -> Answer {
    if let Some(answer) = state.to_put.get(name) {
        return answer.clone();
    }
    let body: Value = serde_json::from_slice(body).expect("a body in JSON");
    if body["key_id"] != "k1" {
        return Answer::new(422, "the key is not the repository's");
    }
    let sealed = STANDARD.decode(body["encrypted_value"].as_str().expect("a text")).expect("base64");
    let Ok(opened) = state.key.unseal(&sealed) else { return Answer::new(422, "it cannot be opened") };
    state.puts += 1;
    state.clock += 1;
    let held = Held { value: String::from_utf8(opened).expect("a text"), updated: state.clock };
    let status = if state.secrets.insert(name.to_owned(), held).is_some() { 204 } else { 201 };
    Answer { status, headers: Vec::new(), body: "{}".to_owned() }
}
