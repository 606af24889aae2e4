//! The stack of a run: its name, and the names, tags and ARNs of what belongs to it.

use std::sync::atomic::Ordering;

use super::{Host, World};
use crate::error::{Error, Kind};

/// The tag that says whose a resource is.
pub const STACK_TAG: &str = "ops:stack";
/// The tag with a resource's name inside its stack.
pub const NAME_TAG: &str = "ops:name";

impl Host {
    /// Names the stack that everything after it belongs to, and connects.
    pub fn set_stack(&self, name: &str) -> Result<(), Error> {
        if !is_name(name, 32) {
            return Err(Error::invalid(format!("`{name}` cannot be the name of a stack"))
                .help("use up to 32 lower-case letters, digits and single hyphens, starting with a letter: `music-app`"));
        }
        // API references, `CreateSecurityGroup` and `CreateLoadBalancer`.
        if let Some(reserved) =
            ["sg", "internal"].into_iter().find(|word| name.split('-').next() == Some(word))
        {
            return Err(Error::invalid(format!("`{name}` cannot be the name of a stack"))
                .help(format!("AWS refuses names of security groups that begin with `sg-`, and of load balancers that begin with `internal-`: begin with another word than `{reserved}`")));
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
        if !is_name(name, 30) {
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

    pub(super) fn place(&self) -> String {
        match &self.world {
            World::Local { .. } => "local cloud".to_owned(),
            World::Aws => match self.clients.get() {
                Some(aws) => format!("account {} in {}", aws.identity.account, aws.region),
                None => "no account yet".to_owned(),
            },
        }
    }
}

/// Whether a name of at most so many letters is one that every service takes as a part of its own names.
fn is_name(name: &str, longest: usize) -> bool {
    name.len() <= longest
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
        && !name.contains("--")
}
