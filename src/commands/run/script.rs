//! Runs the script on a thread of its own, does what was deferred, and says how all of it ended.

use std::process::ExitCode;
use std::sync::Arc;

use rhai::{EvalAltResult, Scope};

use super::{HostFlags, USAGE};
use crate::commands::stacks;
use crate::engine::{self, Prepared};
use crate::error::{Error, Kind, LOCKED, say};
use crate::host::Host;
use crate::page::Ending;
use crate::plan;
use crate::playbook::Playbook;
use crate::progress::{Line, result};
use crate::report::Reporter;
use crate::sources::Sources;

/// The exit code of a plan with `--exit-code` that has something to change.
const PENDING: u8 = 3;

/// Runs a script on a thread with a large stack, outside the runtime: blocking clients may live there.
pub fn on_script_thread(run: impl FnOnce() -> ExitCode + Send) -> ExitCode {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("playbook".to_owned()).stack_size(engine::STACK_SIZE);
        match thread.spawn_scoped(scope, run).map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(code)) => code,
            Ok(Err(_)) => {
                say("error: ops itself failed; the lines above say where. Please report it.");
                ExitCode::FAILURE
            }
            Err(source) => {
                Error::io("start the playbook's thread", &source).print();
                ExitCode::FAILURE
            }
        }
    })
}

/// How a run ended.
pub(super) struct Outcome {
    pub(super) code: ExitCode,
    pub(super) ending: Ending,
    /// Each failure, as it was drawn on the screen.
    pub(super) errors: Vec<String>,
    /// The playbook's result.
    pub(super) output: Option<serde_json::Value>,
}

impl Outcome {
    fn failed(code: ExitCode, errors: Vec<String>) -> Self {
        Outcome { code, ending: Ending::Failed, errors, output: None }
    }

    /// The end of a run in which `error` was not caught.
    fn of(error: Option<&Error>, drawn: Vec<String>) -> Self {
        let refused = error.is_some_and(|error| error.kind == Kind::Refused || error.code == LOCKED);
        let ending = if refused { Ending::Refused } else { Ending::Failed };
        Outcome {
            code: error.map_or(ExitCode::FAILURE, Error::exit_code),
            ending,
            errors: drawn,
            output: None,
        }
    }
}

pub(super) fn execute(
    host: &Arc<Host>,
    playbook: &Playbook,
    prepared: &Prepared,
    sources: &Sources,
    flags: &HostFlags,
) -> Outcome {
    let reporter = Reporter {
        sources,
        functions: &prepared.functions,
        types: &prepared.types,
        describe: &engine::describe,
        colour: host.progress.colour(),
    };
    let mut ast = match prepared.engine.compile(&**playbook.text()) {
        Ok(ast) => ast,
        Err(error) => {
            say(&reporter.syntax(playbook.source(), &error));
            let drawn = plain(&reporter).syntax(playbook.source(), &error);
            return Outcome::failed(ExitCode::from(USAGE), vec![drawn]);
        }
    };
    ast.set_source(playbook.source());
    let ran = prepared.engine.run_ast_with_scope(&mut Scope::new(), &ast);
    let chosen = ran.as_ref().err().and_then(|error| engine::exit_code(error));
    let end_of_plan = ran.as_ref().err().filter(|_| host.dry_run).and_then(|error| plan::end(error));
    let ended = match (ran, chosen, end_of_plan) {
        (Err(error), None, Some(why)) => {
            say_end_of_plan(host, &ast, playbook.source(), &error, &why);
            Ok(())
        }
        // What was started is waited for, unless the script has ended itself with a failure.
        (Ok(()), ..) | (Err(_), Some(0), _) => host.settle().map_err(Ended::Host),
        (Err(_), Some(_), _) => Ok(()),
        (Err(error), None, None) => Err(Ended::Script(error)),
    };
    let interrupted = host.cancelled();
    if let Err(ended) = &ended
        && !interrupted
    {
        ended.tell(host);
    }
    let tidied = host.uninterrupted(|| run_deferred(host, prepared));
    if let Err(error) = host.uninterrupted(|| host.unlock()) {
        host.progress.line(
            Line::Warning,
            &format!("the stack's lock was not given back, and ends in a minute: {error}"),
        );
    }
    if host.used() {
        host.progress.recap();
        if (ended.is_err() || host.is_empty())
            && let Some(meant) = stacks::meant(host)
        {
            let stack = host.stack().unwrap_or_default();
            let text = format!("nothing is known here of the stack `{stack}`; did you mean `{meant}`?");
            host.progress.line(Line::Warning, &text);
        }
    }
    let mut drawn = Vec::new();
    for error in &tidied {
        say(&reporter.runtime(playbook.source(), error));
        drawn.push(plain(&reporter).runtime(playbook.source(), error));
    }
    let ended = match tidied.into_iter().next() {
        Some(error) if ended.is_ok() => Err(Ended::Deferred(error)),
        _ => ended,
    };
    // Whatever it was that the interruption made fail, or did not.
    if interrupted {
        host.progress.line(Line::Warning, "interrupted; run the same command again to go on");
        return Outcome {
            code: Error::interrupted().exit_code(),
            ending: Ending::Interrupted,
            errors: drawn,
            output: None,
        };
    }
    match ended {
        Ok(()) => {
            let output = host.take_output();
            if let Some(output) = &output {
                print_output(output, flags.json);
            }
            let pending = flags.exit_code && host.progress.pending();
            let code = chosen.unwrap_or(if pending { PENDING } else { 0 });
            let ending = match code {
                _ if host.dry_run => Ending::Planned,
                0 => Ending::Done,
                _ => Ending::Failed,
            };
            Outcome { code: ExitCode::from(code), ending, errors: drawn, output }
        }
        Err(Ended::Host(error)) => {
            error.print();
            drawn.push(error.text());
            Outcome::of(Some(&error), drawn)
        }
        Err(Ended::Deferred(error)) => Outcome::of(engine::host_error(&error).as_ref(), drawn),
        Err(Ended::Script(error)) => {
            say(&reporter.runtime(playbook.source(), &error));
            drawn.insert(0, plain(&reporter).runtime(playbook.source(), &error));
            Outcome::of(engine::host_error(&error).as_ref(), drawn)
        }
    }
}

/// The same reporter without colours.
fn plain<'a>(reporter: &Reporter<'a>) -> Reporter<'a> {
    Reporter { colour: false, ..*reporter }
}

/// Runs what the script has deferred, and gives what failed.
pub fn run_deferred(host: &Host, prepared: &Prepared) -> Vec<EvalAltResult> {
    let mut failures = Vec::new();
    while let Some(deferred) = host.next_deferred() {
        failures.extend(deferred(&prepared.engine).err().map(|error| *error));
    }
    failures
}

/// Says how far a plan got. What comes after the end may change more.
fn say_end_of_plan(host: &Host, ast: &rhai::AST, file: &str, error: &EvalAltResult, why: &str) {
    let mut steps = 0_usize;
    ast.walk(&mut |nodes| {
        let call = match nodes.last() {
            Some(rhai::ASTNode::Expr(rhai::Expr::FnCall(call, _))) => Some(call),
            Some(rhai::ASTNode::Stmt(rhai::Stmt::FnCall(call, _))) => Some(call),
            _ => None,
        };
        steps += usize::from(call.is_some_and(|call| call.name == "step"));
        true
    });
    let file = file.rsplit('/').next().unwrap_or(file);
    let place = error
        .unwrap_inner()
        .position()
        .line()
        .map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    host.progress.line(Line::Warning, &format!("the plan ends at {place}: {why}"));
    let begun = host.progress.steps();
    let rest = match steps.saturating_sub(begun) {
        0 => String::new(),
        1 => format!("{begun} of {steps} steps were planned, 1 was not reached; "),
        rest => format!("{begun} of {steps} steps were planned, {rest} were not reached; "),
    };
    host.progress.line(Line::Warning, &format!("{rest}what comes after it is not in this plan"));
    host.progress.left_out();
}

/// How a run failed: at a place of the script, or in what it had started.
enum Ended {
    Script(Box<EvalAltResult>),
    /// In what was to run at the end; that has been said.
    Deferred(EvalAltResult),
    Host(Error),
}

impl Ended {
    /// Lets the script's `on_failure` know why. A run that was refused has not failed.
    fn tell(&self, host: &Host) {
        let (error, thrown) = match self {
            Ended::Host(error) => (Some(error.clone()), None),
            Ended::Script(error) => (engine::host_error(error), Some(error.unwrap_inner())),
            // What ran at the end has heard why by then.
            Ended::Deferred(_) => return,
        };
        let text = match (error, thrown) {
            (Some(error), _) if error.kind == Kind::Refused || error.code == LOCKED => return,
            (Some(error), _) => error.title(),
            (None, Some(EvalAltResult::ErrorRuntime(thrown, _))) => thrown.to_string(),
            (None, Some(other)) => other.to_string(),
            (None, None) => return,
        };
        host.fail(&text);
    }
}

/// The result on stdout: `key  value` lines, or JSON.
pub fn print_output(output: &serde_json::Value, as_json: bool) {
    let text = match output {
        serde_json::Value::Object(map) if !as_json => {
            let widest = map.keys().map(|key| key.chars().count()).max().unwrap_or(0);
            let line = |(key, value): (&String, &serde_json::Value)| match value {
                serde_json::Value::String(text) => format!("{key:widest$}  {text}\n"),
                other => format!("{key:widest$}  {other}\n"),
            };
            map.iter().map(line).collect()
        }
        other => format!("{other}\n"),
    };
    result(text.trim_end_matches('\n'));
}
