//! `ops run`: reads a playbook's parameters, runs it on a thread of its own, and says how it ended.

mod told;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, FromArgMatches};
use rhai::{EvalAltResult, Scope};

use crate::commands::attention::Attention;
use crate::commands::session::{Mode, SessionFlags};
use crate::commands::{project, stacks};
use crate::engine::{self, Prepared};
use crate::error::{Error, Kind, LOCKED, say};
use crate::host::Host;
use crate::page::{self, Ending};
use crate::parameters::{self, Declarations};
use crate::plan;
use crate::playbook::Playbook;
use crate::primitives::Parameters;
use crate::progress::{Line, LogStyle, Progress, result};
use crate::report::Reporter;
use crate::sources::Sources;

/// The flags of `ops run`; a playbook cannot declare parameters of these names.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of ops run")]
pub struct HostFlags {
    #[command(flatten)]
    pub session: SessionFlags,
    /// Say what would be changed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: exit code 3 if there is something to change
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,
    /// This run belongs to a test: waits set the local cloud's clock forward, and take no time
    #[arg(long, requires = "local", hide = true)]
    pub under_test: bool,
    /// Print the playbook's result as JSON
    #[arg(long)]
    pub json: bool,
    /// Write a page about the run: its steps, changes and errors, and a picture of what exists then
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// How the lines of a run begin: `tagged` is for grep
    #[arg(long, value_enum, default_value_t, value_name = "STYLE", hide_possible_values = true)]
    pub log_style: LogStyle,
}

/// The long names of [`HostFlags`].
pub fn host_flags() -> Vec<String> {
    let command = HostFlags::augment_args(clap::Command::new("run"));
    let names = command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned));
    names.chain(["help".to_owned()]).collect()
}

/// The exit code of a command line, a parameter or a playbook that is wrong before anything ran.
pub const USAGE: u8 = 2;

/// The exit code of a plan with `--exit-code` that has something to change.
const PENDING: u8 = 3;

/// Runs the playbook called `name`; `arguments` are the host's flags and the playbook's parameters, in any order.
pub fn run(name: &str, arguments: &[OsString]) -> ExitCode {
    match prepare_and_run(name, arguments) {
        Ok(code) => code,
        Err(Failure::Usage(text)) => {
            say(&format!("error: {text}"));
            ExitCode::from(USAGE)
        }
        Err(Failure::Drawn(text)) => {
            say(&text);
            ExitCode::from(USAGE)
        }
        Err(Failure::Clap(error)) => {
            // Help goes to stdout and is no failure; the rest goes to stderr.
            if let Err(source) = error.print()
                && source.kind() != std::io::ErrorKind::BrokenPipe
            {
                say(&format!("error: cannot print: {source}"));
            }
            if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        }
        Err(Failure::Host(error)) => {
            error.print();
            error.exit_code()
        }
    }
}

/// Why nothing was run.
enum Failure {
    Usage(String),
    /// A report with a caret.
    Drawn(String),
    Clap(clap::Error),
    Host(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Host(error)
    }
}

fn prepare_and_run(name: &str, arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let (root, current) = project::find()?;
    let settings = project::settings(&root)?;
    let playbook =
        Playbook::find(&root, &current, name).map_err(|error| Failure::Usage(error.to_string()))?;
    let sources = Sources::default();
    sources.insert(playbook.source(), playbook.text().clone());

    let names = host_flags();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let declarations = Declarations::read(&playbook, &names).map_err(|error| undeclared(error, &sources))?;
    let command = declarations.command();
    let about = command.get_about().cloned().unwrap_or_default();
    // The playbook's own words, which deriving from a struct with a comment replaces.
    let command = HostFlags::augment_args(command).about(about).long_about(None);
    let matches = command.try_get_matches_from(arguments).map_err(Failure::Clap)?;
    let flags = HostFlags::from_arg_matches(&matches).map_err(Failure::Clap)?;
    let environment = |variable: &str| std::env::var(variable).ok();
    let parameters = declarations
        .resolve(&matches, environment, &settings.params)
        .map_err(|error| undeclared(error, &sources))?;
    let parameters: Parameters =
        parameters.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();

    let report = flags.report.as_ref().map(|path| current.join(path));
    if let Some(path) = &report {
        page::check(path)?;
    }

    let runtime = tokio::runtime::Runtime::new().map_err(|source| Error::io("start the runtime", &source))?;
    let progress = Progress::new(flags.log_style).json(flags.json).recorded(report.is_some());
    let mode = Mode { dry_run: flags.dry_run, under_test: flags.under_test, ..Mode::default() };
    let host = flags.session.host(root, &current, &settings, mode, progress, runtime.handle());
    let host = Arc::new(host);
    let prepared = engine::prepare(&host, parameters, &playbook, &sources);
    Attention::to_script(&runtime, &host)?;

    let code = on_script_thread(|| {
        let outcome = execute(&host, &playbook, &prepared, &sources, &flags);
        match &report {
            Some(path) => told::write(path, &host, &playbook, outcome),
            None => outcome.code,
        }
    });
    // What is still under way in the background has no say in how long the command takes.
    runtime.shutdown_background();
    Ok(code)
}

/// Errors of declarations and parameters, drawn where they have a place.
fn undeclared(error: parameters::Error, sources: &Sources) -> Failure {
    let reporter = Reporter { sources, functions: &[], types: &[], describe: &|_| None, colour: false };
    match error {
        parameters::Error::Syntax { name, error } => Failure::Drawn(reporter.syntax(&name, &error)),
        parameters::Error::Declaration(wrong) => {
            Failure::Drawn(reporter.problem(&wrong.name, wrong.position, &wrong.problem))
        }
        parameters::Error::Usage(error) => Failure::Clap(error),
        other => Failure::Usage(other.to_string()),
    }
}

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
struct Outcome {
    code: ExitCode,
    ending: Ending,
    /// Each failure, as it was drawn on the screen.
    errors: Vec<String>,
    /// The playbook's result.
    output: Option<serde_json::Value>,
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

fn execute(
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
