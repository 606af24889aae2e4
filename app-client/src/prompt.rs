//! The interactive session: reads a line, runs it, survives a session that the server ended.
//!
//! A session that ended while the prompt waited is replaced before the next statement is sent; one
//! that ends under a statement is reported: see `recovery`.

mod caution;
mod command;
mod copy;
mod describe;
mod edit;
mod editor;
mod explain;
mod home;
mod names;
mod operation;
mod recovery;
mod time_zone;
mod typed_data;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use reedline::{EditCommand, Reedline, Signal};

use crate::activity::Observer;
use crate::connection::Connection;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::keyboard::{self, Aside};
use crate::output::{Format, Output, Style};
use crate::password::Passwords;
use crate::run::{Outcome, Runner};
use crate::say;
use crate::script::{Splitter, Statement, Variables};
use crate::target::{Place, Target};
use typed_data::TypedData;

/// How often in a row the terminal is asked for a line that it does not give.
const TERMINAL_ATTEMPTS: u32 = 3;

/// active_sql_transaction and invalid_transaction_termination.
const IMPOSSIBLE_IN_A_TRANSACTION: &[&str] = &["25001", "2D000"];
/// The query server lets a free account write one thing, and only by itself.
const READ_ONLY: &str = "read-only transaction";

pub(crate) struct Session {
    runner: Runner,
    target: Arc<Target>,
    passwords: Passwords,
    variables: Variables,
    names: names::Names,
    /// Whether the names may have changed since they were loaded.
    stale: bool,
    /// The database's own login for this user, where it differs: the tier.
    role: Option<String>,
    timing: bool,
    /// Whether what writes outside a transaction is shown and asked about before it is kept.
    safe: bool,
    last: Option<Statement>,
    /// What was typed and not sent: the prompt comes back with it.
    unsent: Option<String>,
}

/// Whether the prompt comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Stay,
    Leave,
}

pub(crate) fn run(
    place: &Place,
    variables: Variables,
    style: Style,
    interrupt: Interrupt,
) -> Result<(), Error> {
    let mut target = place.resolve()?;
    target.time_zone = target.time_zone.or_else(time_zone::local);
    let target = Arc::new(target);
    let mut passwords = Passwords::default();
    let connection = Connection::open(&target, &mut passwords)?;
    interrupt.stay();
    let mut output = Output::stdout(style).map_err(|source| Error::Output { source })?;
    output.paging = true;
    let observer = Observer::new(Arc::clone(&target), &passwords);
    let mut session = Session {
        runner: Runner { connection, output, interrupt, observer, tag: String::new(), failure: None },
        target,
        passwords,
        variables,
        names: names::Names::default(),
        stale: true,
        role: None,
        timing: false,
        safe: false,
        last: None,
        unsent: None,
    };
    session.greet();
    let mut editor = editor::open(session.names.clone());
    let mut silences = 0;
    loop {
        if let Some(text) = session.unsent.take() {
            editor.run_edit_commands(&[EditCommand::InsertString(text)]);
        }
        let line = session.read(&mut editor);
        silences = if line.is_ok() { 0 } else { silences + 1 };
        match line {
            Ok(Signal::Success(text)) => {
                // Now, for nobody knows how the program ends.
                if let Err(error) = editor.sync_history() {
                    remark!("warning: this is not in the history file: {error}");
                }
                // From one prompt to the next. Whoever needs the keyboard meanwhile takes it back.
                let keys = Aside::begin();
                let next = session.submit(&text)?;
                drop(keys);
                if next == Next::Leave {
                    break;
                }
            }
            Ok(Signal::CtrlD) => break,
            Ok(_) => {}
            // A terminal at the end of a slow line may be late with the place of its cursor.
            Err(_) if silences < TERMINAL_ATTEMPTS => {}
            Err(source) => return Err(Error::Terminal { source }),
        }
    }
    session.runner.connection.close();
    Ok(())
}

impl Session {
    fn greet(&mut self) {
        self.learn();
        let version = self.runner.connection.parameters.get("server_version");
        say!(
            "{} on PostgreSQL {}; \\? lists the commands, \\q leaves",
            self.target.database,
            version.map_or("?", String::as_str)
        );
    }

    /// What is typed. Names for the completion are loaded meanwhile, over the session that only waits.
    fn read(&mut self, editor: &mut Reedline) -> io::Result<Signal> {
        let prompt = self.prompt();
        let Runner { connection, interrupt, .. } = &mut self.runner;
        interrupt.forget();
        // Catalogs of a transaction that failed cannot be asked.
        if !self.stale || connection.transaction != b'I' {
            return editor.read_line(&prompt);
        }
        self.stale = false;
        let canceller = connection.canceller();
        let names = &self.names;
        let typed = thread::scope(|scope| {
            let loading = scope.spawn(move || names.load(connection));
            loop {
                let typed = editor.read_line(&prompt);
                match typed {
                    _ if loading.is_finished() => {}
                    // Another line, and no reason to wait for the names.
                    Ok(Signal::CtrlC) => continue,
                    // The statement has to wait for the rest; who will not, presses Ctrl-C.
                    Ok(Signal::Success(_)) => drop(interrupt.watch(canceller)),
                    // Who leaves needs no names. If the server cannot be asked to stop, they come sooner or later.
                    _ => drop(canceller.cancel()),
                }
                return typed;
            }
        });
        if interrupt.finish() {
            // It was the names that were given up.
            interrupt.forget();
        }
        typed
    }

    /// What the prompt and the completion should know. A server that does not tell is no obstacle.
    fn learn(&mut self) {
        self.learn_role();
        self.stale = true;
    }

    fn learn_role(&mut self) {
        let connection = &mut self.runner.connection;
        let role = connection.ask("select current_user").ok();
        let role = role.and_then(|answer| answer.rows.into_iter().flatten().flatten().next());
        self.role = role.filter(|role| *role != self.target.user);
    }

    fn prompt(&self) -> editor::Prompt {
        let role = self.role.as_ref().map(|role| format!(" ({role})")).unwrap_or_default();
        let mark = match self.runner.connection.transaction {
            b'T' => "*",
            b'E' => "!",
            _ => "",
        };
        editor::Prompt { text: format!("{}{role} {}={mark}> ", self.target.user, self.target.database) }
    }

    /// Runs what was typed: statements and commands.
    fn submit(&mut self, text: &str) -> Result<Next, Error> {
        match text.trim().trim_end_matches(';').to_ascii_lowercase().as_str() {
            "exit" | "quit" => return Ok(Next::Leave),
            "help" => return self.command("?"),
            _ => {}
        }
        let mut splitter = Splitter::new(self.variables.clone());
        splitter.push(text, 1);
        loop {
            if let Some(statement) = splitter.next() {
                self.statement(statement)?;
            } else if let Some(command) = splitter.backslash() {
                let pending = splitter.rest();
                // `\g` in place of a semicolon, `\gx` for this one result down the page.
                let last = self.last.as_ref().map(typed).filter(|_| pending.is_none());
                match (command.trim(), pending.clone().or_else(|| self.last.clone())) {
                    ("g", Some(statement)) => self.statement(statement)?,
                    ("gx", Some(statement)) => {
                        let style = self.runner.output.style;
                        self.runner.output.style.format = Format::Expanded;
                        let done = self.statement(statement);
                        self.runner.output.style = style;
                        done?;
                    }
                    // What stands before `\e` is what is to be edited; the last statement was whole.
                    ("e" | "edit", Some(statement)) => self.edit(&last.unwrap_or(statement.text)),
                    _ => {
                        let about_it = ["watch", "explain"].iter().any(|name| command.starts_with(name));
                        match pending {
                            Some(statement) if about_it => self.last = Some(statement),
                            // A look at something else does not end the statement that is being typed.
                            Some(statement) => self.unsent = Some(statement.text),
                            None => {}
                        }
                        if self.command(&command)? == Next::Leave {
                            return Ok(Next::Leave);
                        }
                    }
                }
            } else {
                if let Some(statement) = splitter.rest() {
                    self.statement(statement)?;
                }
                return Ok(Next::Stay);
            }
            // What follows a statement that was not sent must not overtake it.
            if let Some(unsent) = &mut self.unsent {
                unsent.push_str(splitter.unread());
                return Ok(Next::Stay);
            }
        }
    }

    /// Runs a statement with everything that surrounds it at a prompt.
    fn statement(&mut self, statement: Statement) -> Result<(), Error> {
        self.last = Some(statement.clone());
        if self.is_agreed(&statement.text) {
            self.attempt(&statement)?;
        }
        Ok(())
    }

    /// Asks before every row of a table is changed.
    fn is_agreed(&self, sql: &str) -> bool {
        let agreed = !caution::changes_every_row(sql)
            || self.confirmed("this has no WHERE and changes every row of the table; run it?");
        if !agreed {
            say!("not run");
        }
        agreed
    }

    fn execute(&mut self, sql: &str) -> Result<Option<Outcome>, Error> {
        let outcome = self.runner.execute(sql);
        self.survived(outcome)
    }

    fn attempt(&mut self, statement: &Statement) -> Result<Option<Outcome>, Error> {
        self.send(&typed(statement), &statement.text, |runner| {
            let mut data = TypedData::default();
            runner.run(statement, None, &mut |line| data.next(line))
        })
    }

    /// Sends what the user asked for, whichever command it came by: over a session that is alive, and with
    /// safe writes in a transaction that is kept only if the user says so. `line` is at the prompt again if
    /// it is not sent. `None` if there was no session, or it ended.
    fn send(
        &mut self,
        line: &str,
        sql: &str,
        send: impl FnOnce(&mut Runner) -> Result<Outcome, Error>,
    ) -> Result<Option<Outcome>, Error> {
        if !self.is_ready(line) {
            return Ok(None);
        }
        let guarded =
            self.safe && self.runner.connection.transaction == b'I' && !caution::is_about_the_session(sql);
        if guarded {
            let begun = self.execute("begin")?;
            if begun != Some(Outcome::Done) {
                return Ok(begun);
            }
        }
        let started = Instant::now();
        let outcome = send(&mut self.runner);
        let outcome = self.survived(outcome)?;
        self.show_time(started);
        let changed_names = ["create", "alter", "drop"].iter().any(|word| caution::begins_with(sql, word));
        self.stale |= changed_names;
        // In a transaction that failed nothing is answered, and its end is seen, too.
        if caution::may_change_role(sql) && self.runner.connection.transaction != b'E' && outcome.is_some() {
            self.learn_role();
        }
        match outcome {
            Some(outcome) if guarded => self.settle(sql, outcome),
            outcome => Ok(outcome),
        }
    }

    fn show_time(&self, started: Instant) {
        if self.timing {
            say!("Time: {:.3} ms", started.elapsed().as_secs_f64() * 1000.0);
        }
    }

    /// Ends the transaction around `sql`. What changed something is asked about; the server knows what
    /// did, also where a function does.
    fn settle(&mut self, sql: &str, outcome: Outcome) -> Result<Option<Outcome>, Error> {
        if self.runner.connection.transaction == b'I' {
            return Ok(Some(outcome));
        }
        if outcome != Outcome::Done {
            self.conclude("rollback")?;
            if !caution::is_read(sql) && !caution::begins_with(sql, "explain") {
                say!("rolled back");
            }
            let needs_none = self.runner.failure.as_ref().is_some_and(|failure| {
                IMPOSSIBLE_IN_A_TRANSACTION.contains(&failure.sqlstate.as_str())
                    || failure.message.contains(READ_ONLY)
            });
            if outcome == Outcome::Failed && needs_none {
                remark!("hint: safe writes run it in a transaction; \\safe off runs it without");
            }
            return Ok(Some(outcome));
        }
        let wrote = match self.runner.connection.ask("select txid_current_if_assigned() is not null") {
            // Who cannot tell may have written.
            Ok(answer) => {
                answer.error.is_some() || answer.rows.iter().flatten().flatten().any(|it| it == "t")
            }
            Err(error) => return self.survived(Err(error.into())),
        };
        if wrote && !self.confirmed("keep this change?") {
            self.conclude("rollback")?;
            say!("rolled back");
            return Ok(Some(Outcome::Failed));
        }
        let kept = self.conclude("commit")?;
        if wrote && kept == Some(Outcome::Done) {
            // A transaction that has failed meanwhile is rolled back by its COMMIT.
            say!("{}", if self.runner.tag == "COMMIT" { "kept" } else { "rolled back" });
        }
        Ok(kept)
    }

    /// What keeps or undoes a change is not what an earlier Ctrl-C was meant for.
    fn conclude(&mut self, sql: &str) -> Result<Option<Outcome>, Error> {
        self.runner.interrupt.forget();
        self.execute(sql)
    }

    /// Anything but a yes is a no.
    fn confirmed(&self, question: &str) -> bool {
        keyboard::restore();
        keyboard::forget();
        say::to(io::stdout(), format_args!("{question} [y/N] "));
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        let yes = read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        yes && !self.runner.interrupt.is_pressed()
    }

    /// The text in the user's editor, and then at the prompt.
    fn edit(&mut self, text: &str) {
        match edit::edited(text) {
            Ok(edited) => self.unsent = Some(edited),
            Err(error) => remark!("error: {error}"),
        }
    }
}

/// The statement as it would be typed; the splitter has taken its semicolon away.
fn typed(statement: &Statement) -> String {
    format!("{};", statement.text)
}
