//! `process::` programs of this machine, started with a list of arguments and never through a shell.

use std::sync::Arc;
use std::time::Duration;

use rhai::{Array, Map};

use super::file::full_path;
use super::secrets::spent;
use crate::clients::process::{self, Command};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::{Function, Holds, Options, describe, optional};
use crate::primitives::namespace::{Call, Namespace};

const RUN: Function = Function {
    name: "run",
    doc: "Runs a program with its arguments, and gives `#{ code, stdout, stderr }`. No shell reads them: nothing needs quoting, and no \
          text can become a command. An effect: a dry run only says it.\n\
          Throws `conflict` where it ends with another code than 0, `not_found` where there is no such program, `timeout`.",
    parameters: &["command: list"],
    returns: "map",
    permissions: &[],
    example: r#"print(process::run(["echo", "hello"]).stdout);"#,
    keys: &[
        optional("folder", Holds::String, "Where it runs; the project's root if not given"),
        optional("env", Holds::Map, "Variables for it, texts or secrets, beside those of this process"),
        optional(
            "input",
            Holds::A("a text or a secret", |value| value.is_string() || spent(value).is_some()),
            "What it reads from its standard input",
        ),
        optional("timeout_s", Holds::Int, "How long it may take, 1 to 86400; without an end if not given"),
        optional("any_code", Holds::Bool, "Another code than 0 is no error"),
    ],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("process", host);
    namespace.with_options(&RUN, run);
    namespace
}

fn run(call: &Call, command: Array, options: &Options) -> Result<Map, Error> {
    let mut words = Vec::new();
    for word in command {
        if spent(&word).is_some() {
            return Err(Error::refused(
                "a secret cannot be an argument: everybody on this machine can read it",
            )
            .help("give it with `input`, or as a variable with `env`"));
        }
        let word = if word.is_int() { word.to_string().into() } else { word };
        let found = describe(&word);
        words.push(
            word.into_string()
                .map_err(|_| Error::invalid(format!("a command is a list of texts, and holds {found}")))?,
        );
    }
    let Some((program, arguments)) = words.split_first().filter(|(program, _)| !program.is_empty()) else {
        return Err(Error::invalid("a command begins with the name of a program")
            .help("process::run([\"echo\", \"hello\"])"));
    };
    let folder = full_path(call, &options.string("folder").unwrap_or_default());
    let limit = options
        .int_in("timeout_s", 1..=86_400)?
        .map(|limit| Duration::from_secs(u64::from(limit.unsigned_abs())));
    let mut command = Command::new(program).arguments(arguments).folder(&folder).timeout(limit);
    for (name, value) in options.map("env").unwrap_or_default() {
        let secret = spent(&value).map(|secret| secret.expose().to_owned());
        let found = describe(&value);
        let text = secret.or_else(|| value.into_string().ok());
        let text = text.ok_or_else(|| {
            Error::invalid(format!("the variable {name} is a text or a secret, and not {found}")).key("env")
        })?;
        command = command.variable(&name, &text);
    }
    if let Some(input) = options.get("input") {
        let secret = spent(input).map(|secret| secret.expose().to_owned());
        command = command.input(secret.or_else(|| input.clone().into_string().ok()).unwrap_or_default());
    }
    call.effect(&format!("run {}", words.join(" ")))?;
    let ran = call.block_without_account(process::run(&command))?;
    if ran.code != Some(0) && !options.bool("any_code").unwrap_or(false) {
        let how = ran
            .code
            .map_or_else(|| "was ended by a signal".to_owned(), |code| format!("ended with code {code}"));
        let said = if ran.stderr.trim().is_empty() { ran.stdout.trim() } else { ran.stderr.trim() };
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        let error = Error::new(Kind::Conflict, format!("{program} {how}: {}", last.join("\n")));
        return Err(error.code(ran.code.map_or_else(String::new, |code| code.to_string())));
    }
    let mut result = Map::new();
    result.insert("code".into(), i64::from(ran.code.unwrap_or(-1)).into());
    result.insert("stdout".into(), ran.stdout.into());
    result.insert("stderr".into(), ran.stderr.into());
    Ok(result)
}
