//! The secrets of a project, searched wherever none may be: on screens, in process arguments and environments, in what was sent to an
//! account, and in every file but those that are there to hold one. Each test that has a project ends with this search.

mod encodings;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::harness::Project;
use crate::proxy::{Call, Wire};

/// What was seen since the test began, each text once: what programs printed, their command lines and environments, files that may be
/// gone by the end.
static SEEN: Mutex<Option<Seen>> = Mutex::new(None);

#[derive(Default)]
struct Seen {
    texts: Vec<(String, String)>,
    known: HashSet<String>,
}

/// The projects that there are.
static WATCHES: Mutex<Vec<Weak<Watch>>> = Mutex::new(Vec::new());

/// Processes are looked at this often, so that looking does not slow them down.
const PAUSE: Duration = Duration::from_millis(100);

static LOOKED: Mutex<Option<Instant>> = Mutex::new(None);

/// A line of a key or certificate that is shorter may stand elsewhere, too.
const SHORTEST: usize = 16;

/// The files that hold secrets by design: then nobody else may read them.
const KEEPERS: &[&str] = &["/state.json", ".ops/pgpass-", ".ops/local/pgpass", "keys/", "askpass"];

/// Where root's databases lie; those of others are in their project.
const DATABASES: &str = "/var/lib/ops-local";

/// A file that is larger is searched as it is, and not decoded: it is no text of ours.
const LARGE: usize = 1 << 20;

/// The secrets of one project, as they come up, and what it sent.
pub(crate) struct Watch {
    folder: PathBuf,
    /// What was seen before cannot hold them.
    began: usize,
    secrets: Mutex<BTreeSet<String>>,
    wires: Mutex<Vec<Wire>>,
    /// A test of the search itself has let its secret out.
    forgiven: AtomicBool,
}

/// Remembers what a program printed.
pub(crate) fn printed(text: &str) {
    remember(text, "what a program printed");
}

fn remember(text: &str, place: &str) {
    let mut seen = SEEN.lock().expect("what was seen");
    let seen = seen.get_or_insert_default();
    if seen.known.insert(text.to_owned()) {
        seen.texts.push((text.to_owned(), place.to_owned()));
    }
}

/// Remembers the command lines of all processes, as everybody on the machine may read them, and their environments. Called again and
/// again while a program runs.
pub(crate) fn processes() {
    {
        let mut last = LOOKED.lock().expect("when it was looked last");
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        *last = Some(Instant::now());
    }
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let read = |name: &str| {
            let bytes = std::fs::read(process.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        // In this order: of a process that is just becoming another program, the words are those of the new one.
        let environment = read("environ");
        let words = read("cmdline");
        remember(&words, "what a program was started with");
        // A service has its secrets from its environment, as a container does: its own user alone can read that.
        if words.split('\0').nth(1) != Some("app-server") {
            remember(&environment, &format!("the environment of {}", words.replace('\0', " ")));
        }
    }
}

/// Called when a program has ended: what it left may be gone after the next one.
pub(crate) fn ended() {
    let watches: Vec<_> = WATCHES.lock().expect("the projects").iter().filter_map(Weak::upgrade).collect();
    for watch in watches {
        watch.collect();
    }
}

impl Watch {
    pub(crate) fn start(folder: &Path) -> Arc<Self> {
        let began = SEEN.lock().expect("what was seen").get_or_insert_default().texts.len();
        let watch = Arc::new(Self {
            folder: folder.to_owned(),
            began,
            secrets: Mutex::default(),
            wires: Mutex::default(),
            forgiven: AtomicBool::default(),
        });
        let mut watches = WATCHES.lock().expect("the projects");
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(&watch));
        watch
    }

    /// Everything that is sent over this is the project's.
    pub(crate) fn wire(&self, wire: &Wire) {
        let mut wires = self.wires.lock().expect("the wires");
        if !wires.iter().any(|known| Arc::ptr_eq(known, wire)) {
            wires.push(wire.clone());
        }
    }

    /// How many secrets have come up so far.
    pub(crate) fn count(&self) -> usize {
        self.secrets.lock().expect("the secrets").len() + self.sent().0.len()
    }

    /// Takes note of the secrets that there are now, and of what will be gone.
    fn collect(&self) {
        let mut secrets = BTreeSet::new();
        for key in files(&self.folder.join("keys")) {
            secrets.extend(lines(&std::fs::read_to_string(key).unwrap_or_default()));
        }
        let state =
            files(&self.folder.join(".ops/local")).into_iter().find(|file| file.ends_with("state.json"));
        // It is replaced as a whole, so that it can be read while the local cloud runs.
        if let Some(Ok(state)) = state.map(std::fs::read) {
            let state = serde_json::from_slice(&state).expect("the local cloud's state is JSON");
            kept(&state, &mut secrets);
        }
        self.secrets.lock().expect("the secrets").extend(secrets);
        for file in state_files(&self.folder).into_iter().chain(files(&self.folder.join(".ops/journal"))) {
            remember(&std::fs::read_to_string(&file).unwrap_or_default(), "the state or the journal");
        }
        for log in database_logs(Path::new(DATABASES)) {
            remember(&std::fs::read_to_string(&log).unwrap_or_default(), "the log of a database");
        }
    }

    fn inside(&self, file: &Path) -> String {
        file.strip_prefix(&self.folder).expect("a file of the folder").to_string_lossy().into_owned()
    }

    /// The secrets that the calls to an account carry, each in the one field that sets it, and all the rest of these calls.
    fn sent(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut secrets, mut rest) = (BTreeSet::new(), BTreeSet::new());
        for wire in self.wires.lock().expect("the wires").iter() {
            for (call, _) in wire.lock().expect("the calls").iter() {
                rest.extend(call.head.lines().map(str::to_owned));
                rest.insert(apart(call, &mut secrets));
            }
        }
        (secrets, rest)
    }

    /// Where a secret of the project is and may not be.
    pub(crate) fn leaks(&self) -> Vec<String> {
        self.collect();
        let (mut secrets, sent) = self.sent();
        secrets.extend(self.secrets.lock().expect("the secrets").iter().cloned());
        let forms: Vec<(String, String)> = secrets
            .iter()
            .flat_map(|secret| encodings::forms(secret).into_iter().map(move |form| (form, secret.clone())))
            .collect();
        let mut leaks = Vec::new();
        let mut note = |text: &str, place: &str| {
            let views = if text.len() < LARGE { encodings::views(text) } else { vec![text.to_owned()] };
            for view in views {
                if let Some((_, secret)) = forms.iter().find(|(form, _)| view.contains(form)) {
                    let start: String = secret.chars().take(4).collect();
                    leaks.push(format!("{start}.. is in {place}"));
                    return;
                }
            }
        };
        if !forms.is_empty() {
            let seen = SEEN.lock().expect("what was seen");
            for (text, place) in seen.iter().flat_map(|seen| &seen.texts[self.began..]) {
                note(text, place);
            }
            for text in &sent {
                note(text, "a request");
            }
        }
        for file in files(&self.folder) {
            let inside = self.inside(&file);
            let may_keep = KEEPERS.iter().any(|keeper| inside.contains(keeper));
            if may_keep && mode(&file) & 0o077 == 0 {
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap_or_default()).into_owned();
            if !forms.is_empty() {
                note(&text, &inside);
            } else if text.len() < LARGE {
                // The secrets may be those of another project, whose account this one uses.
                remember(&text, "the folder of another project");
            }
        }
        if self.forgiven.load(Ordering::SeqCst) { Vec::new() } else { leaks }
    }
}

fn mode(file: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().map_or(0, |metadata| metadata.permissions().mode())
}

/// The lines of a secret that give it away.
fn lines(secret: &str) -> Vec<String> {
    if secret.contains("-----BEGIN CERTIFICATE") {
        return Vec::new();
    }
    // The server's settings are secure strings together; its database's address has no password in it.
    if secret.starts_with("postgres://") && !secret.contains('@') {
        return Vec::new();
    }
    let lines = secret.lines().filter(|line| line.len() >= SHORTEST && !line.starts_with("-----"));
    lines.map(str::to_owned).collect()
}

/// Takes the secret out of the field that sets it, and gives the rest of the request.
fn apart(call: &Call, secrets: &mut BTreeSet<String>) -> String {
    let in_json = |field: &str, is_secret: &dyn Fn(&Value) -> bool, secrets: &mut BTreeSet<String>| {
        let mut body: Value = serde_json::from_str(&call.body).expect("a request in JSON");
        if is_secret(&body)
            && let Some(text) = body[field].take().as_str()
        {
            secrets.extend(lines(text));
        }
        body.to_string()
    };
    match call.operation.as_str() {
        "PutParameter" => in_json("Value", &|body| body["Type"] == "SecureString", secrets),
        "CreateSecret" | "PutSecretValue" | "UpdateSecret" => in_json("SecretString", &|_| true, secrets),
        "CreateDBInstance" | "ModifyDBInstance" => {
            let (passwords, others): (Vec<&str>, Vec<&str>) =
                call.body.split('&').partition(|field| field.starts_with("MasterUserPassword="));
            for password in passwords.iter().filter_map(|field| Some(field.split_once('=')?.1)) {
                let password = password.replace('+', " ");
                secrets.insert(percent_decode_str(&password).decode_utf8_lossy().into_owned());
            }
            others.join("&")
        }
        _ => call.body.clone(),
    }
}

/// Secure strings, line by line where they are keys, and passwords that RDS keeps. What instances were given to run was seen by somebody.
fn kept(value: &Value, secrets: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if fields.get("kind").is_some_and(|kind| kind == "SecureString")
                && let Some(text) = fields.get("value").and_then(Value::as_str)
            {
                secrets.extend(lines(text));
            }
            if fields.get("owner").is_some_and(|owner| owner == "rds") {
                for version in fields["versions"].as_object().expect("the versions of a secret").values() {
                    let text = version["content"]["SecretString"].as_str().expect("what RDS keeps is text");
                    let kept: Value = serde_json::from_str(text).expect("what RDS keeps is JSON");
                    secrets.insert(kept["password"].as_str().expect("a password").to_owned());
                }
            }
            for (name, field) in fields {
                if name == "user_data"
                    && let Some(text) = field.as_str()
                {
                    let plain = STANDARD.decode(text).unwrap_or_default();
                    remember(&String::from_utf8_lossy(&plain), "user data");
                }
                kept(field, secrets);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| kept(element, secrets)),
        _ => {}
    }
}

/// What says how a deployment is: a clean-up removes it.
fn state_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("deploy_config"));
    named.map(|entry| entry.path()).collect()
}

/// What databases write about their clients; their data is not looked at.
fn database_logs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name == "postgres.log" {
            found.push(entry.path());
        } else if name != "data" && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(database_logs(&entry.path()));
        }
    }
    found
}

/// All files below a folder; links are not followed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// One secret in the local cloud, and its text.
fn with_a_token() -> (Project, String) {
    let project = Project::empty();
    project.write(
        "token.rhai",
        "stack(\"music-app\");\nlet token = secrets::ensure(\"token\");\nprint(token);\n",
    );
    let ran = project.run_local("token.rhai", &["--yes"]).ended_with(0);
    assert_eq!(ran.stdout, "[redacted]\n");
    let token = project.watch().secrets.lock().expect("the secrets").first().cloned();
    (project, token.expect("the token is kept in the local cloud"))
}

#[test]
fn a_secret_that_gets_into_a_file_is_found() {
    let (project, token) = with_a_token();
    assert_eq!(project.watch().leaks(), Vec::<String>::new());
    project.write("notes/today.txt", &format!("the token is {token}\n"));
    let leaks = project.watch().leaks();
    assert!(leaks.len() == 1 && leaks[0].ends_with("is in notes/today.txt"), "{leaks:?}");
    std::fs::remove_file(project.path("notes/today.txt")).expect("the file is removed");

    // A file that keeps secrets is for its user alone.
    project.write("keys/mine", &format!("{token}\n"));
    assert!(project.watch().leaks().iter().any(|leak| leak.ends_with("is in keys/mine")));
    std::fs::remove_file(project.path("keys/mine")).expect("the file is removed");
}

#[test]
fn a_secret_that_a_program_is_started_with_prints_or_leaves_for_a_while_is_found() {
    let argument = |token: &str| vec!["-c".to_owned(), "sleep 1".to_owned(), token.to_owned()];
    let quiet = |_: &str| vec!["-c".to_owned(), "sleep 1".to_owned()];
    let printing = |token: &str| vec!["-c".to_owned(), format!("printf %s {}", STANDARD.encode(token))];
    type Words = fn(&str) -> Vec<String>;
    let cases: [(Words, &str, &str); 4] = [
        (argument, "", "started with"),
        (quiet, "SECRET", "the environment of"),
        (printing, "", "printed"),
        (quiet, "journal", "the journal"),
    ];
    for (words, more, place) in cases {
        let (project, token) = with_a_token();
        let words = words(&token);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = project.program(Path::new("/bin/sh"), &words);
        match more {
            "SECRET" => _ = command.env(more, &token),
            "journal" => project.write(".ops/journal/x", &token),
            _ => {}
        }
        crate::harness::finish(command).ended_with(0);
        _ = std::fs::remove_file(project.path(".ops/journal/x"));
        let leaks = project.watch().leaks();
        assert!(leaks.iter().any(|leak| leak.contains(place)), "{place}: {leaks:?}");
        project.watch().forgiven.store(true, Ordering::SeqCst);
    }
}
