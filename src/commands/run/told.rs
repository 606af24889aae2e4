//! What the report of a run tells besides what was recorded: where it ran, how it ended, and what exists now.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use super::script::Outcome;
use crate::error::{Error, Kind};
use crate::host::{Host, World};
use crate::page::{self, Existence, Existing, Told};
use crate::playbook::Playbook;
use crate::primitives::drawing;
use crate::primitives::owned::Inventory;
use crate::progress::Line;

/// To find out what exists may take so long; a report without it is better than one that comes too late. The services are asked side by
/// side, and a deployment of twenty things takes a second or two.
const LIMIT: Duration = Duration::from_secs(30);

/// Writes the report, and says where it is. Gives the run's exit code: 1 where all went well but for the report.
pub(super) fn write(path: &Path, host: &Host, playbook: &Playbook, outcome: Outcome) -> ExitCode {
    let Some(record) = host.progress.record() else { return outcome.code };
    let told = Told {
        playbook: playbook.source().rsplit('/').next().unwrap_or(playbook.source()),
        ending: outcome.ending,
        facts: facts(host),
        errors: outcome.errors,
        output: outcome.output,
        // The same for an interrupted run: what was begun may be there.
        existence: host.stack().is_ok().then(|| host.uninterrupted(|| existence(host))),
    };
    match page::write(path, record, &told) {
        Ok(()) => {
            host.progress.line(Line::Info, &format!("the report is in {}", path.display()));
            outcome.code
        }
        Err(error) => {
            error.print();
            if outcome.code == ExitCode::SUCCESS { error.exit_code() } else { outcome.code }
        }
    }
}

fn facts(host: &Host) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Ok(stack) = host.stack() {
        facts.push(("stack", stack.to_owned()));
    }
    if host.used()
        && let Ok(aws) = host.aws()
    {
        let place = match &host.world {
            World::Local { .. } => "local cloud".to_owned(),
            World::Aws => format!("account {}", aws.identity.account),
        };
        facts.extend([("where", place), ("region", aws.region.clone())]);
    }
    facts
}

/// What there is of the stack now, and its picture.
fn existence(host: &Host) -> Result<Existence, Error> {
    std::thread::scope(|threads| {
        let (sender, answer) = mpsc::channel();
        threads.spawn(move || {
            // Nobody waits for it any more when the time is over.
            _ = sender.send(look(host));
        });
        answer.recv_timeout(LIMIT).unwrap_or_else(|_| {
            // Ends the calls that are under way; the script has ended before.
            host.cancel();
            Err(Error::new(
                Kind::Timeout,
                format!("the services did not answer within {} s", LIMIT.as_secs()),
            ))
        })
    })
}

fn look(host: &Host) -> Result<Existence, Error> {
    let inventory = Inventory::take(host)?;
    let picture = drawing::picture(host, &inventory)?;
    let existing = |thing: &crate::primitives::owned::Owned| Existing {
        key: thing.key.clone(),
        title: thing.title.clone(),
        status: thing.status.clone(),
    };
    Ok(Existence { things: inventory.things.iter().map(existing).collect(), picture })
}
