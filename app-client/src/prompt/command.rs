//! Commands of the prompt that begin with a backslash; psql's words where psql has one.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use super::{Next, Session, caution, copy, describe, explain, operation};
use crate::error::Error;
use crate::output::{Format, cell};
use crate::run::Outcome;
use crate::script::{Script, Statement};

pub(super) const HELP: &str = "\
  \\d [PATTERN]       what there is, or columns, indexes and constraints; \\d+ also comments, partitions, a view's text
  \\dt \\dv \\dm \\di \\ds \\df [PATTERN]   tables, views, materialized views, indexes, sequences, functions
  \\dn \\du \\l \\dx \\db \\dT \\dD \\dp [PATTERN]   schemas, roles, databases, extensions, tablespaces, data types, domains, \
privileges
  \\dt+ \\dtS          a + after a list adds sizes, comments and the like; an S, what is part of PostgreSQL
  \\sf FUNCTION       the text of a function
  \\op [NAME ARGS]    a named operation of the platform; alone, lists them
  \\g \\gx             run the statement, or the last one; \\gx shows it expanded
  \\explain [SQL]      how the server runs it, or the last statement: a read is run, a write is not
  \\watch [SECONDS]   run the last statement again and again, until Ctrl-C
  \\x                 a line for each column, on or off
  \\format NAME       aligned, expanded, csv, json, ndjson, markdown
  \\pset null TEXT    what stands for NULL in tables; also format, expanded, tuples_only, pager
  \\t                 rows only, on or off
  \\pager [on|off]    results larger than the screen go to PSQL_PAGER, PAGER or less
  \\timing            show how long statements take, on or off
  \\safe [on|off]     ask before a write is kept
  \\set [NAME VALUE]  set a variable (:name, :'name', :\"name\"), or show them; \\unset NAME
  \\i FILE            run the statements of a file
  \\o [FILE]          write results into a file; alone, show them here again
  \\copy ...          COPY with a file of this machine: \\copy TABLE from|to FILE [OPTIONS], \\copy (QUERY) to FILE
  \\e                 the statement, or the last one, in your editor; it comes back to the prompt
  \\home              songs, podcasts and your playlists
  \\conninfo          where this session is
  \\q                 leave (also exit, quit, Ctrl-D)";

pub(super) const FORMATS: [(&str, Format); 6] = [
    ("aligned", Format::Aligned),
    ("expanded", Format::Expanded),
    ("csv", Format::Csv),
    ("json", Format::Json),
    ("ndjson", Format::Ndjson),
    ("markdown", Format::Markdown),
];

/// Where the second column of the help begins.
const HELP_COLUMN: usize = 21;

impl Session {
    /// Runs a command; `line` is what followed the backslash.
    pub(super) fn command(&mut self, line: &str) -> Result<Next, Error> {
        // A semicolon after a command is a habit of the fingers.
        let line = line.trim().trim_end_matches(';').trim_end();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match name {
            "q" | "quit" => return Ok(Next::Leave),
            "?" | "h" | "help" => self.help()?,
            "x" => {
                let expanded = self.runner.output.style.format == Format::Expanded;
                self.format(if expanded { "aligned" } else { "expanded" });
            }
            "format" => self.format(rest),
            "pset" => return self.print_setting(rest),
            "t" => {
                let style = &mut self.runner.output.style;
                style.tuples_only = switched(style.tuples_only, rest, "rows only");
            }
            "pager" => {
                let output = &mut self.runner.output;
                output.paging = switched(output.paging, rest, "the pager");
            }
            "timing" => self.timing = switched(self.timing, rest, "timing"),
            "safe" => self.safe = switched(self.safe, rest, "safe writes"),
            "set" => self.set(rest),
            "unset" => {
                self.variables.remove(rest);
            }
            "conninfo" => self.show_connection(),
            "i" => self.include(rest)?,
            "o" => self.redirect(rest),
            "copy" => self.copy(rest)?,
            "e" | "edit" => self.edit(""),
            "home" => self.home()?,
            "op" => self.operation(rest)?,
            "watch" => self.watch(rest)?,
            "explain" => self.explain(rest)?,
            "g" | "gx" => say!("there is no statement to run yet"),
            "sf" => self.show_function(rest)?,
            "d" | "d+" | "dS" | "dS+" if !rest.is_empty() => self.describe(rest, name.contains('+'))?,
            _ => match describe::list(name, rest) {
                Some(text) => {
                    self.attempt(&Statement { text, line: 1 })?;
                }
                None => remark!("error: there is no command `\\{name}`\nhint: \\? lists them"),
            },
        }
        Ok(Next::Stay)
    }

    /// Through the pager, where the window is too small for it.
    fn help(&mut self) -> Result<(), Error> {
        let columns = terminal_size::terminal_size().map_or(usize::MAX, |(width, _)| usize::from(width.0));
        let output = &mut self.runner.output;
        let shown = output.raw(wrapped(HELP, columns).as_bytes()).and_then(|()| output.finish());
        shown.map_err(|source| Error::Output { source })
    }

    fn format(&mut self, name: &str) {
        match FORMATS.into_iter().find(|(known, _)| *known == name) {
            Some((name, format)) => {
                self.runner.output.style.format = format;
                say!("format is {name}");
            }
            None => {
                let known = FORMATS.map(|(name, _)| name).join(", ");
                remark!("error: there is no format `{name}`; expected one of {known}");
            }
        }
    }

    /// psql's name for what the commands around it do.
    fn print_setting(&mut self, setting: &str) -> Result<Next, Error> {
        let (name, value) = setting.split_once(char::is_whitespace).unwrap_or((setting, ""));
        let value = value.trim();
        match name {
            "null" => {
                let unquoted = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
                unquoted.unwrap_or(value).clone_into(&mut self.runner.output.null);
                say!("NULL is shown as `{}`", self.runner.output.null);
            }
            "format" => self.format(value),
            "expanded" | "x" => return self.command("x"),
            "tuples_only" | "t" => return self.command(&format!("t {value}")),
            "pager" => return self.command(&format!("pager {value}")),
            _ => remark!(
                "error: there is no setting `{name}`; expected one of null, format, expanded, tuples_only, pager"
            ),
        }
        Ok(Next::Stay)
    }

    fn set(&mut self, assignment: &str) {
        if assignment.is_empty() {
            for (name, value) in &self.variables {
                say!("{name} = '{value}'");
            }
            return;
        }
        let (name, value) = assignment.split_once(char::is_whitespace).unwrap_or((assignment, ""));
        let value = value.trim();
        let unquoted = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
        self.variables.insert(name.to_owned(), unquoted.unwrap_or(value).to_owned());
    }

    fn show_connection(&self) {
        let target = &self.target;
        let encryption = self.runner.connection.tls_version().unwrap_or("not encrypted");
        say!("{}, database {}, user {}", target.address, target.database, target.user);
        say!("{encryption}, {}; from {}", target.verified(), target.origin);
    }

    /// Runs a file; it stops at the first statement that fails.
    fn include(&mut self, path: &str) -> Result<(), Error> {
        let Some(path) = named(path) else { return Ok(()) };
        let path = path.as_str();
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => {
                copy::failed("read", Path::new(path), &error);
                return Ok(());
            }
        };
        let mut script = Script::new(BufReader::new(file), path.to_owned(), self.variables.clone());
        loop {
            let statement = match script.next() {
                Ok(Some(statement)) => statement,
                Ok(None) => return Ok(()),
                Err(error) => {
                    remark!("error: {error}");
                    return Ok(());
                }
            };
            if !self.is_agreed(&statement.text) {
                return Ok(());
            }
            let outcome = self.send(&format!("\\i {path}"), &statement.text, |runner| {
                runner.run(&statement, Some(path), &mut |line| Ok(script.copy_line(line)?))
            })?;
            if outcome != Some(Outcome::Done) {
                return Ok(());
            }
        }
    }

    fn redirect(&mut self, path: &str) {
        if path.is_empty() {
            self.runner.output.restore(None);
            say!("results are shown here");
            return;
        }
        let Some(path) = named(path) else { return };
        match File::create(&path) {
            Ok(file) => {
                self.runner.output.redirect(file);
                say!("results go to {path}");
            }
            Err(error) => copy::failed("write", Path::new(&path), &error),
        }
    }

    fn explain(&mut self, sql: &str) -> Result<(), Error> {
        let sql = match (sql, &self.last) {
            ("", None) => {
                remark!("error: there is no statement to explain yet");
                return Ok(());
            }
            ("", Some(last)) => last.text.clone(),
            (sql, _) => sql.to_owned(),
        };
        // ANALYZE runs the statement; a write must not happen because somebody asked how it would.
        let analyze = if caution::is_read(&sql) { "analyze, " } else { "" };
        let question = format!("explain ({analyze}format json) {sql}");
        self.send(&format!("\\explain {sql}"), &question, |runner| {
            if !runner.interrupt.watch(runner.connection.canceller()) {
                return Ok(Outcome::Interrupted);
            }
            let answer = runner.connection.ask(&question);
            runner.interrupt.finish();
            let answer = answer?;
            if let Some(error) = answer.error {
                remark!("{}", error.render(&question, 1));
                return Ok(Outcome::Failed);
            }
            let plan = answer.rows.into_iter().flatten().flatten().next().unwrap_or_default();
            let shown = explain::tree(&plan).unwrap_or(plan);
            say!("{}", cell::visible(&shown));
            Ok(Outcome::Done)
        })?;
        Ok(())
    }

    /// Repeats the last statement until it fails or Ctrl-C is pressed.
    fn watch(&mut self, seconds: &str) -> Result<(), Error> {
        // psql's default.
        let seconds: f64 = if seconds.is_empty() { 2.0 } else { seconds.parse().unwrap_or(-1.0) };
        let Ok(pause) = Duration::try_from_secs_f64(seconds) else {
            remark!("error: expected a number of seconds, such as `\\watch 2`");
            return Ok(());
        };
        let Some(statement) = self.last.clone() else {
            remark!("error: there is no statement to repeat yet");
            return Ok(());
        };
        if !self.is_agreed(&statement.text) {
            return Ok(());
        }
        while self.attempt(&statement)? == Some(Outcome::Done) && self.runner.interrupt.pause(pause) {}
        Ok(())
    }

    fn operation(&mut self, line: &str) -> Result<(), Error> {
        match operation::find(line) {
            Ok(operation) => {
                let sent = self.send(&format!("\\op {line}"), &operation.sql, |runner| {
                    runner.run_with(&operation.sql, &operation.arguments)
                });
                sent.map(|_| ())
            }
            Err(operation::Error::Unknown { name, known }) if name.is_empty() => {
                say!("{known}");
                Ok(())
            }
            Err(error) => {
                remark!("error: {error}");
                if let operation::Error::NoFolder = error {
                    remark!("hint: they are files of the project: start app-client in its folder");
                }
                Ok(())
            }
        }
    }
}

/// A file name, in quotes or not. `None` if there is none, and the user has been told.
fn named(text: &str) -> Option<String> {
    let name = match text.starts_with('\'') {
        true => copy::file_name(text).filter(|(_, rest)| rest.is_empty()).map(|(name, _)| name),
        false => Some(text.to_owned()).filter(|name| !name.is_empty()),
    };
    if name.is_none() {
        remark!("error: expected the name of a file, such as `\\i songs.sql` or `\\i 'my songs.sql'`");
    }
    name
}

/// Lines of two columns in a window: words that do not fit go on under the second column.
fn wrapped(text: &str, columns: usize) -> String {
    let room = columns.max(2 * HELP_COLUMN);
    let mut wrapped = String::new();
    for line in text.lines() {
        let (head, rest) = line.split_at_checked(HELP_COLUMN).unwrap_or((line, ""));
        wrapped.push_str(head);
        let mut width = head.len();
        for word in rest.split_inclusive(' ') {
            if width > HELP_COLUMN && width + word.trim_end().len() > room {
                wrapped.truncate(wrapped.trim_end_matches(' ').len());
                wrapped.push('\n');
                wrapped.extend(std::iter::repeat_n(' ', HELP_COLUMN));
                width = HELP_COLUMN;
            }
            wrapped.push_str(word);
            width += word.len();
        }
        wrapped.push('\n');
    }
    wrapped
}

/// `on`, `off`, or the other way round; says which it is now.
fn switched(now: bool, word: &str, what: &str) -> bool {
    let next = match word {
        "on" => true,
        "off" => false,
        _ => !now,
    };
    say!("{what} is {}", if next { "on" } else { "off" });
    next
}
