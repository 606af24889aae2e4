//! [`Host::change`], the one door for changes of resources, and [`Host::effect`] for what is no resource; and what was read since the
//! last of them.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::Host;
use crate::clients::aws::{Clients, Seen};
use crate::error::{Error, Kind};
use crate::progress::{Line, Verb, order};

/// A resource that is about to change.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    pub verb: Verb,
    pub service: &'a str,
    /// The API operation: `RunInstances`.
    pub operation: &'a str,
    /// The resource's name inside its stack.
    pub name: &'a str,
    /// What a reader should know: the size, what differs. May be empty.
    pub detail: &'a str,
}

/// What a service answers to a change.
pub trait Answer {
    /// The id or the ARN of what was made, for the journal; empty where nothing was, or where it is not known.
    fn id(&self) -> &str {
        ""
    }
}

impl Answer for () {}

/// Of an operation that has no function of its own.
impl Answer for serde_json::Value {}

impl Answer for String {
    fn id(&self) -> &str {
        self
    }
}

impl Host {
    /// The stack's things of one kind as they were read last, or now if this run has tried to change anything since, or some seconds
    /// have gone by. For the many looks of a converging run; who waits for something to happen reads for themselves.
    pub fn seen<T>(
        &self,
        of: impl Fn(&Clients) -> &Seen<T>,
        read: impl FnOnce() -> Result<Vec<T>, Error>,
    ) -> Result<Arc<Vec<T>>, Error> {
        let clients = self.aws()?;
        let seen = of(&clients);
        let get = || seen.get(self.attempts.load(Ordering::SeqCst));
        if let Some(list) = get() {
            return Ok(list);
        }
        // Somebody may be reading it just now.
        let _one_reader = seen.reading();
        match get() {
            Some(list) => Ok(list),
            None => self.keep(seen, read),
        }
    }

    /// Reads them now, for [`Host::seen`] too.
    pub fn read<T>(
        &self,
        of: impl Fn(&Clients) -> &Seen<T>,
        read: impl FnOnce() -> Result<Vec<T>, Error>,
    ) -> Result<Arc<Vec<T>>, Error> {
        let clients = self.aws()?;
        let seen = of(&clients);
        let _one_reader = seen.reading();
        self.keep(seen, read)
    }

    fn keep<T>(
        &self,
        seen: &Seen<T>,
        read: impl FnOnce() -> Result<Vec<T>, Error>,
    ) -> Result<Arc<Vec<T>>, Error> {
        let (attempts, asked_at) = (self.attempts.load(Ordering::SeqCst), Instant::now());
        Ok(seen.keep(attempts, asked_at, read()?))
    }

    /// Sends what `what` names; where it fails since something that this run has just made is not known everywhere yet, again for a
    /// while (EC2 API Reference, "Eventual consistency").
    pub fn until_known<T, F>(&self, what: &str, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut line = None;
        loop {
            let failed = match self.block(call()) {
                Err(error) if error.kind == Kind::NotFound => error,
                other => return other,
            };
            if !self.made_lately() {
                return Err(failed);
            }
            line.get_or_insert_with(|| self.progress.wait(what))
                .status(&format!("not visible everywhere yet ({})", failed.code));
            self.block(async {
                tokio::time::sleep(self.shortest_pause()).await;
                Ok(())
            })?;
        }
    }

    /// Waits until this part of the run may change something: parts that run together do so one after the other. Where one before it
    /// has failed, this one ends here.
    pub(super) fn turn(&self) -> Result<(), Error> {
        if order::turn() { Ok(()) } else { Err(Error::interrupted()) }
    }

    /// The one door for a change of a resource.
    ///
    /// At the first one of a run it asks for consent and takes the stack's lock. For each it journals the intent, with a client token
    /// that is the same when a killed run is repeated, then calls, journals the outcome, counts, and prints one line.
    ///
    /// `None` in a dry run: the change was listed, and nothing was sent.
    pub fn change<T, F>(&self, change: Change<'_>, call: impl Fn(String) -> F) -> Result<Option<T>, Error>
    where
        T: Answer,
        F: Future<Output = Result<T, Error>>,
    {
        self.turn()?;
        let separator = if change.detail.is_empty() { "" } else { "  " };
        let line = format!("{} {}{separator}{}", change.service, change.name, change.detail);
        if self.dry_run {
            let key = format!("{}:{} {line}", change.service, change.operation);
            if self.listed.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
                self.progress.changed(change.verb, &line);
                self.record(change, None);
            }
            return Ok(None);
        }
        self.agree(&format!("{} {line}", change.verb.word()))?;
        self.attempts.fetch_add(1, Ordering::SeqCst);
        // The same name in another region or account is another thing.
        let name = match self.scope() {
            Some(scope) => format!("{}/{}/{}", scope.identity.account, scope.region, change.name),
            None => change.name.to_owned(),
        };
        loop {
            let intent =
                self.with_journal(|journal| journal.intend(change.service, change.operation, &name))?;
            let send = || call(intent.token.clone());
            let answer = match change.verb {
                // What is not there any more needs no deletion.
                Verb::Delete | Verb::Remove => self.block(send()),
                _ => self.until_known(&format!("{} {}", change.service, change.name), send),
            };
            // What was read meanwhile may be from before.
            self.attempts.fetch_add(1, Ordering::SeqCst);
            match answer {
                Ok(value) => {
                    if matches!(change.verb, Verb::Create | Verb::Add) {
                        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    }
                    self.with_journal(|journal| journal.done(&intent, value.id(), change.detail))?;
                    self.progress.changed(change.verb, &line);
                    self.record(change, None);
                    return Ok(Some(value));
                }
                // The token was spent on a thing that is gone or was other: this is a new thing.
                Err(error) if error.code == "IdempotentInstanceTerminated" => {
                    self.with_journal(|journal| {
                        journal.next_generation(&name);
                        journal.failed(&intent, &error)
                    })?;
                }
                Err(error) => {
                    self.record(change, Some(&error));
                    self.with_journal(|journal| journal.failed(&intent, &error))?;
                    return Err(error);
                }
            }
        }
    }

    /// Keeps a change for the report of the run.
    fn record(&self, change: Change<'_>, failure: Option<&Error>) {
        if let Some(record) = self.progress.record() {
            let of = [change.service, change.operation, change.name];
            record.changed(change.verb, of, change.detail, failure.map(Error::title));
        }
    }

    /// The door for what is no resource: a message, SQL, a command on a server. It is counted; a dry run says `what` would be done and
    /// fails with kind `planned`, which makes the result a value that is known after the deployment.
    pub fn effect(&self, what: &str) -> Result<(), Error> {
        self.turn()?;
        if !self.dry_run {
            self.agree_to_effect(what)?;
        }
        self.progress.effect(what);
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.dry_run {
            self.progress.line(Line::Info, &format!("  > {what}"));
            self.listed.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned());
            return Err(Error::planned(format!("the result of: {what}")));
        }
        Ok(())
    }

    /// Whether a plan has come by an effect of that name.
    pub fn is_planned(&self, what: &str) -> bool {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).contains(what)
    }
}
