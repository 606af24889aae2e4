//! What one run may touch: its clients, its stack, its output; and [`Host::change`], the one door for changes.

mod consent;
pub mod interruption;
mod testing;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rhai::{Engine, EvalAltResult};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use consent::Consent;

use crate::clients::aws::{Clients, Seen};
use crate::error::{Error, Kind, LOCKED};
use crate::journal::Journal;
use crate::lock::Lock;
use crate::progress::{Line, Progress, Verb};
use crate::secret::Secret;
use crate::state::State;

/// The folders and files of the project that a run works in.
#[derive(Debug, Clone)]
pub struct Project {
    /// Paths in a playbook start here.
    pub root: PathBuf,
    /// `.ops`: journal, locks, keys and the local cloud. Mode 0700.
    pub folder: PathBuf,
    /// The state file.
    pub state: PathBuf,
}

/// The world that the clients reach.
#[derive(Debug, Clone)]
pub enum World {
    Aws,
    /// The local cloud, whose files lie in `folder`.
    Local {
        folder: PathBuf,
        /// Whether a test of `ops test` is under way: waits set the cloud's clock forward, and take no time.
        under_test: bool,
    },
}

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

/// The stack of a run, and what its changes need.
struct Session {
    journal: Option<(Lock, Journal)>,
    state: State,
}

/// Makes the clients, when the first of them is needed: a playbook that asks no service needs no account.
pub type Connect = Box<dyn Fn(&Host) -> Result<Clients, Error> + Send + Sync>;

/// One run of one playbook.
pub struct Host {
    connect: Connect,
    clients: OnceLock<Arc<Clients>>,
    pub world: World,
    pub progress: Progress,
    pub project: Project,
    consent: Consent,
    /// Reads are real, changes are only listed.
    pub dry_run: bool,
    runtime: Handle,
    cancelled: AtomicBool,
    cancel: watch::Sender<bool>,
    /// The loops that Ctrl-C ends in place of the run.
    loops: Mutex<Vec<watch::Sender<bool>>>,
    stack: OnceLock<String>,
    session: Mutex<Option<Session>>,
    agreed: AtomicBool,
    /// Held while a person is asked: the threads of `parallel` ask one after the other.
    asking: Mutex<()>,
    /// How often something was to be changed.
    attempts: AtomicU64,
    /// Whether the stack was looked through, and has nothing.
    empty: AtomicBool,
    output: Mutex<Option<serde_json::Value>>,
    /// The stack's secrets by their path, read once in a run.
    pub secrets: Mutex<Option<BTreeMap<String, Secret>>>,
    deferred: Mutex<Vec<Deferred>>,
    /// Why the script has failed, when it has.
    failure: OnceLock<String>,
    /// What a plan has listed: a thing that is asked for twice is made once.
    listed: Mutex<BTreeSet<String>>,
    /// When this run last made something.
    made: Mutex<Option<Instant>>,
    expected: Mutex<Vec<Expectation>>,
}

/// A closure of the script that runs when the script has ended.
pub type Deferred = Box<dyn FnOnce(&Engine) -> Result<(), Box<EvalAltResult>> + Send>;

/// Waits for something that was started, and fails if it did not come up.
type Expectation = Box<dyn Fn(&Host) -> Result<(), Error> + Send>;

impl Host {
    pub fn new(
        connect: Connect,
        world: World,
        progress: Progress,
        project: Project,
        consent: Consent,
        dry_run: bool,
        runtime: Handle,
    ) -> Self {
        if dry_run {
            progress.plan();
        }
        Host {
            connect,
            clients: OnceLock::new(),
            world,
            progress,
            project,
            consent,
            dry_run,
            runtime,
            cancelled: AtomicBool::new(false),
            cancel: watch::Sender::new(false),
            loops: Mutex::new(Vec::new()),
            stack: OnceLock::new(),
            session: Mutex::new(None),
            agreed: AtomicBool::new(false),
            asking: Mutex::new(()),
            attempts: AtomicU64::new(0),
            empty: AtomicBool::new(false),
            output: Mutex::new(None),
            secrets: Mutex::new(None),
            deferred: Mutex::new(Vec::new()),
            failure: OnceLock::new(),
            listed: Mutex::new(BTreeSet::new()),
            made: Mutex::new(None),
            expected: Mutex::new(Vec::new()),
        }
    }

    // ---- clients ------------------------------------------------------------------------------------------------

    /// The clients: those of the scope that this thread is in, else the run's own. The first use connects them and prints the account line.
    pub fn aws(&self) -> Result<Arc<Clients>, Error> {
        match self.scope() {
            Some(clients) => Ok(clients),
            None => self.own_aws(),
        }
    }

    /// The run's own clients, also inside a scope: lock, journal and state belong to them.
    fn own_aws(&self) -> Result<Arc<Clients>, Error> {
        if let Some(clients) = self.clients.get() {
            return Ok(clients.clone());
        }
        let clients = Arc::new((self.connect)(self)?);
        let first = self.clients.get().is_none();
        let clients = self.clients.get_or_init(|| clients);
        if first {
            self.progress.line(Line::Info, &self.account_line(clients));
        }
        Ok(clients.clone())
    }

    /// The clients of another region or role that this thread works with for a while.
    pub fn scope(&self) -> Option<Arc<Clients>> {
        SCOPE.with_borrow(Clone::clone)
    }

    /// Runs something with the clients of a scope, or without one.
    pub fn within<T>(&self, scope: Option<Arc<Clients>>, run: impl FnOnce() -> T) -> T {
        /// Puts the outer scope back, also when a panic passes.
        struct Restore(Option<Arc<Clients>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                SCOPE.set(self.0.take());
            }
        }
        let _restore = Restore(SCOPE.replace(scope));
        run()
    }

    /// Whether the run has asked any service.
    pub fn used(&self) -> bool {
        self.clients.get().is_some()
    }

    fn account_line(&self, clients: &Clients) -> String {
        let identity = &clients.identity;
        let mut line = match &self.world {
            World::Local { .. } => format!("local cloud · {}", clients.region),
            World::Aws => format!("account {} · {} · {}", identity.account, clients.region, identity.caller),
        };
        if let Some(left) =
            identity.expiry.and_then(|expiry| expiry.duration_since(std::time::SystemTime::now()).ok())
        {
            line += &format!(" · credentials {} min left", left.as_secs() / 60);
        }
        line
    }

    // ---- cancellation -------------------------------------------------------------------------------------------

    /// Stops the run: the blocked call returns, and the script ends at its next operation.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.cancel.send_replace(true);
    }

    pub fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Runs an operation that uses the clients to its end, or fails with kind `interrupted` when the run is stopped.
    pub fn block<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        // Here, since a client cannot be connected in the middle of an operation: that would block inside the runtime.
        self.aws()?;
        self.block_without_account(operation)
    }

    /// The same for an operation that uses no client.
    pub fn block_without_account<T>(
        &self,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut cancel = self.cancel.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = cancel.wait_for(|cancelled| *cancelled) => Err(Error::interrupted()),
                done = operation => done,
            }
        })
    }

    /// Asks `probe` again and again until it gives a value, with a line that says what is waited for. A dry run does not wait: what
    /// is not there yet is known after the deployment (kind `planned`).
    ///
    /// `probe` returns `Ok(Err(status))` for "not yet". Fails with kind `timeout`, naming the last status, after `limit`.
    pub fn wait<T, F, P>(&self, what: &str, limit: Duration, mut probe: P) -> Result<T, Error>
    where
        P: FnMut() -> F,
        F: Future<Output = Result<Result<T, String>, Error>>,
    {
        let started = Instant::now();
        let mut line = None;
        let mut pause = self.shortest_pause();
        loop {
            let status = match self.block(probe()) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(_)) if self.dry_run => return Err(Error::planned(what)),
                Ok(Err(status)) => status,
                // EC2 API Reference, "Eventual consistency"; other services have it too.
                Err(error) if error.kind == Kind::NotFound && self.made_lately() => {
                    format!("not visible everywhere yet ({})", error.code)
                }
                Err(error) => return Err(error),
            };
            line.get_or_insert_with(|| self.progress.wait(what)).status(&status);
            if started.elapsed() > limit {
                return Err(Error::new(
                    Kind::Timeout,
                    format!("{what}: still {status} after {}", crate::progress::seconds(limit)),
                )
                .help("run the same command again to go on waiting"));
            }
            self.block(async {
                tokio::time::sleep(pause).await;
                Ok(())
            })?;
            pause = (pause * 2).min(self.longest_pause());
        }
    }

    /// AWS throttles describe calls; the local cloud does not.
    fn shortest_pause(&self) -> Duration {
        match self.world {
            World::Aws => Duration::from_secs(2),
            World::Local { .. } => Duration::from_millis(20),
        }
    }

    /// The SDKs' waiters ask every 15 to 30 s.
    fn longest_pause(&self) -> Duration {
        match self.world {
            World::Aws => Duration::from_secs(15),
            World::Local { .. } => Duration::from_millis(200),
        }
    }

    // ---- what runs at the end, and without an end ---------------------------------------------------------------

    /// Remembers a closure for the end of the run.
    pub fn defer(&self, deferred: Deferred) {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).push(deferred);
    }

    /// The closure that was deferred last and has not run yet.
    pub fn next_deferred(&self) -> Option<Deferred> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Remembers why the script has failed.
    pub fn fail(&self, why: &str) {
        // The first reason is the one.
        _ = self.failure.set(crate::secret::mask(why));
    }

    /// Why the script has failed; `None` while it runs, and where it has not.
    pub fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    /// Runs what has to be done also after Ctrl-C, such as closing what was opened. A second Ctrl-C ends the process.
    pub fn uninterrupted<T>(&self, run: impl FnOnce() -> T) -> T {
        let cancelled = self.cancelled.swap(false, Ordering::SeqCst);
        self.cancel.send_replace(false);
        let outcome = run();
        if cancelled {
            self.cancel();
        }
        outcome
    }

    // ---- the stack ----------------------------------------------------------------------------------------------

    /// Names the stack that everything after it belongs to, and connects.
    pub fn set_stack(&self, name: &str) -> Result<(), Error> {
        let usable = name.len() <= 32
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.ends_with('-')
            && !name.contains("--");
        if !usable {
            return Err(Error::invalid(format!("`{name}` cannot be the name of a stack"))
                .help("use up to 32 lower-case letters, digits and single hyphens, starting with a letter: `music-app`"));
        }
        let current = self.stack.get_or_init(|| name.to_owned());
        if current != name {
            return Err(Error::invalid(format!("this run already has the stack `{current}`")));
        }
        // The account line comes first, and missing credentials before anything else.
        self.own_aws().map(drop)
    }

    /// Remembers that the stack has nothing.
    pub fn found_empty(&self) {
        self.empty.store(true, Ordering::SeqCst);
    }

    /// Whether the stack was looked through and had nothing, and nothing was made of it since.
    pub fn is_empty(&self) -> bool {
        self.empty.load(Ordering::SeqCst) && self.progress.changes() == 0
    }

    /// The stack's name. Fails where the playbook has not called `stack(..)` yet.
    pub fn stack(&self) -> Result<&str, Error> {
        self.stack.get().map(String::as_str).ok_or_else(|| {
            Error::invalid("the playbook has no stack yet")
                .help("begin it with `stack(\"music-app\");`: what is made carries that name")
        })
    }

    /// The real name of a thing of this stack: `<stack>-<name>`.
    pub fn full_name(&self, name: &str) -> Result<String, Error> {
        let usable = !name.is_empty()
            && name.len() <= 30
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.ends_with('-')
            && !name.contains("--");
        if !usable {
            return Err(Error::invalid(format!("`{name}` cannot be the name of a resource"))
                .help("use up to 30 lower-case letters, digits and single hyphens, starting with a letter: `server`"));
        }
        Ok(format!("{}-{name}", self.stack()?))
    }

    /// The tags of a thing of this stack, as pairs.
    pub fn tags(&self, name: &str) -> Result<Vec<(String, String)>, Error> {
        let stack = self.stack()?;
        Ok(vec![
            ("Name".to_owned(), self.full_name(name)?),
            ("Application".to_owned(), stack.to_owned()),
            (STACK_TAG.to_owned(), stack.to_owned()),
            (NAME_TAG.to_owned(), name.to_owned()),
        ])
    }

    /// Fails unless `owner`, the value of the stack's tag on a thing that was found by its name, is this stack.
    pub fn own(&self, thing: &str, owner: Option<&str>) -> Result<(), Error> {
        let stack = self.stack()?;
        if owner == Some(stack) {
            return Ok(());
        }
        let whose = owner.map_or_else(|| "no stack".to_owned(), |owner| format!("the stack `{owner}`"));
        Err(Error::new(Kind::Conflict, format!("the {thing} belongs to {whose}, and not to `{stack}`"))
            .help("name the stack or the thing otherwise"))
    }

    /// The ARN of a thing of this account and region whose ARN ends in its name, as topics' and queues' do.
    pub fn arn(&self, service: &str, full_name: &str) -> Result<String, Error> {
        let aws = self.aws()?;
        Ok(format!(
            "arn:{}:{service}:{}:{}:{full_name}",
            aws.identity.partition, aws.region, aws.identity.account
        ))
    }

    /// Uses what belongs to the stack. The first use reads its state file: one that cannot be read, or is another's, ends the run
    /// before anything is changed.
    fn with_session<T>(
        &self,
        use_session: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let stack = self.stack()?;
        let aws = self.own_aws()?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match &mut *session {
            Some(open) => open,
            none => {
                let state = State::open(&self.project.state, stack, &aws.identity.account, &aws.region)?;
                none.insert(Session { journal: None, state })
            }
        };
        use_session(session)
    }

    // ---- state --------------------------------------------------------------------------------------------------

    /// Reads or writes the stack's state.
    pub fn with_state<T>(&self, use_state: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        self.with_session(|session| use_state(&mut session.state))
    }

    // ---- changes ------------------------------------------------------------------------------------------------

    /// The stack's things of one kind as they were read last, or now if this run has tried to change anything since, or some seconds
    /// have gone by. For the many looks of a converging run; who waits for something to happen reads for themselves.
    pub fn seen<T>(
        &self,
        of: impl Fn(&Clients) -> &Seen<T>,
        read: impl FnOnce() -> Result<Vec<T>, Error>,
    ) -> Result<Arc<Vec<T>>, Error> {
        let clients = self.aws()?;
        match of(&clients).get(self.attempts.load(Ordering::SeqCst)) {
            Some(list) => Ok(list),
            None => self.read(of, read),
        }
    }

    /// Reads them now, for [`Host::seen`] too.
    pub fn read<T>(
        &self,
        of: impl Fn(&Clients) -> &Seen<T>,
        read: impl FnOnce() -> Result<Vec<T>, Error>,
    ) -> Result<Arc<Vec<T>>, Error> {
        let (attempts, asked_at) = (self.attempts.load(Ordering::SeqCst), Instant::now());
        let list = read()?;
        Ok(of(&*self.aws()?).keep(attempts, asked_at, list))
    }

    /// Whether this run has made something that may not be known everywhere yet.
    fn made_lately(&self) -> bool {
        let made = *self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.is_some_and(|made| made.elapsed() < VISIBLE_WITHIN)
    }

    /// Sends a change; where it fails since something that this run has just made is not known everywhere yet, again for a while
    /// (EC2 API Reference, "Eventual consistency").
    fn send<T, F>(&self, change: Change<'_>, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deletes = matches!(change.verb, Verb::Delete | Verb::Remove);
        let mut line = None;
        loop {
            let failed = match self.block(call()) {
                Err(error) if error.kind == Kind::NotFound && !deletes => error,
                other => return other,
            };
            if !self.made_lately() {
                return Err(failed);
            }
            line.get_or_insert_with(|| self.progress.wait(&format!("{} {}", change.service, change.name)))
                .status(&format!("not visible everywhere yet ({})", failed.code));
            self.block(async {
                tokio::time::sleep(self.shortest_pause()).await;
                Ok(())
            })?;
        }
    }

    /// The one door for a change of a resource.
    ///
    /// At the first one of a run it asks for consent and takes the stack's lock. For each it journals the intent, with a client token
    /// that is the same when a killed run is repeated, then calls, journals the outcome, counts, and prints one line.
    ///
    /// `None` in a dry run: the change was listed, and nothing was sent.
    pub fn change<T, F>(&self, change: Change<'_>, call: impl Fn(String) -> F) -> Result<Option<T>, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
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
            let answer = self.send(change, || call(intent.token.clone()));
            // What was read meanwhile may be from before.
            self.attempts.fetch_add(1, Ordering::SeqCst);
            match answer {
                Ok(value) => {
                    if matches!(change.verb, Verb::Create | Verb::Add) {
                        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    }
                    self.with_journal(|journal| journal.done(&intent, change.detail))?;
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

    /// The journal, under the stack's lock, which the first use takes.
    fn with_journal<T>(
        &self,
        use_journal: impl FnOnce(&mut Journal) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.with_session(|session| {
            let (lock, journal) = match &mut session.journal {
                Some(open) => open,
                none => none.insert(self.open_journal()?),
            };
            lock.lease.check()?;
            use_journal(journal)
        })
    }

    fn open_journal(&self) -> Result<(Lock, Journal), Error> {
        let stack = self.stack()?;
        let aws = self.own_aws()?;
        let scope = format!("{}-{}-{stack}", aws.identity.account, aws.region);
        let folder = self.project.folder.join("journal");
        private_folder(&folder)?;
        let lock = self.take_lock(&folder.join(format!("{scope}.lock")), stack, &aws)?;
        let journal = Journal::open(&folder.join(format!("{scope}.ndjson")), &scope)?;
        Ok((lock, journal))
    }

    /// Takes the stack's lock; while another run has it, waits as long as `--lock-wait` says.
    fn take_lock(&self, path: &Path, stack: &str, aws: &Clients) -> Result<Lock, Error> {
        let deadline = Instant::now() + self.consent.lock_wait;
        let mut line = None;
        loop {
            match self.block(Lock::take(path, stack, aws)) {
                Err(error) if error.code == LOCKED && Instant::now() < deadline => {
                    line.get_or_insert_with(|| self.progress.wait("lock")).status(&error.message);
                    self.block(async {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        Ok(())
                    })?;
                }
                other => return other,
            }
        }
    }

    /// Gives the stack's lock back, if the run has taken it.
    pub fn unlock(&self) -> Result<(), Error> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match session.as_mut().and_then(|session| session.journal.take()) {
            Some((lock, _)) => self.block(lock.lease.release()),
            None => Ok(()),
        }
    }

    /// Makes ready for another statement of the same session: an interruption and an agreement were for the one before.
    pub fn begin_statement(&self) {
        self.cancelled.store(false, Ordering::SeqCst);
        self.cancel.send_replace(false);
        self.agreed.store(false, Ordering::SeqCst);
        // What was seen before is looked at again.
        self.attempts.fetch_add(1, Ordering::SeqCst);
    }

    /// Gives the stack's lock back, and forgets what was read of the stack: hours may pass until the next statement.
    pub fn end_statement(&self) -> Result<(), Error> {
        let unlocked = self.uninterrupted(|| self.unlock());
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.secrets.lock().unwrap_or_else(PoisonError::into_inner) = None;
        unlocked
    }

    fn place(&self) -> String {
        match &self.world {
            World::Local { .. } => "local cloud".to_owned(),
            World::Aws => match self.clients.get() {
                Some(aws) => format!("account {} in {}", aws.identity.account, aws.region),
                None => "no account yet".to_owned(),
            },
        }
    }

    // ---- what was started ---------------------------------------------------------------------------------------

    /// Remembers something that was started and that the run has to see come up, also if the script never asks for it.
    pub fn expect(&self, come_up: impl Fn(&Host) -> Result<(), Error> + Send + 'static) {
        let scope = self.scope();
        let come_up = move |host: &Host| host.within(scope.clone(), || come_up(host));
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(come_up));
    }

    /// Waits for everything that was started.
    pub fn settle(&self) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        let expected = std::mem::take(&mut *self.expected.lock().unwrap_or_else(PoisonError::into_inner));
        expected.iter().try_for_each(|come_up| come_up(self))
    }

    // ---- the result ---------------------------------------------------------------------------------------------

    /// What the playbook gives back on stdout.
    pub fn set_output(&self, value: serde_json::Value) {
        *self.output.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// What the playbook has given, once.
    pub fn take_output(&self) -> Option<serde_json::Value> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

thread_local! {
    /// The clients of `aws::in_region` and `aws::as_role`, for the script's thread and for each thread of `parallel`.
    static SCOPE: RefCell<Option<Arc<Clients>>> = const { RefCell::new(None) };
}

/// How long a new thing may be unknown to another part of AWS; seconds as a rule; an instance profile up to two minutes.
const VISIBLE_WITHIN: Duration = Duration::from_secs(120);

/// The tag that says whose a resource is.
pub const STACK_TAG: &str = "ops:stack";
/// The tag with a resource's name inside its stack.
pub const NAME_TAG: &str = "ops:name";

/// Makes `folder` and what is above it, and keeps others out of it.
pub fn private_folder(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| Error::io(format_args!("make the folder {}", folder.display()), &source))
}
