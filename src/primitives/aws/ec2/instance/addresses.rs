//! What only a running instance has: its addresses, where its service answers, and where it is logged in to.

use std::sync::PoisonError;
use std::time::Duration;

use aws_sdk_ec2::types::Instance as Description;

use super::{Instance, START_LIMIT};
use crate::clients::aws::failure;
use crate::clients::http;
use crate::error::{Error, Kind};
use crate::host::{Host, World};
use crate::primitives::aws::ec2::describe::state;
use crate::primitives::aws::ec2::image::LOGIN_TAG;
use crate::primitives::namespace::Call;

/// The tag by which the local cloud says where an instance's service really answers.
const LOCAL_ADDRESS_TAG: &str = "ops-local:address";

/// Where the local cloud says that an instance is logged in to: `user@host:port`.
const LOCAL_SSH_TAG: &str = "ops-local:ssh";

/// What only a running instance has.
#[derive(Clone)]
pub(super) struct Addresses {
    pub(super) public_ip: String,
    pub(super) private_ip: String,
    /// Where its service answers: `host:port`.
    pub(super) address: String,
    /// The port in it, 0 where there is no service.
    pub(super) port: u16,
    /// The local cloud's word on where to log in.
    local_ssh: Option<String>,
    /// Who logs in, where that is not the user of Amazon Linux.
    user: Option<String>,
}

impl Addresses {
    /// The user that its image has, or else `user`, at the public address, or else the private one.
    fn login(&self, user: &str) -> String {
        let address = if self.public_ip.is_empty() { &self.private_ip } else { &self.public_ip };
        format!("{}@{address}", self.user.as_deref().unwrap_or(user))
    }
}

impl Instance {
    /// Waits until it runs.
    pub fn wait_running(&self, call: &Call) -> Result<(), Error> {
        self.addresses(call, "wait").map(drop)
    }

    /// Its addresses; waits for them where they are not there yet. `reading` is the property that the script reads.
    pub(super) fn addresses(&self, call: &Call, reading: &str) -> Result<Addresses, Error> {
        let what =
            if reading == "wait" { String::new() } else { format!(" ({} reads `{reading}`)", call.place()) };
        self.wait(call, &what)
    }

    /// Where to log in by SSH as `user`, or as who its image has, as `user@address`: the public address, else the private one. Waits until the instance runs.
    /// In the local cloud, the server that was named for it.
    pub fn login(&self, call: &Call, user: &str) -> Result<String, Error> {
        let addresses = self.addresses(call, "wait")?;
        if matches!(call.world, World::Local { .. }) {
            return addresses.local_ssh.ok_or_else(|| {
                Error::invalid(format!(
                    "{} is an instance of the local cloud, which has no shell: its service runs as a process of this machine",
                    self.0.full_name
                ))
                .help("do what needs ssh on a real server: name it like `user@host`")
                .help(format!(
                    "or name an ssh server of this machine for {} in .ops/local/sshd.json before it is launched (docs/operations.md)",
                    self.0.full_name
                ))
            });
        }
        Ok(addresses.login(user))
    }

    pub(super) fn wait(&self, host: &Host, why: &str) -> Result<Addresses, Error> {
        self.id()?;
        let known = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(addresses) => Ok(addresses),
            None => self.look(host, &format!("instance {}{why}", self.0.name), |_| true),
        }
    }

    /// Waits until it is seen to have this public address: what was known of its addresses holds no longer.
    pub fn wait_for_public_ip(&self, host: &Host, public_ip: &str) -> Result<(), Error> {
        let what = format!("address {public_ip} of instance {}", self.0.name);
        self.look(host, &what, |addresses| addresses.public_ip == public_ip).map(drop)
    }

    /// Its addresses as soon as it runs and they are as `wanted`, for later as well.
    fn look(&self, host: &Host, what: &str, wanted: impl Fn(&Addresses) -> bool) -> Result<Addresses, Error> {
        let id = self.id()?;
        let addresses = host.within(self.0.scope.clone(), || {
            host.wait(what, START_LIMIT, || async {
                let request = host.aws()?.ec2.describe_instances().instance_ids(id);
                let answer =
                    match request.send().await.map_err(|error| failure("ec2", "DescribeInstances", error)) {
                        // Right after the launch, EC2 may not know its own answer yet (EC2 API Reference, "Eventual consistency").
                        Err(error) if error.code == "InvalidInstanceID.NotFound" => {
                            return Ok(Err(state(None)));
                        }
                        other => other?,
                    };
                let found = answer.reservations().iter().flat_map(|r| r.instances()).next();
                let state = state(found);
                match (state.as_str(), found) {
                    ("running", Some(found)) => {
                        Ok(Some(self.read(found)).filter(&wanted).ok_or_else(|| "not visible yet".to_owned()))
                    }
                    ("shutting-down" | "terminated", Some(found)) => {
                        let reason = found
                            .state_reason()
                            .and_then(|reason| reason.message())
                            .unwrap_or("no reason given");
                        Err(Error::new(
                            Kind::Unavailable,
                            format!("the instance {} was terminated: {reason}", self.0.full_name),
                        )
                        .of("ec2", "DescribeInstances"))
                    }
                    _ => Ok(Err(state)),
                }
            })
        })?;
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(addresses.clone());
        Ok(addresses)
    }

    /// Where it is known to run, its addresses need not be asked for.
    pub(super) fn seen(&self, found: &Description) {
        if state(Some(found)) == "running" {
            *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.read(found));
        }
    }

    fn read(&self, found: &Description) -> Addresses {
        let private_ip = found.private_ip_address().unwrap_or_default().to_owned();
        let public_ip = found.public_ip_address().unwrap_or_default().to_owned();
        let tag =
            |name: &str| found.tags().iter().find(|tag| tag.key() == Some(name)).and_then(|tag| tag.value());
        let local = tag(LOCAL_ADDRESS_TAG);
        let address = match (local, self.0.port) {
            (Some(address), _) => address.to_owned(),
            (None, port) => {
                let host = if public_ip.is_empty() { &private_ip } else { &public_ip };
                port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
            }
        };
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
        let local_ssh = tag(LOCAL_SSH_TAG).map(str::to_owned);
        let user = tag(LOGIN_TAG).map(str::to_owned);
        Addresses { public_ip, private_ip, address, port, local_ssh, user }
    }
}

pub(super) fn wait_ready(call: &Call, it: &Instance, minutes: i64) -> Result<(), Error> {
    let Some(path) = &it.0.health else {
        return Err(Error::invalid(format!("{} has no service with a `health` path", it.0.full_name)));
    };
    let minutes =
        u64::try_from(minutes).map_err(|_| Error::invalid("wait_ready takes a number of minutes"))?;
    let addresses = it.addresses(call, "wait")?;
    let url = format!("http://{}{path}", addresses.address);
    call.wait(&url, Duration::from_secs(minutes.saturating_mul(60)), || async {
        Ok(match http::get(&url).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => {
                Err(format!("{} {}", answer.status, answer.text.lines().next().unwrap_or_default()))
            }
            // Nothing listens yet, or the start is still under way.
            Err(error) if error.retryable => Err("no answer".to_owned()),
            Err(error) => return Err(error),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::Addresses;

    #[test]
    fn who_logs_in_is_the_user_of_the_image() {
        let mut addresses = Addresses {
            public_ip: "203.0.113.7".to_owned(),
            private_ip: "10.0.0.7".to_owned(),
            address: String::new(),
            port: 0,
            local_ssh: None,
            user: None,
        };
        assert_eq!(addresses.login("ec2-user"), "ec2-user@203.0.113.7");
        addresses.user = Some("ubuntu".to_owned());
        addresses.public_ip.clear();
        assert_eq!(addresses.login("ec2-user"), "ubuntu@10.0.0.7");
    }
}
