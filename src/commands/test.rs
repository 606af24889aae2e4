//! `ops test`: runs the tests of playbooks, functions `test_*` in `playbooks/tests`, each against a local cloud of its own, several at once.
//!
//! Each test is a process in a project folder of its own (`room`), where nothing of the project is written and nothing of the caller's
//! account is known. What it was and how it went can be written for a build server (`junit`).

mod junit;
pub mod one;
mod process;
mod room;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;

use crate::commands::signals::Signals;
use crate::commands::{duration, project, run};
use crate::error::{Error, say};
use crate::playbook::Playbook;
use crate::progress::{result, seconds};
use crate::report::{Reporter, nearest};
use crate::sources::{self, Sources};
use room::Room;

#[derive(Debug, Args)]
pub struct TestArgs {
    /// A file of tests, or a folder of them [default: playbooks/tests]
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Only tests with this in their name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write what was tested and how it went into a file, as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How many tests run at once [default: as many as there are processors]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// How long a test may take, such as 30s, before it is stopped and has failed
    #[arg(long, value_name = "TIME", value_parser = duration::read, default_value = "5m")]
    time_limit: Duration,
}

/// A function `test_*` of a file.
struct Test {
    /// The file as its reader would type it.
    shown: String,
    /// The file below the project's root.
    file: PathBuf,
    name: String,
}

/// How a test went.
struct Outcome {
    took: Duration,
    /// What it said, where it has failed.
    failure: Option<String>,
}

/// The exit code is 1 where a test has failed, 130 after Ctrl-C.
pub fn test(arguments: &TestArgs) -> Result<ExitCode, Error> {
    let (root, current) = project::find()?;
    let playbooks = playbooks(&root, &current, arguments.path.as_deref())?;
    let Some(mut tests) = tests(&playbooks, &root, &current)? else {
        return Ok(ExitCode::from(run::USAGE));
    };
    if let Some(part) = &arguments.filter {
        let names: Vec<String> = tests.iter().map(|test| test.name.clone()).collect();
        tests.retain(|test| test.name.contains(part));
        if tests.is_empty() {
            let error = Error::usage(format!("no test has `{part}` in its name"));
            return Err(match nearest(part, names.iter().map(String::as_str)) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("there are {}", names.join(", "))),
            });
        }
    }
    let started = Instant::now();
    let stopped = stop_on_signal()?;
    let outcomes = run_all(&root, &tests, arguments, &stopped);
    let ran: Vec<(&Test, &Outcome)> =
        tests.iter().zip(&outcomes).filter_map(|(test, outcome)| Some((test, outcome.as_ref()?))).collect();
    if let Some(path) = &arguments.junit {
        let path = current.join(path);
        std::fs::write(&path, junit::document(&ran))
            .map_err(|source| Error::io(format_args!("write {}", path.display()), &source))?;
    }
    let failed = ran.iter().filter(|(_, outcome)| outcome.failure.is_some()).count();
    let left_out = match tests.len() - ran.len() {
        0 => String::new(),
        count => format!(", {count} not run"),
    };
    say(&format!(
        "{} passed, {failed} failed{left_out} ({})",
        ran.len() - failed,
        seconds(started.elapsed())
    ));
    if stopped.stopped.load(Ordering::SeqCst) {
        return Ok(Error::interrupted().exit_code());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn playbooks(root: &Path, current: &Path, path: Option<&str>) -> Result<Vec<Playbook>, Error> {
    let folder = match path {
        Some(path) => current.join(path),
        None => root.join("playbooks").join("tests"),
    };
    let wrong = |error: crate::playbook::Error| Error::usage(error.to_string());
    if folder.is_dir() {
        return Playbook::all(&folder, root, current).map_err(wrong);
    }
    match path {
        Some(path) => Playbook::find(root, current, path).map(|playbook| vec![playbook]).map_err(wrong),
        None => Err(Error::usage(format!("there are no tests: no folder {}", folder.display()))
            .help("`ops new NAME` writes a playbook, and a test beside it")),
    }
}

/// The tests of the files, in their order; `None` where a file does not compile, which is said.
fn tests(playbooks: &[Playbook], root: &Path, current: &Path) -> Result<Option<Vec<Test>>, Error> {
    let sources = Sources::default();
    let reporter =
        Reporter { sources: &sources, functions: &[], types: &[], describe: &|_| None, colour: false };
    let mut found = Vec::new();
    for playbook in playbooks {
        let shown = playbook.source();
        let text = playbook.text();
        sources.insert(shown, text.clone());
        let ast = match sources::parse(text) {
            Ok(ast) => ast,
            Err(error) => {
                say(&reporter.syntax(shown, &error));
                return Ok(None);
            }
        };
        let path = current.join(shown);
        let file = path.strip_prefix(root).map_err(|_| {
            Error::usage(format!("{shown} lies outside of the project {}", root.display()))
                .help("a test runs in a copy of its project: keep it in playbooks/tests")
        })?;
        let mut names = Vec::new();
        for function in ast.iter_functions().filter(|function| function.name.starts_with("test_")) {
            if !function.params.is_empty() {
                return Err(Error::usage(format!(
                    "{shown}: `{}` is a test, and takes arguments",
                    function.name
                ))
                .help("a test is called without any; give a function that tests share another name"));
            }
            names.push(function.name.to_owned());
        }
        // The engine keeps them in no order; theirs in the file is the one to read.
        names.sort_by_key(|name| text.find(&format!("fn {name}(")));
        found.extend(names.into_iter().map(|name| Test {
            shown: shown.to_owned(),
            file: file.to_owned(),
            name,
        }));
    }
    if found.is_empty() {
        return Err(Error::usage("there are no tests")
            .help("a test is a function: fn test_it_runs_twice() { cloud::run(\"deploy\"); }"));
    }
    Ok(Some(found))
}

/// Whether the tests are to end; the runtime listens for that.
struct Stop {
    stopped: Arc<AtomicBool>,
    _listener: tokio::runtime::Runtime,
}

/// From now on Ctrl-C ends the tests that run, which get it as well, and no further one is begun: their clouds are still taken down.
fn stop_on_signal() -> Result<Stop, Error> {
    let listener = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| Error::io("start the runtime", &source))?;
    let stopped = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::listen(&listener)?;
    let seen = stopped.clone();
    listener.spawn(async move {
        loop {
            signals.next().await;
            seen.store(true, Ordering::SeqCst);
        }
    });
    Ok(Stop { stopped, _listener: listener })
}

/// Runs the tests, several at once; `None` for one that was not begun.
fn run_all(root: &Path, tests: &[Test], arguments: &TestArgs, stop: &Stop) -> Vec<Option<Outcome>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.map_or(processors, usize::from).min(tests.len());
    let next = AtomicUsize::new(0);
    let outcomes: Vec<Mutex<Option<Outcome>>> = tests.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while !stop.stopped.load(Ordering::SeqCst) {
            let index = next.fetch_add(1, Ordering::SeqCst);
            let Some(test) = tests.get(index) else { return };
            let outcome = run_one(root, test, arguments.time_limit);
            tell(test, &outcome);
            *outcomes[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..jobs {
            threads.spawn(work);
        }
    });
    outcomes.into_iter().map(|outcome| outcome.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

fn run_one(root: &Path, test: &Test, limit: Duration) -> Outcome {
    let started = Instant::now();
    let failure = match in_a_room(root, test, limit) {
        Ok(failure) => failure,
        Err(error) => Some(format!("error: {error}")),
    };
    Outcome { took: started.elapsed(), failure }
}

/// What a test said, if it has failed.
fn in_a_room(root: &Path, test: &Test, limit: Duration) -> Result<Option<String>, Error> {
    let room = Room::of(root)?;
    let program = std::env::current_exe().map_err(|source| Error::io("find the program itself", &source))?;
    let mut command = Command::new(program);
    command.arg("test-one").arg(&test.file).arg(&test.name).current_dir(room.folder()).stdin(Stdio::null());
    // Nothing of the caller's account, and none of the parameters that the caller likes.
    for (name, _) in std::env::vars_os() {
        if ["AWS_", "PG", "OPS_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("HOME", room.folder()).env("AWS_EC2_METADATA_DISABLED", "true");
    let (status, said) = process::finished(command, limit)?;
    room.leave()?;
    let Some(status) = status else {
        let why = format!("error: `{}` had not ended after {}, and was stopped", test.name, seconds(limit));
        return Ok(Some(format!("{why}\n{said}")));
    };
    if status.success() {
        return Ok(None);
    }
    Ok(Some(if said.trim().is_empty() { format!("error: the test ended with {status}") } else { said }))
}

/// One line for each test; what a failed one said comes with it.
fn tell(test: &Test, outcome: &Outcome) {
    let took = seconds(outcome.took);
    match &outcome.failure {
        None => result(&format!("ok    {}  {}  ({took})", test.shown, test.name)),
        Some(said) => {
            let place = place(said, test).unwrap_or_else(|| test.shown.clone());
            result(&format!("FAIL  {place}  {}  ({took})", test.name));
            say(&format!("{}\n", said.trim_end()));
        }
    }
}

/// The line of the test that a report points to, `playbooks/tests/deploy.rhai:12:5`: what a playbook said stands before it.
fn place(said: &str, test: &Test) -> Option<String> {
    let within = format!("--> {}:", test.file.display());
    let (_, rest) = said.split_once(&within)?;
    Some(format!("{}:{}", test.shown, rest.lines().next()?.trim()))
}
