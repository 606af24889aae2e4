//! What a stack owns: found by its tags, listed in the order in which it can be deleted.
//!
//! Only what carries the stack's tag is ever listed, and so only that is ever deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::Error;
use crate::host::Host;

/// One resource of a stack.
#[derive(Clone)]
pub struct Owned {
    /// How a playbook names it: `rds:db`, `ec2:security_group/app`.
    pub key: String,
    /// How a person reads it: `RDS instance music-app-db`.
    pub title: String,
    /// The service's own word for how it is, such as `running`; empty where it has none.
    pub status: String,
    /// What has to go first has the smaller number; equal numbers go side by side.
    pub order: u8,
    /// Not deleted unless the stack's name is given as consent.
    pub protected: bool,
    /// Keys of what this thing cannot be without.
    pub needs: Vec<String>,
    pub delete: Action,
    /// Waits until it is gone.
    pub wait: Action,
}

/// What to do with a resource; it holds the resource's id.
pub type Action = Arc<dyn Fn(&Host) -> Result<(), Error> + Send + Sync>;

/// An action of nothing: for what is gone as soon as the call returns.
pub fn at_once() -> Action {
    Arc::new(|_| Ok(()))
}

/// The resources of a stack, less what is kept.
#[derive(Clone)]
pub struct Inventory {
    pub things: Vec<Owned>,
}

impl Inventory {
    /// Everything that carries the stack's tag, in deletion order.
    pub fn take(host: &Host) -> Result<Self, Error> {
        let lists = [super::aws::OWNED, &[super::local::secrets::owned]].concat();
        let mut things = side_by_side(host, &lists)?;
        things.sort_by(|a, b| a.order.cmp(&b.order).then_with(|| a.key.cmp(&b.key)));
        // A database cannot be read without its secrets.
        let secrets: Vec<String> = keys(&things, "secrets:").collect();
        for database in
            things.iter_mut().filter(|thing| thing.key.starts_with("rds:") && !thing.key.contains('/'))
        {
            database.needs.extend(secrets.iter().cloned());
        }
        if things.is_empty() {
            host.found_empty();
        }
        Ok(Inventory { things })
    }

    /// The inventory without `key` and all that it needs. Where the stack has things of that kind, but not this one, the key is a
    /// mistake that would delete what should be kept: kind `invalid`.
    pub fn keep(&self, key: &str) -> Result<Self, Error> {
        fn kind(key: &str) -> &str {
            key.rsplit_once(['/', ':']).map_or("", |(kind, _)| kind)
        }
        let keys = || self.things.iter().map(|thing| thing.key.as_str());
        let alike: Vec<&str> = keys().filter(|other| kind(other) == kind(key)).collect();
        if !key.contains(':') || !alike.is_empty() && !alike.contains(&key) {
            return Err(Error::invalid(format!("there is no `{key}` in the stack"))
                .help(format!("there is: {}", keys().collect::<Vec<_>>().join(", "))));
        }
        let mut kept: BTreeSet<&str> = BTreeSet::from([key]);
        loop {
            let before = kept.len();
            for thing in &self.things {
                if kept.contains(thing.key.as_str()) {
                    kept.extend(thing.needs.iter().map(String::as_str));
                }
            }
            if kept.len() == before {
                break;
            }
        }
        let things = self.things.iter().filter(|thing| !kept.contains(thing.key.as_str()));
        Ok(Inventory { things: things.cloned().collect() })
    }

    /// Only what has a key in `keys`; one that ends in a colon or a slash stands for all that begin with it.
    pub fn only(&self, keys: &[String]) -> Self {
        let meant = |thing: &&Owned| {
            keys.iter().any(|key| {
                *key == thing.key || key.ends_with([':', '/']) && thing.key.starts_with(key.as_str())
            })
        };
        Inventory { things: self.things.iter().filter(meant).cloned().collect() }
    }

    /// Deletes everything in it, after consent. A failure ends it with the things that go side by side: what comes later may be
    /// what the thing that stayed needs, such as a database its secrets.
    ///
    /// `announce` is done between the consent and the first deletion.
    pub fn delete(
        &self,
        host: &Host,
        to_keep: &str,
        announce: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.things.is_empty() {
            return Ok(());
        }
        let titles: Vec<String> = self.things.iter().map(|thing| thing.title.clone()).collect();
        let protected: Vec<String> =
            self.things.iter().filter(|thing| thing.protected).map(|thing| thing.title.clone()).collect();
        if !host.dry_run {
            // What a playbook can keep is what holds data.
            let holds_data = self.things.iter().any(|thing| thing.protected && thing.key.starts_with("rds:"));
            let to_keep = if holds_data { to_keep } else { "" };
            host.agree_to_delete(&titles, &protected, to_keep, holds_data)?;
        }
        announce()?;

        let mut failures: Vec<Error> = Vec::new();
        for stage in self.things.chunk_by(|a, b| a.order == b.order) {
            let mut started = Vec::new();
            for thing in stage {
                match (thing.delete)(host) {
                    Ok(()) => started.push(thing),
                    Err(error) => failures.push(stop_if_interrupted(error)?),
                }
            }
            for thing in started.into_iter().filter(|_| !host.dry_run) {
                if let Err(error) = (thing.wait)(host) {
                    failures.push(stop_if_interrupted(error)?);
                }
            }
            if !failures.is_empty() {
                break;
            }
        }
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            count => {
                let first = failures.remove(0);
                let mut all = Error::new(first.kind, format!("{count} things could not be deleted: {first}"));
                for other in failures {
                    all = all.help(format!("also: {other}"));
                }
                Err(all)
            }
        }
    }
}

/// What a service is asked about a stack.
pub type Question<T> = fn(&Host) -> Result<Vec<T>, Error>;

/// Asks all services at once, since none needs another's answer, and gives their answers in the order of the questions.
pub fn side_by_side<T: Send>(host: &Host, questions: &[Question<T>]) -> Result<Vec<T>, Error> {
    let scope = host.scope();
    let answers: Vec<Result<Vec<T>, Error>> = std::thread::scope(|threads| {
        let asked: Vec<_> = questions
            .iter()
            .map(|question| {
                let scope = scope.clone();
                threads.spawn(move || host.within(scope, || question(host)))
            })
            .collect();
        asked
            .into_iter()
            .map(|answer| answer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut all = Vec::new();
    for answer in answers {
        all.extend(answer?);
    }
    Ok(all)
}

fn keys<'a>(things: &'a [Owned], prefix: &'a str) -> impl Iterator<Item = String> + 'a {
    things.iter().filter(move |thing| thing.key.starts_with(prefix)).map(|thing| thing.key.clone())
}

fn stop_if_interrupted(error: Error) -> Result<Error, Error> {
    if error.kind == crate::error::Kind::Interrupted { Err(error) } else { Ok(error) }
}
