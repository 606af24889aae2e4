//! The lock that two machines share: the SSM parameter `/ops/<stack>/lock/<n>`, which ends by itself.
//!
//! To take it over when it has expired is to make `n + 1` without overwriting, so that only one of two can win. Only the owner renews
//! it, and only before it expires. Giving it back deletes it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_ssm::types::ParameterType;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clients::aws::{Clients, failure};
use crate::error::{Error, Kind, LOCKED};

/// How long a lease holds without being renewed: what others wait for after a crash.
const LEASE_S: i64 = 60;

/// A third of the lease: two renewals may fail.
const RENEWAL: Duration = Duration::from_secs(20);

/// A change is not begun when the lease ends sooner than this: the call has to be through before.
const MARGIN_S: i64 = 10;

/// What the parameter says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// Who, for people: `maria@laptop, process 4711`.
    who: String,
    /// The machine and the file of its lock: whoever has that lock knows that this holder is gone.
    place: String,
    /// Random, so that two runs of one place differ.
    id: String,
    /// Seconds since 1970, as are those of `until_s`.
    since_s: i64,
    until_s: i64,
}

/// A lease that this run holds; it is renewed until it is given back or dropped.
pub struct Lease {
    ssm: aws_sdk_ssm::Client,
    name: String,
    stack: String,
    /// When it ends, as far as this run knows.
    until_s: Arc<Mutex<i64>>,
    renewal: tokio::task::JoinHandle<()>,
}

impl Lease {
    /// Takes the lease of `stack`. Whoever calls has the lock of the file at `path`.
    pub(super) async fn take(path: &Path, stack: &str, clients: &Clients) -> Result<Self, Error> {
        let ssm = clients.ssm.clone();
        let folder = format!("/ops/{stack}/lock");
        let mut holder = Holder::here(path);
        loop {
            let current = read(&ssm, &folder).await?;
            if let Some((_, held)) = &current
                && held.place != holder.place
                && held.until_s > now_s()
            {
                return Err(held.refuse(stack));
            }
            let number = current.map_or(1, |(number, _)| number + 1);
            let name = format!("{folder}/{number}");
            holder.renew();
            match put(&ssm, &name, &holder, false).await {
                // Somebody else was faster: it is theirs, and says so.
                Err(error) if error.kind == Kind::Exists => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Lease::held(ssm, name, stack, holder)),
            }
        }
    }

    fn held(ssm: aws_sdk_ssm::Client, name: String, stack: &str, mut holder: Holder) -> Self {
        let until_s = Arc::new(Mutex::new(holder.until_s));
        let renewal = {
            let (ssm, name, until_s) = (ssm.clone(), name.clone(), until_s.clone());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(RENEWAL).await;
                    // One that has expired may be another's: it is never renewed.
                    if now_s() >= holder.until_s {
                        return;
                    }
                    holder.renew();
                    // A renewal that fails is tried again with the next one; `check` knows when it is too late.
                    if put(&ssm, &name, &holder, true).await.is_ok() {
                        *until_s.lock().unwrap_or_else(PoisonError::into_inner) = holder.until_s;
                    }
                }
            })
        };
        Lease { ssm, name, stack: stack.to_owned(), until_s, renewal }
    }

    /// Fails where the lease has ended, as after the machine has slept: another run may have the stack.
    pub fn check(&self) -> Result<(), Error> {
        let until_s = *self.until_s.lock().unwrap_or_else(PoisonError::into_inner);
        if until_s - now_s() > MARGIN_S {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            format!(
                "the lock of the stack `{}` could not be renewed: another run may have it now",
                self.stack
            ),
        )
        .code(LOCKED)
        .help("run the same command again: it goes on where this run stopped"))
    }

    /// Gives it back (SSM `DeleteParameter`), together with expired ones before it.
    pub async fn release(&self) -> Result<(), Error> {
        self.renewal.abort();
        let folder = self.name.rsplit_once('/').map_or(self.name.as_str(), |(folder, _)| folder);
        let own: u64 = number_of(&self.name).unwrap_or_default();
        for name in names(&self.ssm, folder).await?.into_iter().filter(|name| number_of(name) <= Some(own)) {
            match self
                .ssm
                .delete_parameter()
                .name(name)
                .send()
                .await
                .map_err(|error| failure("ssm", "DeleteParameter", error))
            {
                Err(error) if error.kind != Kind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Holder {
    fn here(path: &Path) -> Self {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
        let id: [u8; 8] = rand::random();
        Holder {
            who: format!("{user}@{machine}, process {}", std::process::id()),
            place: format!("{machine}:{}", path.display()),
            id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            since_s: now_s(),
            until_s: now_s(),
        }
    }

    fn renew(&mut self) {
        self.until_s = now_s() + LEASE_S;
    }

    fn refuse(&self, stack: &str) -> Error {
        let time = |seconds: i64| {
            Timestamp::from_second(seconds)
                .map_or_else(|_| seconds.to_string(), |it| it.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
        };
        Error::new(
            Kind::Conflict,
            format!(
                "the stack `{stack}` is locked by {} since {}, until {} if that run does not go on",
                self.who,
                time(self.since_s),
                time(self.until_s)
            ),
        )
        .code(LOCKED)
        .help("wait until that run has ended, or add `--lock-wait 5m`")
    }
}

fn now_s() -> i64 {
    Timestamp::now().as_second()
}

fn number_of(name: &str) -> Option<u64> {
    name.rsplit('/').next()?.parse().ok()
}

/// The newest lease, with its number (SSM `GetParametersByPath`).
async fn read(ssm: &aws_sdk_ssm::Client, folder: &str) -> Result<Option<(u64, Holder)>, Error> {
    let mut newest: Option<(u64, Holder)> = None;
    let mut pages = ssm.get_parameters_by_path().path(folder).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure("ssm", "GetParametersByPath", error))?;
        for parameter in page.parameters() {
            let (Some(number), Some(text)) = (parameter.name().and_then(number_of), parameter.value()) else {
                continue;
            };
            let holder = serde_json::from_str(text).map_err(|error| {
                Error::new(Kind::Conflict, format!("the parameter {folder}/{number} is no lock: {error}"))
                    .help(format!("delete it if no run is under way: `aws ssm delete-parameter --name {folder}/{number}`"))
            })?;
            if newest.as_ref().is_none_or(|(known, _)| *known < number) {
                newest = Some((number, holder));
            }
        }
    }
    Ok(newest)
}

async fn names(ssm: &aws_sdk_ssm::Client, folder: &str) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut pages = ssm.get_parameters_by_path().path(folder).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure("ssm", "GetParametersByPath", error))?;
        names.extend(page.parameters.unwrap_or_default().into_iter().filter_map(|parameter| parameter.name));
    }
    Ok(names)
}

async fn put(ssm: &aws_sdk_ssm::Client, name: &str, holder: &Holder, overwrite: bool) -> Result<(), Error> {
    let value = serde_json::to_string(holder).map_err(|error| Error::internal(error.to_string()))?;
    let request =
        ssm.put_parameter().name(name).value(value).r#type(ParameterType::String).overwrite(overwrite);
    request.send().await.map(drop).map_err(|error| failure("ssm", "PutParameter", error))
}
