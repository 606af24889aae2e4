//! Commands and scripts on a server, and what came of them.

use std::sync::Arc;
use std::time::Duration;

use rhai::{Array, Dynamic};

use super::Session;
use crate::clients::ssh::{Command, Ended, Kept, Output, Stdin, quoted};
use crate::error::Error;
use crate::primitives::declaration::{Function, Holds, Key, Options, describe, optional};
use crate::primitives::local::secrets::StoredSecret;
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Line;
use crate::secret::Secret;

/// How a command ended, and what it said.
#[derive(Clone)]
pub(super) struct Outcome(Arc<Ended>);

const KEYS: &[Key] = &[
    optional(
        "timeout_s",
        Holds::Int,
        "How long it may run; then it is ended on the server. Without it there is no limit",
    ),
    optional("check", Holds::Bool, "Whether another exit status than 0 is an error; true if not given"),
    optional("quiet", Holds::Bool, "Whether its output is not shown while it runs; false if not given"),
    optional("sudo", Holds::Bool, "Whether it runs as root"),
    optional("sudo_user", Holds::String, "The user that it runs as, with sudo"),
    optional(
        "env",
        Holds::Map,
        "Its environment: texts and secrets. They are sent on its input, and are no arguments that others can read",
    ),
    optional(
        "stdin",
        Holds::A("a string or a secret", |value| value.is_string() || value.is::<StoredSecret>()),
        "What it reads",
    ),
    optional("read_only", Holds::Bool, "It changes nothing on the server: a plan runs it too"),
];

const RUN: Function = Function {
    name: "run",
    doc: "Runs a program with its arguments on the server, and gives how it ended. No argument is ever read by a shell. Its output is shown as it \
          comes, after the server's name.\n\
          Throws `invalid` with the exit status as code, and `timeout`.",
    parameters: &["command: list"],
    returns: "Outcome",
    permissions: &[],
    example: r#"say(ssh::connect("web-1").run(["df", "-h", "/"], #{ timeout_s: 10, read_only: true }).stdout);"#,
    keys: KEYS,
};

const RUN_SCRIPT: Function = Function {
    name: "run_script",
    doc: "Runs a shell script on the server with `sh`, or the shell in its first line (`#!/bin/bash`), and gives how it ended. The text is sent on \
          the shell's input.\n\
          Throws `invalid` with the exit status as code, and `timeout`.",
    parameters: &["script: string"],
    returns: "Outcome",
    permissions: &[],
    example: r#"ssh::connect("web-1").run_script("set -eu; cd /srv/app; ./restart", #{ sudo: true, timeout_s: 60 });"#,
    keys: KEYS,
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .handle::<Outcome>("Outcome")
        .method1_options(&RUN, |call, it: &Session, words: Array, options: &Options| {
            run(call, it, words, options)
        })
        .method1_options(&RUN_SCRIPT, |call, it: &Session, script: String, options: &Options| {
            run_script(call, it, script, options)
        })
        .property("status", "The exit status; -1 where a signal ended it.", |_, it: &Outcome| {
            Ok(if it.0.signal.is_some() { -1 } else { i64::from(it.0.status) })
        })
        .property("ok", "Whether the exit status is 0.", |_, it: &Outcome| {
            Ok(it.0.status == 0 && it.0.signal.is_none())
        })
        .property("signal", "The signal that ended it, or nothing.", |_, it: &Outcome| {
            Ok(it.0.signal.clone().map_or(Dynamic::UNIT, Dynamic::from))
        })
        .property("stdout", "What it printed, without the last line end.", |_, it: &Outcome| {
            text(&it.0.stdout, "stdout")
        })
        .property("stderr", "What it complained of, without the last line end.", |_, it: &Outcome| {
            text(&it.0.stderr, "stderr")
        })
        .property("stdout_bytes", "What it printed, as a blob.", |_, it: &Outcome| {
            whole(&it.0.stdout, "stdout").map(|bytes| Dynamic::from_blob(bytes.to_vec()))
        })
        .property("stdout_size", "How many bytes it printed.", |_, it: &Outcome| {
            Ok(i64::try_from(it.0.stdout.total).unwrap_or(i64::MAX))
        })
        .incomparable(|it: &Outcome| match &it.0.signal {
            Some(signal) => format!("ended by {signal}"),
            None => format!("ended with status {}", it.0.status),
        });
}

fn whole<'a>(kept: &'a Kept, name: &str) -> Result<&'a [u8], Error> {
    if kept.is_whole() {
        return Ok(&kept.bytes);
    }
    Err(Error::invalid(format!(
        "{name} has {} bytes, and only the first {} were kept",
        kept.total,
        kept.bytes.len()
    ))
    .help("write it into a file on the server and fetch that with `download`"))
}

fn text(kept: &Kept, name: &str) -> Result<String, Error> {
    let text = std::str::from_utf8(whole(kept, name)?).map_err(|error| {
        Error::invalid(format!("{name} is no text: byte {} is not UTF-8", error.valid_up_to()))
            .help("read `.stdout_bytes`, which is a blob")
    })?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn run(call: &Call, it: &Session, words: Array, options: &Options) -> Result<Outcome, Error> {
    let mut command = Vec::new();
    for word in words {
        if !(word.is_string() || word.is_int() || word.is_char()) {
            let help = match word.is::<StoredSecret>() {
                true => {
                    "arguments can be read by everybody on the server: give the secret in `env` or `stdin`"
                }
                false => "write it like `run([\"docker\", \"ps\"])`",
            };
            return Err(Error::invalid(format!(
                "a command is a list of texts and numbers, and holds {}",
                describe(&word)
            ))
            .help(help));
        }
        command.push(word.to_string());
    }
    let shown = short(&command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
    perform(call, it, Command { words: command, ..Command::default() }, &shown, options)
}

fn run_script(call: &Call, it: &Session, script: String, options: &Options) -> Result<Outcome, Error> {
    let interpreter = script.lines().next().and_then(|line| line.strip_prefix("#!")).unwrap_or("sh").trim();
    let words: Vec<String> = interpreter.split_whitespace().map(str::to_owned).collect();
    let is_shell = words.iter().any(|word| word.rsplit('/').next().is_some_and(|name| name.ends_with("sh")));
    if !is_shell {
        return Err(Error::invalid(format!("`{interpreter}` in the script's first line is no shell"))
            .help("send the file with `write_file` and run it with `run`"));
    }
    let first =
        script.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!")).unwrap_or_default();
    let shown = format!("script `{}`", short(first));
    let script = Some(Secret::well_known(script.as_str()));
    perform(call, it, Command { words, script, ..Command::default() }, &shown, options)
}

fn perform(
    call: &Call,
    it: &Session,
    mut command: Command,
    shown: &str,
    options: &Options,
) -> Result<Outcome, Error> {
    for (name, value) in options.map("env").unwrap_or_default() {
        command.env.push((variable(&name)?, value_of(&name, &value)?));
    }
    command.sudo = sudo(options);
    let stdin = options.get("stdin").map(|value| value_of("stdin", value)).transpose()?;
    let limit = limit(options)?;
    if options.bool("read_only").unwrap_or(false) {
        call.progress.effect(&format!("read by {shown} on {}", it.title()));
    } else {
        call.effect(&format!("run {shown} on {}", it.title()))?;
    }
    let mut line = |line: &str| call.progress.line(Line::Info, &format!("{} | {line}", it.title()));
    let quiet = options.bool("quiet").unwrap_or(false);
    let ended = it.with(call, &format!("`{shown}`"), limit, async |connection| {
        let stdin = stdin.as_ref().map_or(Stdin::Nothing, |text| Stdin::Bytes(text.expose().as_bytes()));
        let output = Output { line: if quiet { None } else { Some(&mut line) }, moved: None, file: None };
        connection.run(&command, stdin, output).await
    })?;
    let ended = if options.bool("check").unwrap_or(true) { ended.well(shown, it.title())? } else { ended };
    Ok(Outcome(Arc::new(ended)))
}

/// As whom something is done, where that is not the session's user.
pub(super) fn sudo(options: &Options) -> Option<String> {
    let root = options.bool("sudo").unwrap_or(false).then(|| "root".to_owned());
    options.string("sudo_user").or(root)
}

pub(super) fn limit(options: &Options) -> Result<Option<Duration>, Error> {
    let seconds = options.int_in("timeout_s", 1..=7 * 24 * 3600)?;
    Ok(seconds.map(|seconds| Duration::from_secs(u64::from(seconds.unsigned_abs()))))
}

fn variable(name: &str) -> Result<String, Error> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_part) {
        return Err(
            Error::invalid(format!("`{name}` cannot be the name of an environment variable")).key(name)
        );
    }
    Ok(name.to_owned())
}

fn value_of(name: &str, value: &Dynamic) -> Result<Secret, Error> {
    if let Some(secret) = value.clone().try_cast::<StoredSecret>() {
        return Ok(secret.value);
    }
    if value.is_string() || value.is_int() || value.is_bool() {
        return Ok(Secret::well_known(value.to_string().as_str()));
    }
    Err(Error::invalid(format!(
        "the value of `{name}` is a text, a number or a secret, and not {}",
        describe(value)
    ))
    .key(name))
}

fn short(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(101).collect();
    match line.char_indices().nth(100) {
        Some((end, _)) => format!("{} ..", &line[..end]),
        None => line,
    }
}
