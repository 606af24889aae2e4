//! `app-client check`: what each tier may do, tried out. Two accounts, four statements each, every
//! one in a transaction that is rolled back; denied means the server said so, not that something failed.

use std::io;
use std::process::ExitCode;

use clap::Args;

use crate::connection::Connection;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::output::{Column, Output, Style};
use crate::password::Passwords;
use crate::prompt;
use crate::say;
use crate::script::Variables;
use crate::server_message::ServerMessage;
use crate::target::{self, Place};

#[derive(Debug, Args)]
pub(crate) struct Accounts {
    /// An account of the free tier
    #[arg(long, value_name = "USER", default_value = "free@example.com")]
    free: String,
    /// An account of the premium tier
    #[arg(long, value_name = "USER", default_value = "premium@example.com")]
    premium: String,
    /// Open the prompt afterwards, if all passed
    #[arg(long)]
    then_prompt: bool,
}

/// What is tried: the statement, and whether free and premium may.
const SCENARIO: [(&str, [Verdict; 2]); 4] = [
    (
        "select content_id, title, duration_s from content order by content_id limit 5",
        [Verdict::Allowed, Verdict::Allowed],
    ),
    (
        "update content set title = title || ' (checked)' where content_id = (select min(content_id) from content)",
        [Verdict::Denied, Verdict::Allowed],
    ),
    (
        "insert into content (title, duration_s, content_type) values ('app-client check', 180, 'song')",
        [Verdict::Denied, Verdict::Allowed],
    ),
    (
        "delete from content where content_id = (select min(content_id) from content)",
        [Verdict::Denied, Verdict::Denied],
    ),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    /// Neither: the statement did not get as far as a permission.
    Failed(String),
}

impl Verdict {
    fn of(error: Option<ServerMessage>) -> Self {
        match error {
            None => Self::Allowed,
            // Insufficient privilege, and a tier whose transactions are read-only.
            Some(error) if matches!(error.sqlstate.as_str(), "42501" | "25006") => Self::Denied,
            Some(error) => Self::Failed(error.headline()),
        }
    }

    fn word(&self) -> &str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed(message) => message,
        }
    }
}

pub(crate) fn run(
    accounts: &Accounts,
    place: &Place,
    style: Style,
    interrupt: Interrupt,
) -> Result<ExitCode, Error> {
    let mut rows = Vec::new();
    let mut passed = 0;
    for (index, (tier, user)) in
        [("free", &accounts.free), ("premium", &accounts.premium)].into_iter().enumerate()
    {
        let mut connection = Connection::open(&place.named(user).resolve()?, &mut Passwords::default())?;
        for (statement, expected) in &SCENARIO {
            let verdict = try_out(&mut connection, statement)?;
            let expected = &expected[index];
            passed += usize::from(verdict == *expected);
            let mark = if verdict == *expected { "PASS" } else { "FAIL" };
            let row = [tier, user, statement, expected.word(), verdict.word(), mark];
            rows.push(row.map(|cell| Some(cell.to_owned())).to_vec());
        }
        connection.close();
    }
    let columns = ["tier", "user", "statement", "expected", "result", "verdict"].map(Column::text).to_vec();
    let mut output = Output::stdout(style).map_err(|source| Error::Output { source })?;
    output.table(columns, &rows).and_then(|()| output.finish()).map_err(|source| Error::Output { source })?;
    remark!("{passed} of {} passed; everything was rolled back", rows.len());
    if passed < rows.len() {
        return Ok(ExitCode::from(1));
    }
    if accounts.then_prompt {
        drop(output);
        prompt::run(&named(place)?, Variables::new(), style, interrupt)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The place with a user to log in as: asked for if none was given.
fn named(place: &Place) -> Result<Place, Error> {
    let Err(target::Error::NoUser { .. }) = place.resolve() else { return Ok(place.clone()) };
    say::to(io::stderr(), format_args!("Log in as: "));
    let mut user = String::new();
    io::stdin().read_line(&mut user).map_err(|source| Error::Terminal { source })?;
    Ok(place.named(user.trim()))
}

/// In a transaction of its own, which never commits.
fn try_out(connection: &mut Connection, statement: &str) -> Result<Verdict, Error> {
    let begun = connection.ask("begin")?;
    if let Some(error) = begun.error {
        return Ok(Verdict::Failed(format!("no transaction: {}", error.headline())));
    }
    let answer = connection.ask(statement)?;
    connection.ask("rollback")?;
    Ok(match Verdict::of(answer.error) {
        Verdict::Allowed if answer.tag.ends_with(" 0") => {
            Verdict::Failed(format!("{}: the table `content` holds nothing to try it on", answer.tag))
        }
        verdict => verdict,
    })
}
