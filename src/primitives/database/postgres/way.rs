//! The way to a database that only its own network reaches: directly where it answers, else through a server beside it, over SSH.
//!
//! For an instance of the stack the port of SSH is opened to this machine alone, for as long as the connection lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rhai::Dynamic;

use crate::clients::ssh::Tunnel;
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::aws::ec2::{self, Rule, SecurityGroup, temporary};
use crate::primitives::aws::rds::Endpoint;
use crate::primitives::flow::my_ip;
use crate::primitives::namespace::Call;
use crate::primitives::remote::ssh;
use crate::progress::Line;

/// A database that can be reached accepts a connection in well under a second; a firewall says nothing.
const DIRECT_WITHIN: Duration = Duration::from_secs(3);

/// A new instance takes a minute or two until its SSH server answers.
const LOGIN_WITHIN: Duration = Duration::from_secs(5 * 60);

/// What `via` may be.
pub(super) fn is_via(value: &Dynamic) -> bool {
    value.is::<ec2::Instance>() || value.is::<ssh::Session>()
}

/// How the database is reached. The tunnel and the open port end with it.
#[derive(Default)]
pub(super) struct Way {
    tunnel: Option<Tunnel>,
    _open: Option<Open>,
}

impl Way {
    /// Where to connect to instead of the database's own address.
    pub(super) fn through(&self) -> Option<SocketAddr> {
        self.tunnel.as_ref().map(|tunnel| tunnel.address)
    }

    /// What the tunnel has met, in the error of whoever used it.
    pub(super) fn explain(&self, error: Error) -> Error {
        match self.tunnel.as_ref().and_then(Tunnel::failure) {
            Some(failure) => error.help(format!("the tunnel: {}", failure.title())),
            None => error,
        }
    }
}

/// A port that is closed again when this is dropped.
struct Open {
    host: Arc<Host>,
    opened: temporary::Opened,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Err(error) = self.host.uninterrupted(|| temporary::close(&self.host, &self.opened)) {
            self.host
                .progress
                .line(Line::Warning, &format!("the port of SSH is still open: {}", error.title()));
        }
    }
}

/// The way that `via` gives: a session is always used, an instance only where the database does not answer by itself.
pub(super) fn find(call: &Call, via: Option<&Dynamic>, database: &Endpoint) -> Result<Way, Error> {
    let Some(via) = via else { return Ok(Way::default()) };
    if let Some(session) = via.clone().try_cast::<ssh::Session>() {
        let tunnel = session.tunnel(call, &database.host, database.port)?;
        return Ok(Way { tunnel: Some(tunnel), _open: None });
    }
    let Some(instance) = via.clone().try_cast::<ec2::Instance>() else {
        return Err(Error::invalid("`via` is an instance or a session").key("via"));
    };
    if answers(call, database)? {
        return Ok(Way::default());
    }
    let title = instance.full_name().to_owned();
    call.progress
        .line(Line::Info, &format!("{} does not answer from here: going through {title}", database.host));
    let range = my_ip(call)?;
    let open = match instance.security_groups(call)?.into_iter().next() {
        Some((id, name)) => open(call, id, name, &range)?,
        None => None,
    };
    let target = ssh::of_instance(call, &instance)?;
    let (host, port) = (&database.host, database.port);
    let tunnel = call.wait(&format!("ssh on {title}"), LOGIN_WITHIN, || async {
        match Tunnel::open(target.clone(), host.clone(), port).await {
            Ok(tunnel) => Ok(Ok(tunnel)),
            // Nothing listens yet, or the boot is still under way.
            Err(error) if error.retryable && error.operation == "connect" => {
                Ok(Err("no answer yet".to_owned()))
            }
            Err(error) => Err(error),
        }
    })?;
    Ok(Way { tunnel: Some(tunnel), _open: open })
}

fn open(call: &Call, id: String, name: String, range: &str) -> Result<Option<Open>, Error> {
    let group = SecurityGroup { id: Some(id), full_name: name.clone(), name, vpc: String::new() };
    let rule = Rule::tcp(call, 22, &Dynamic::from(range.to_owned()))?;
    Ok(temporary::open(call, &group, &rule)?.map(|opened| Open { host: call.host.clone(), opened }))
}

fn answers(call: &Call, database: &Endpoint) -> Result<bool, Error> {
    let connected = call.block_without_account(async {
        let connecting = tokio::net::TcpStream::connect((database.host.as_str(), database.port));
        Ok(tokio::time::timeout(DIRECT_WITHIN, connecting).await)
    });
    match connected {
        Ok(outcome) => Ok(matches!(outcome, Ok(Ok(_)))),
        Err(error) if error.kind == Kind::Interrupted => Err(error),
        Err(_) => Ok(false),
    }
}
