//! Secrets that come from elsewhere: a variable, a file, a person, a parameter of SSM, a secret of Secrets Manager.

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;

use rhai::Dynamic;
use serde_json::{Value, json};

use super::StoredSecret;
use crate::clients::aws::{failure, request};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::local::env;
use crate::primitives::local::file::{full_path, read_text, write_text};
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Line;
use crate::secret::Secret;

const ENV: Function = Function {
    name: "env",
    doc: "A variable of this process, as a secret. Throws `not_found` where it is not set.",
    parameters: &["name: string"],
    returns: "Password",
    permissions: &[],
    example: r#"let token = attempt(|| secrets::env("GITHUB_TOKEN"));"#,
    keys: &[],
};

const FILE: Function = Function {
    name: "file",
    doc: "The text of a file as a secret, such as a private key. Says so where others on this machine may read it. Throws `not_found`.",
    parameters: &["path: string"],
    returns: "Password",
    permissions: &[],
    example: r#"
        file::write("key.pem", #{ text: "example\n", mode: "0600" });
        print(secrets::file("key.pem"));"#,
    keys: &[],
};

const WRITE_FILE: Function = Function {
    name: "write_file",
    doc: "Writes a secret into a file that its owner alone can read, and says whether it was another one.",
    parameters: &["path: string", "secret: Secret"],
    returns: "bool",
    permissions: &[],
    example: r#"
        file::write("key.pem", #{ text: "example\n", mode: "0600" });
        secrets::write_file("copy.pem", secrets::file("key.pem"));"#,
    keys: &[],
};

const PROMPT: Function = Function {
    name: "prompt",
    doc: "Asks whoever watches for a secret; what is typed is not shown. Without a terminal it is the next line of the standard input. \
          Throws `refused` where there is nobody to ask.",
    parameters: &["question: string"],
    returns: "Password",
    permissions: &[],
    example: r#"let password = attempt(|| secrets::prompt("Password of the mail account"));"#,
    keys: &[],
};

const PARAMETER: Function = Function {
    name: "parameter",
    doc: "A parameter of SSM by its whole path, as a secret: also one of another stack. Throws `not_found`. SSM `GetParameter`.",
    parameters: &["path: string"],
    returns: "Password",
    permissions: &["ssm:GetParameter"],
    example: r#"let outcome = attempt(|| secrets::parameter("/shared/mail/password"));"#,
    keys: &[],
};

const GET_SECRET_VALUE: Function = Function {
    name: "get_secret_value",
    doc: "A secret of Secrets Manager by its name or its ARN, as it is now. Throws `not_found`, and `invalid` for a field that it does not \
          hold. Secrets Manager `GetSecretValue`.",
    parameters: &["id: string"],
    returns: "Password",
    permissions: &["secretsmanager:GetSecretValue"],
    example: r#"let password = attempt(|| secrets::get_secret_value("music/mail", #{ field: "password" }));"#,
    keys: &[optional(
        "field",
        Holds::String,
        "Which value of a secret that is a JSON object, such as `password`; the whole secret if not given",
    )],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .function1(&ENV, |_, name: String| {
            env::find(&name).map(Secret::new).ok_or_else(|| env::unset(&name, "the environment"))
        })
        .function1(&FILE, file)
        .function2(&WRITE_FILE, write_file)
        .function1(&PROMPT, prompt)
        .function1(&PARAMETER, parameter)
        .with_options(&GET_SECRET_VALUE, |call, id: String, options: &Options| {
            call.block(secret_value(call, &id, options.string("field").as_deref()))
        });
}

/// The secret that a value of a script is, where it is spent.
pub fn spent(value: &Dynamic) -> Option<Secret> {
    let stored = value.read_lock::<StoredSecret>().map(|secret| secret.value.clone());
    stored.or_else(|| value.read_lock::<Secret>().map(|secret| secret.clone()))
}

fn file(call: &Call, path: String) -> Result<Secret, Error> {
    let full = full_path(call, &path);
    let text = read_text(&full)?;
    if std::fs::metadata(&full).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        let text = format!("others on this machine may read {path}: `chmod 600 {path}`");
        call.progress.line(Line::Warning, &text);
    }
    Ok(Secret::new(text))
}

fn write_file(call: &Call, path: String, secret: Dynamic) -> Result<bool, Error> {
    let secret = spent(&secret).ok_or_else(|| {
        Error::invalid(format!("what is written to {path} is no secret"))
            .help("write other texts with file::write")
    })?;
    let full = full_path(call, &path);
    let private = std::fs::metadata(&full).is_ok_and(|found| found.permissions().mode() & 0o077 == 0);
    if private && read_text(&full).is_ok_and(|found| found == secret.expose()) {
        return Ok(false);
    }
    call.effect(&format!("write {path}"))?;
    write_text(&full, secret.expose(), Some(0o600))?;
    Ok(true)
}

fn prompt(call: &Call, question: String) -> Result<Secret, Error> {
    let nobody = || {
        Error::refused(format!("nobody can be asked: {question}"))
            .help("run it on a terminal, or give the secret on the standard input: `.. < file`")
    };
    let stdin = std::io::stdin();
    let hidden = stdin.is_terminal();
    if hidden {
        eprint!("{question}: ");
        // A prompt that cannot be shown is typed blind.
        _ = std::io::stderr().flush();
    }
    let echo = hidden.then(Echo::off).transpose()?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    drop(echo);
    if hidden {
        eprintln!();
    }
    if call.cancelled() {
        return Err(Error::interrupted());
    }
    read.map_err(|source| Error::io("read the standard input", &source))?;
    let typed = line.trim_end_matches(['\r', '\n']);
    if typed.is_empty() { Err(nobody()) } else { Ok(Secret::new(typed)) }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Echo;

impl Echo {
    fn off() -> Result<Self, Error> {
        stty("-echo").map(|()| Echo)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // A terminal that has gone away shows nothing anyway.
        _ = stty("echo");
    }
}

/// The terminal's own program: its settings have no safe interface in the standard library.
fn stty(setting: &str) -> Result<(), Error> {
    let done = std::process::Command::new("stty").arg(setting).stdin(std::process::Stdio::inherit()).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Error::new(Kind::Unavailable, "the terminal cannot be told to hide what is typed")
            .help("give the secret on the standard input: `.. < file`")),
    }
}

fn parameter(call: &Call, path: String) -> Result<Secret, Error> {
    let found = call.block(async {
        let request = call.aws()?.ssm.get_parameter().name(&path).with_decryption(true);
        request.send().await.map_err(|error| failure("ssm", "GetParameter", error))
    })?;
    let value = found.parameter.and_then(|parameter| parameter.value);
    value.map(Secret::new).ok_or_else(|| Error::internal(format!("SSM gave no value of {path}")))
}

/// The current value of a secret of Secrets Manager, or of one field of it.
pub async fn secret_value(host: &Host, id: &str, field: Option<&str>) -> Result<Secret, Error> {
    let answer =
        request(&*host.aws()?, "secretsmanager", "GetSecretValue", &json!({ "SecretId": id })).await?;
    let Some(text) = answer.get("SecretString").and_then(Value::as_str) else {
        return Err(Error::invalid(format!("the secret {id} holds bytes, and no text")));
    };
    // In custody before anything can go wrong with it.
    let whole = Secret::new(text);
    let Some(field) = field else { return Ok(whole) };
    let object: Value = serde_json::from_str(text).unwrap_or_default();
    match object.get(field) {
        Some(Value::String(text)) => Ok(Secret::new(text.as_str())),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Secret::new(value.to_string())),
        Some(_) => Err(Error::invalid(format!("`{field}` of the secret {id} is no text")).key("field")),
        None if object.is_object() => {
            Err(Error::invalid(format!("the secret {id} has no field `{field}`")).key("field"))
        }
        None => Err(Error::invalid(format!("the secret {id} is no JSON object, and has no fields"))
            .key("field")
            .help("leave `field` out to get the whole text")),
    }
}
