//! The secrets of a project, searched wherever none may be: on screens, in process arguments, and in every file but those that
//! are there to hold one. Each test that has a local cloud ends with this search.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::harness::Project;
use crate::proxy::Call;

/// What the programs printed, and the command lines of the machine's processes while they ran.
static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Processes are looked at this often, so that looking does not slow them down.
const PAUSE: Duration = Duration::from_millis(100);

static LOOKED: Mutex<Option<Instant>> = Mutex::new(None);

/// A line of a key or certificate that is shorter may stand elsewhere, too.
const SHORTEST: usize = 16;

/// Remembers what a program printed.
pub(crate) fn printed(text: &str) {
    SEEN.lock().expect("what was seen").insert(text.to_owned());
}

/// Remembers the command lines of all processes, as everybody on the machine may read them. Called again and again while a program runs.
pub(crate) fn command_lines() {
    {
        let mut last = LOOKED.lock().expect("when it was looked last");
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        *last = Some(Instant::now());
    }
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    let mut seen = SEEN.lock().expect("what was seen");
    for process in processes.flatten() {
        if let Ok(line) = std::fs::read(process.path().join("cmdline")) {
            seen.insert(String::from_utf8_lossy(&line).into_owned());
        }
    }
}

/// Where a secret that the project's local cloud keeps was seen and may not be: printed, an argument, user data, or a file.
pub(crate) fn search(folder: &Path) -> Vec<String> {
    let (secrets, user_data) = kept(folder);
    search_for(folder, &secrets, &user_data)
}

/// Where a secret is that the calls to an account carry: the field that sets it is the only place for it.
pub(crate) fn search_calls<'a>(folder: &Path, calls: impl Iterator<Item = &'a Call> + Clone) -> Vec<String> {
    let mut secrets = BTreeSet::new();
    let mut bodies = Vec::new();
    for call in calls {
        // Of a request that sets a secret all is looked at but that field.
        let mut rest = call.body.clone();
        match call.operation.as_str() {
            "PutParameter" => {
                let mut body: Value = serde_json::from_str(&call.body).expect("a request in JSON");
                if body["Type"] == "SecureString" {
                    let text = body["Value"].take().as_str().expect("a value").to_owned();
                    secrets.extend(lines(&text));
                }
                rest = body.to_string();
            }
            "CreateDBInstance" | "ModifyDBInstance" => {
                let (passwords, others): (Vec<&str>, Vec<&str>) =
                    call.body.split('&').partition(|field| field.starts_with("MasterUserPassword="));
                secrets
                    .extend(passwords.iter().filter_map(|field| Some(field.split_once('=')?.1.to_owned())));
                rest = others.join("&");
            }
            "RunInstances" => {
                let data = call.body.split('&').find_map(|field| field.strip_prefix("UserData="));
                let data =
                    data.unwrap_or_default().replace("%3D", "=").replace("%2B", "+").replace("%2F", "/");
                let data = STANDARD.decode(data).expect("user data in base64");
                rest.push_str(&String::from_utf8_lossy(&data));
            }
            _ => {}
        }
        bodies.push(rest);
    }
    assert!(!secrets.is_empty(), "no call carried a secret: does this search still know them?");
    search_for(folder, &secrets, &bodies)
}

fn search_for(folder: &Path, secrets: &BTreeSet<String>, sent: &[String]) -> Vec<String> {
    let seen = SEEN.lock().expect("what was seen");
    let mut leaks = Vec::new();
    let mut note = |text: &str, place: &str| {
        if let Some(secret) = secrets.iter().find(|secret| text.contains(*secret)) {
            let start: String = secret.chars().take(4).collect();
            leaks.push(format!("{start}.. is in {place}"));
        }
    };
    for text in seen.iter() {
        note(text, "what a program printed or was started with");
    }
    for text in sent {
        note(text, "user data or a request");
    }
    for file in files(folder) {
        let inside = file.strip_prefix(folder).expect("a file of the folder");
        let may_keep = KEEPERS.iter().any(|keeper| inside.to_string_lossy().contains(keeper));
        let bytes = std::fs::read(&file).unwrap_or_default();
        let private = mode(&file) & 0o077 == 0;
        if !(may_keep && private) {
            note(&String::from_utf8_lossy(&bytes), &inside.display().to_string());
        }
    }
    leaks
}

/// The secrets that the local cloud of the project in `folder` keeps, and the user data of its instances.
fn kept(folder: &Path) -> (BTreeSet<String>, Vec<String>) {
    let (mut secrets, mut user_data) = (BTreeSet::new(), Vec::new());
    let state = files(&folder.join(".ops/local")).into_iter().find(|file| file.ends_with("state.json"));
    // It is replaced as a whole, so that it can be read while the local cloud runs.
    if let Some(Ok(state)) = state.map(std::fs::read) {
        let state = serde_json::from_slice(&state).expect("the local cloud's state is JSON");
        collect(&state, &mut secrets, &mut user_data);
    }
    (secrets, user_data)
}

/// The files that hold secrets by design: then nobody else may read them.
const KEEPERS: &[&str] = &["/state.json", ".ops/pgpass-", ".ops/local/pgpass"];

fn mode(file: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().map_or(0, |metadata| metadata.permissions().mode())
}

/// The lines of a secret that give it away.
fn lines(secret: &str) -> Vec<String> {
    if secret.contains("-----BEGIN CERTIFICATE") {
        return Vec::new();
    }
    let lines = secret.lines().filter(|line| line.len() >= SHORTEST && !line.starts_with("-----"));
    lines.map(str::to_owned).collect()
}

/// Secure strings, line by line where they are keys, passwords that RDS keeps, and what instances were given to run.
fn collect(value: &Value, secrets: &mut BTreeSet<String>, user_data: &mut Vec<String>) {
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
                    let decoded = STANDARD.decode(text).unwrap_or_default();
                    user_data.push(format!("{text}{}", String::from_utf8_lossy(&decoded)));
                }
                collect(field, secrets, user_data);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, secrets, user_data)),
        _ => {}
    }
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

#[test]
fn a_secret_that_gets_out_is_found() {
    let project = Project::empty();
    project.write(
        "token.rhai",
        "stack(\"music-app\");\nlet token = secrets::ensure(\"token\");\nprint(token);\n",
    );
    let ran = project.run_local("token.rhai", &["--yes"]).ended_with(0);
    assert_eq!(ran.stdout, "[redacted]\n");
    assert_eq!(search(&project.path("")), Vec::<String>::new());

    let (mut secrets, _) = kept(&project.path(""));
    let token = secrets.pop_last().expect("the token is kept in the local cloud");
    project.write("notes/today.txt", &format!("the token is {token}\n"));
    let leaks = search(&project.path(""));
    assert!(leaks.len() == 1 && leaks[0].ends_with("is in notes/today.txt"), "{leaks:?}");
    std::fs::remove_file(project.path("notes/today.txt")).expect("the file is removed");
}
