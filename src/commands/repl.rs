//! `ops repl`: statements that are typed one after the other, with the namespaces, modules and the world of a playbook.
//!
//! On a terminal a line editor reads them (`editor`, `completer`), else stdin is read line by line. `session` runs them.

mod completer;
mod editor;
mod session;
mod shown;

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use reedline::Signal;

use crate::commands::attention::Attention;
use crate::commands::session::{Mode, SessionFlags};
use crate::commands::{doc, project, run};
use crate::error::Error;
use crate::host::{Host, World};
use crate::playbook::Playbook;
use crate::progress::{LogStyle, Progress, result};
use crate::reference::Reference;
use crate::report::nearest;
use session::{Ran, Session, is_whole};

#[derive(Debug, Args)]
pub struct ReplArgs {
    #[command(flatten)]
    session: SessionFlags,
}

const HELP: &str = "\
A statement runs when it is whole; its value is printed. Changes are asked about, one by one, unless --yes was given.
  :doc NAME   what there is to know of a namespace, a function, or about a word; without a name, all there is to call
  :help       this
  :quit       leave, as Ctrl-D does
  Tab         completes namespaces, functions, keys of options and of maps, and variables
  Ctrl-C      gives up the line, or ends the statement that runs";

/// How often in a row the terminal is asked for a line that it does not give.
const TERMINAL_ATTEMPTS: u32 = 3;

const COMMANDS: &[&str] = &["doc", "help", "quit"];

/// Reads and runs statements until there are no more. From a pipe, the exit code is 1 where one of them has failed.
pub fn repl(arguments: &ReplArgs) -> Result<ExitCode, Error> {
    let (root, current) = project::find()?;
    let settings = project::settings(&root)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|source| Error::io("start the runtime", &source))?;
    let playbook = Playbook::typed(&root, &current, session::NAME);
    let mode = Mode { ask_each: true, ..Mode::default() };
    let progress = Progress::new(LogStyle::Plain);
    let host = arguments.session.host(root, &current, &settings, mode, progress, runtime.handle());
    let host = Arc::new(host);
    let terminal = std::io::stdin().is_terminal();
    let attention = Attention::to_statements(&runtime, &host, terminal)?;
    let code = run::on_script_thread(|| {
        let mut session = Session::new(&host, &playbook);
        let left =
            if terminal { typed(&mut session, &host, &attention) } else { piped(&mut session, &attention) };
        attention.during(|| session.leave(left))
    });
    // What is still under way in the background has no say in how long the command takes.
    runtime.shutdown_background();
    Ok(code)
}

/// Reads statements from a terminal; gives the exit code.
fn typed(session: &mut Session, host: &Host, attention: &Attention) -> Result<u8, Error> {
    let place = if matches!(host.world, World::Local { .. }) { "local" } else { "aws" };
    result(&format!("ops {}; :help says what can be typed, Ctrl-D leaves", env!("CARGO_PKG_VERSION")));
    let mut editor = editor::open(session.completer(), attention.leaving());
    let mut silences = 0;
    loop {
        let stack = host.stack().map(|stack| format!(" {stack}")).unwrap_or_default();
        let line = editor.read_line(&editor::Prompt { text: format!("{place}{stack}> ") });
        silences = if line.is_ok() { 0 } else { silences + 1 };
        match line {
            Ok(Signal::Success(text)) => {
                if let Ran::Left(code) = submit(session, attention, &text) {
                    return Ok(code);
                }
                if attention.is_leaving() {
                    return Ok(0);
                }
            }
            Ok(Signal::CtrlD | Signal::ExternalBreak(_)) => return Ok(0),
            Ok(_) => {}
            // A terminal at the end of a slow line may be late with the place of its cursor.
            Err(_) if silences < TERMINAL_ATTEMPTS => {}
            Err(source) => return Err(Error::io("read from the terminal", &source)),
        }
    }
}

/// Reads statements from a pipe or a file; gives the exit code.
fn piped(session: &mut Session, attention: &Attention) -> Result<u8, Error> {
    let mut pending = String::new();
    let mut failed = false;
    let mut lines = std::io::stdin().lock().lines();
    loop {
        let line = lines.next().transpose().map_err(|source| Error::io("read stdin", &source))?;
        let ended = line.is_none();
        if let Some(line) = line {
            pending += &line;
            if !is_whole(&pending) {
                pending.push('\n');
                continue;
            }
        }
        match submit(session, attention, &std::mem::take(&mut pending)) {
            Ran::Done => {}
            Ran::Failed => failed = true,
            Ran::Left(code) => return Ok(code),
        }
        if ended || attention.is_leaving() {
            return Ok(u8::from(failed));
        }
    }
}

/// Runs what was typed: a statement, or a command.
fn submit(session: &mut Session, attention: &Attention, text: &str) -> Ran {
    if matches!(text.trim(), "exit" | "quit") {
        return Ran::Left(0);
    }
    match text.trim().strip_prefix(':') {
        Some(command) => {
            // Its line counts as well: what is read from a file has the line numbers of that file.
            session.pass_over(text);
            commanded(command)
        }
        None => attention.during(|| session.run(text)),
    }
}

fn commanded(command: &str) -> Ran {
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    match name {
        "quit" => return Ran::Left(0),
        "help" => result(HELP),
        "doc" => {
            let told = Reference::gather().and_then(|reference| doc::tell(argument.trim(), &reference));
            if let Err(error) = told {
                error.print();
                return Ran::Failed;
            }
        }
        other => {
            let error = Error::usage(format!("there is no `:{other}`"));
            let near = nearest(other, COMMANDS.iter().copied());
            let help = near
                .map_or("`:help` lists what there is".to_owned(), |near| format!("did you mean `:{near}`?"));
            error.help(help).print();
            return Ran::Failed;
        }
    }
    Ran::Done
}
