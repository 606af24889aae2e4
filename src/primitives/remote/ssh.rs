//! `ssh::` sessions on servers: commands, scripts, files, tunnels. What is done there is an effect: it is counted, and a plan lists it.

mod command;
mod destination;
mod file;

pub use destination::of_instance;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, FnPtr};

use crate::clients::ssh::{Connection, Target, Tunnel, connect as log_in};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::local::secrets::StoredSecret;
use crate::primitives::namespace::{Call, Namespace, thrown};
use crate::progress::Line;

/// A login on a server, for as long as the script holds it.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    target: Target,
    /// `None` once it was closed, or lost in the middle of something.
    connection: Mutex<Option<Connection>>,
    used: Mutex<Instant>,
}

/// A session that nobody used for longer than this is tried before it is used again: servers and firewalls end idle ones.
const IDLE: Duration = Duration::from_secs(2);

const CONNECT: Function = Function {
    name: "connect",
    doc: "A session on a server: `user@host:port`, an alias of ~/.ssh/config, or an instance of the stack.\n\
          The server's host key has to be known: from `known_hosts`, from `host_key`, and for an instance from its console output. Logs in with \
          `key`, the keys of ~/.ssh/config and of the agent.\n\
          Throws `denied` (codes HostKeyChanged, HostKeyUnknown, HostKeyRevoked, AuthenticationFailed), `unavailable` and `timeout`.\n\
          EC2 `DescribeInstances`, `GetConsoleOutput` for an instance.",
    parameters: &["host: ?"],
    returns: "Session",
    permissions: &["ec2:DescribeInstances", "ec2:GetConsoleOutput"],
    example: r#"let web = ssh::connect("web-1", #{ connect_timeout_s: 10 }); say(web.run(["hostname"]).stdout);"#,
    keys: &[
        optional("user", Holds::String, "As whom; for an instance `ec2-user` if not given"),
        optional("port", Holds::Int, "The TCP port; 22 if not given"),
        optional(
            "key",
            Holds::A("a path or a key pair", destination::is_key),
            "The private key; for an instance the stack's own if not given",
        ),
        optional(
            "passphrase",
            Holds::A("a secret", |value| value.is::<StoredSecret>()),
            "The passphrase of the private key",
        ),
        optional(
            "host_key",
            Holds::String,
            "The server's host key, `ssh-ed25519 AAAA..` as in its .pub file, or its fingerprint `SHA256:..`; one in each line",
        ),
        optional("known_hosts", Holds::String, "The file that knows the server, instead of the user's own"),
        optional(
            "trust_new_host_key",
            Holds::Bool,
            "Believe a server that no file knows, and write its key down: whoever is in between at that moment is believed",
        ),
        optional("jump", Holds::String, "Servers on the way, `user@bastion,user@inner`"),
        optional("connect_timeout_s", Holds::Int, "For the connection with its login; 30 if not given"),
        optional(
            "keep_alive_s",
            Holds::Int,
            "How long the server may be silent before it is asked; 15 if not given",
        ),
    ],
};

const HOSTS: Function = Function {
    name: "hosts",
    doc: "What can be logged in to: the running instances of the stack, or with `tag` all that carry these tags, whoever made them, in the order of \
          their names. Each can be given to `connect`. What the stack has, started or not, is `ec2::list_instances`.\n\
          EC2 `DescribeInstances`.",
    parameters: &[],
    returns: "list",
    permissions: &["ec2:DescribeInstances"],
    example: r#"for host in ssh::hosts(#{ tag: #{ Role: "web" } }) { say(host.name); }"#,
    keys: &[optional("tag", Holds::Map, "Names and values of tags, instead of the stack's own")],
};

const FORWARD: Function = Function {
    name: "forward",
    doc: "Opens a port on this machine that leads through the server to `host:port`, and gives its address to the closure. Closed when the closure \
          ends. Throws `unavailable` where the server cannot reach it.",
    parameters: &["session: Session", "to: string", "body: closure"],
    returns: "?",
    permissions: &[],
    example: r#"ssh::forward(ssh::connect("web-1"), "db.internal:5432", |address| say(`the database answers at ${address}`));"#,
    keys: &[],
};

const CLOSE: Function = Function {
    name: "close",
    doc: "Ends the session now, and not when the script has forgotten it.",
    parameters: &[],
    returns: "()",
    permissions: &[],
    example: r#"ssh::connect("web-1").close();"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("ssh", host);
    namespace
        .handle::<Session>("Session")
        .with_options(&CONNECT, connect)
        .function0(&HOSTS, |call| destination::hosts(call, &Options::default()))
        .only_options(&HOSTS, destination::hosts)
        .callback3(&FORWARD, forward)
        .method0(&CLOSE, |_, it: &Session| {
            *it.0.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
            Ok(())
        })
        .property("host", "The server as it was named.", |_, it: &Session| Ok(it.0.target.title.clone()))
        .identified(|it: &Session| format!("session on {}", it.0.target.title));
    command::register(&mut namespace);
    file::register(&mut namespace);
    namespace
}

fn connect(call: &Call, host: Dynamic, options: &Options) -> Result<Session, Error> {
    let target = destination::target(call, &host, options)?;
    let connection = match call.block_without_account(log_in(&target)) {
        // The port of an instance is often open for a while only, and a plan opens none.
        Err(error) if call.dry_run && error.retryable && !host.is_string() => {
            return Err(Error::planned(format!("the session on {}", target.title)));
        }
        other => other?,
    };
    Ok(Session(Arc::new(Inner {
        target,
        connection: Mutex::new(Some(connection)),
        used: Mutex::new(Instant::now()),
    })))
}

impl Session {
    /// Where it leads, to connect once more.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    fn title(&self) -> &str {
        &self.0.target.title
    }

    /// Uses the connection, `limit` at most. What is left running on the server when that is over, or the run is stopped, is ended.
    fn with<T>(
        &self,
        call: &Call,
        what: &str,
        limit: Option<Duration>,
        operate: impl AsyncFnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut open = self.0.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(connection) = open.as_mut() else {
            return Err(Error::new(Kind::Unavailable, format!("the session on {} has ended", self.title()))
                .of("ssh", "run")
                .help("connect again with ssh::connect"));
        };
        if self.idle() > IDLE && !call.block_without_account(async { Ok(connection.answers().await) })? {
            let text = format!("{} ended the idle session: connecting again", self.title());
            call.progress.line(Line::Info, &text);
            *connection = call.block_without_account(log_in(&self.0.target))?;
        }
        let outcome = call.block_without_account(async {
            let Some(limit) = limit else { return operate(&mut *connection).await };
            tokio::time::timeout(limit, operate(&mut *connection)).await.unwrap_or_else(|_| {
                let limit = crate::progress::seconds(limit);
                Err(Error::new(Kind::Timeout, format!("{what} on {} did not end in {limit}", self.title()))
                    .of("ssh", "run"))
            })
        });
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let error = match outcome {
            Err(error) => error,
            ok => return ok,
        };
        match error.kind {
            Kind::Timeout | Kind::Interrupted => {
                let stopped = connection.stop();
                if !stopped {
                    *open = None;
                }
                Err(error.help(match stopped {
                    true => format!("what ran on {} was ended", self.title()),
                    false => format!("whether it has ended on {} is not known: look there", self.title()),
                }))
            }
            _ => {
                if error.retryable {
                    *open = None;
                }
                Err(error)
            }
        }
    }

    fn idle(&self) -> Duration {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// A tunnel through the server, with connections of its own.
    pub fn tunnel(&self, call: &Call, host: &str, port: u16) -> Result<Tunnel, Error> {
        call.block_without_account(Tunnel::open(self.0.target.clone(), host.to_owned(), port))
    }
}

fn forward(call: &Call, it: Session, to: String, body: FnPtr) -> Result<Dynamic, Box<EvalAltResult>> {
    let position = call.context.call_position();
    let tunnel = destination::host_and_port(&to)
        .and_then(|(host, port)| it.tunnel(call, &host, port))
        .map_err(|error| thrown(error, position))?;
    let value = body.call_within_context(call.context, (tunnel.address.to_string(),));
    // Why a stream broke says more than what its user made of it.
    if let (Err(_), Some(error)) = (&value, tunnel.failure()) {
        call.progress.line(Line::Warning, &format!("the tunnel to {to}: {}", error.title()));
    }
    value
}
