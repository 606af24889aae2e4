//! `app-client doctor`: each leg of the way to the server, how long it took, and for the one that
//! fails what to do next.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::connection::{Answer, Connection, Leg};
use crate::error::Error;
use crate::password::Passwords;
use crate::target::{Place, Target};

/// Round trips that the latency is the median of.
const ROUND_TRIPS: usize = 9;

pub(crate) fn run(place: &Place) -> Result<ExitCode, Error> {
    let target = place.resolve()?;
    let mut report = Report::default();
    report.line(format_args!(
        "server    {}, database {}, user {}",
        target.address, target.database, target.user
    ));
    report.line(format_args!("          from {}", target.origin));

    let mut next = "name";
    let mut since = Instant::now();
    let opened = Connection::open_observed(&target, &mut Passwords::default(), &mut |leg| {
        let (name, what, then) = describe(leg, &target);
        report.done(name, since.elapsed(), &what);
        next = then;
        since = Instant::now();
    });
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(error) => {
            report.failed(next, since.elapsed());
            return Err(error.into());
        }
    };

    let version =
        connection.parameters.get("server_version").cloned().unwrap_or_else(|| "unknown".to_owned());
    let (role, took) = answered(&mut connection, &mut report, "role", "select current_user")?;
    let role = role.rows.into_iter().flatten().flatten().next().unwrap_or_default();
    report.done("role", took, &format!("statements run as {role}, PostgreSQL {version}"));

    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let (_, took) = answered(&mut connection, &mut report, "query", "select 1")?;
        times.push(took);
    }
    times.sort();
    report.done("query", times[ROUND_TRIPS / 2], &format!("median of {ROUND_TRIPS} round trips"));
    connection.close();
    report.end()?;
    Ok(ExitCode::SUCCESS)
}

/// What is printed; that it cannot be is told at the end, when all legs were tried.
#[derive(Default)]
struct Report(Option<io::Error>);

impl Report {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        if let Err(source) = writeln!(io::stdout(), "{line}") {
            self.0.get_or_insert(source);
        }
    }

    fn done(&mut self, leg: &str, took: Duration, what: &str) {
        self.line(format_args!("{leg:<9} ok {:>10}  {what}", milliseconds(took)));
    }

    fn failed(&mut self, leg: &str, took: Duration) {
        self.line(format_args!("{leg:<9} FAILED after {}", milliseconds(took)));
    }

    fn end(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), |source| Err(Error::Output { source }))
    }
}

/// The answer to a statement, and how long it took.
fn answered(
    connection: &mut Connection,
    report: &mut Report,
    leg: &str,
    sql: &'static str,
) -> Result<(Answer, Duration), Error> {
    let started = Instant::now();
    let answer = connection.ask(sql);
    let took = started.elapsed();
    let error = match answer {
        Ok(Answer { error: Some(message), .. }) => Error::Unanswered { sql, message: Box::new(message) },
        Ok(answer) => return Ok((answer, took)),
        Err(source) => Error::ShortSession { source },
    };
    report.failed(leg, took);
    Err(error)
}

/// The leg's name, what it found, and which leg comes next.
fn describe(leg: Leg, target: &Target) -> (&'static str, String, &'static str) {
    match leg {
        Leg::Resolved { addresses } => ("name", addresses.join(", "), "tcp"),
        Leg::Connected { peer } => ("tcp", peer, "tls"),
        Leg::Encrypted { version: Some(version) } => {
            let proof = if target.tls_required { "required" } else { "offered by the server" };
            ("tls", format!("{version}, {proof}, {}", target.verified()), "login")
        }
        Leg::Encrypted { version: None } => ("tls", "not encrypted".to_owned(), "login"),
        Leg::LoggedIn { password_from: Some(origin) } => ("login", format!("password from {origin}"), "role"),
        Leg::LoggedIn { password_from: None } => ("login", "no password asked for".to_owned(), "role"),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}
