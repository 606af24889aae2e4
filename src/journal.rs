//! Intents and outcomes of changes, on disk before the call goes out.
//!
//! One line of JSON for each: an intent is fsynced before the service is asked, its outcome after. A run that is
//! killed in between leaves an intent without an outcome; the next run finds the thing by its tags or sends the same
//! client token, so nothing is made twice.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    time: String,
    phase: Phase,
    service: String,
    operation: String,
    name: String,
    token: String,
    /// The id or the ARN of what was made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    outcome: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Intent,
    Done,
    Failed,
}

/// The journal of one stack in one account and region.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// How often a thing of this name was deleted: the next one is another.
    generations: HashMap<String, u32>,
    scope: String,
}

/// An intent that was written and waits for its outcome.
#[derive(Debug, Clone)]
pub struct Intent {
    pub service: String,
    pub operation: String,
    pub name: String,
    /// The client token: the same for the same stack, name and generation, so that a repeated request is the same request.
    pub token: String,
}

impl Journal {
    /// Opens or makes the journal at `path` (mode 0600). `scope` names account, region and stack.
    ///
    /// A torn last line, as a killed run may leave, is skipped: it was never acted on.
    pub fn open(path: &Path, scope: &str) -> Result<Self, Error> {
        let failed =
            |source: std::io::Error| Error::io(format_args!("open the journal {}", path.display()), &source);
        let file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        let mut generations = HashMap::new();
        let mut text = Vec::new();
        (&file).read_to_end(&mut text).map_err(failed)?;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // Bytes, since a line may be cut in the middle of a character.
            let Ok(entry) = serde_json::from_slice::<Entry>(line) else { continue };
            let ended = entry.operation.starts_with("Delete") || entry.operation.starts_with("Terminate");
            if entry.phase == Phase::Done && ended {
                *generations.entry(entry.name).or_default() += 1;
            }
        }
        let torn = text.last().is_some_and(|last| *last != b'\n');
        if torn {
            // The next entry must start on a line of its own.
            (&file).write_all(b"\n").map_err(failed)?;
        }
        Ok(Journal { file, generations, scope: scope.to_owned() })
    }

    /// Writes that `operation` is about to be sent, and waits until the disk has it.
    pub fn intend(&mut self, service: &str, operation: &str, name: &str) -> Result<Intent, Error> {
        let generation = self.generations.get(name).copied().unwrap_or(0);
        let digest = Sha256::digest(format!("{}/{service}/{operation}/{name}/{generation}", self.scope));
        let token = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let intent = Intent {
            service: service.to_owned(),
            operation: operation.to_owned(),
            name: name.to_owned(),
            token,
        };
        self.write(&intent, Phase::Intent, "", "")?;
        Ok(intent)
    }

    /// The name's next attempt must not repeat its last client token.
    pub fn next_generation(&mut self, name: &str) {
        *self.generations.entry(name.to_owned()).or_default() += 1;
    }

    /// Writes that the change was made; `id` is the id or the ARN of what it has made, if it has made something.
    pub fn done(&mut self, intent: &Intent, id: &str, outcome: &str) -> Result<(), Error> {
        if intent.operation.starts_with("Delete") || intent.operation.starts_with("Terminate") {
            self.next_generation(&intent.name);
        }
        self.write(intent, Phase::Done, id, outcome)
    }

    pub fn failed(&mut self, intent: &Intent, error: &Error) -> Result<(), Error> {
        self.write(intent, Phase::Failed, "", &crate::secret::mask(&error.to_string()))
    }

    fn write(&mut self, intent: &Intent, phase: Phase, id: &str, outcome: &str) -> Result<(), Error> {
        let entry = Entry {
            time: jiff::Timestamp::now().to_string(),
            phase,
            service: intent.service.clone(),
            operation: intent.operation.clone(),
            name: intent.name.clone(),
            token: intent.token.clone(),
            id: id.to_owned(),
            outcome: outcome.to_owned(),
        };
        let mut line = serde_json::to_vec(&entry).map_err(|error| Error::internal(error.to_string()))?;
        line.push(b'\n');
        // One write call, so that two lines never mix; then to the disk, before the service is asked.
        self.file.write_all(&line).and_then(|()| self.file.sync_data()).map_err(|source| {
            Error::io("write the journal", &source)
                .help("free some disk space and run the same command again")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_repeats_until_the_thing_is_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("journal");
        let first = Journal::open(&path, "s").unwrap().intend("ec2", "RunInstances", "server").unwrap();

        let mut reopened = Journal::open(&path, "s").unwrap();
        let second = reopened.intend("ec2", "RunInstances", "server").unwrap();
        assert_eq!(first.token, second.token, "a run that was killed repeats the same request");

        let delete = reopened.intend("ec2", "TerminateInstances", "server").unwrap();
        reopened.done(&delete, "", "").unwrap();
        let third = Journal::open(&path, "s").unwrap().intend("ec2", "RunInstances", "server").unwrap();
        assert_ne!(first.token, third.token, "a new server is a new request");
    }

    #[test]
    fn a_torn_last_line_is_skipped_and_not_continued() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("journal");
        std::fs::write(&path, b"{\"time\":\"2026 \xc3").unwrap();
        Journal::open(&path, "s").unwrap().intend("rds", "CreateDBInstance", "db").unwrap();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().last().unwrap().contains("CreateDBInstance"));
    }
}
