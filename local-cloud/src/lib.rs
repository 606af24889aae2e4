//! A local cloud: a strict AWS control plane on a loopback endpoint with a real data plane behind it. PostgreSQL runs
//! behind an RDS instance, a child process behind an EC2 instance, and SNS delivers into SQS.
//!
//! A request enters through `endpoint` (service and region come from its signature's scope) and reaches the file of
//! its service: `ec2`, `elbv2`, `iam`, `rds`, `secretsmanager`, `sns`, `sqs`, `ssm`, `sts`. These change the one state in `cloud`, which is saved
//! before the answer leaves. The data plane watches that state and makes it real: `database` and `postgres` behind
//! RDS, `machine`, `service` and `elastic_ip` behind EC2, `balancer` and `probe` behind load balancers. `supervisor` starts and stops it all; `folder` says what lies where.
//! Adding a service is adding its file and one line in `endpoint`.
//!
//! Two routes are for the tests of playbooks: `GET /_local/calls` tells what was asked for over the wire (`calls`), and
//! `POST /_local/faults` makes the next requests for an operation fail (`faults`). `POST /_local/clock` sets the clock forward (`time`).
//!
//! Every service is our own subset on two small protocol kits, `query` and `json`, and not an existing emulator behind
//! decorators. Those give the wire format and no behaviour: of EC2, RDS and SNS nearly every operation would have to be
//! overridden. The best of them (winterbaume, Rust) also keeps no SQS message over a restart, drops messages whose
//! dead-letter queue is missing, counts visible ones wrongly, ignores invalid attributes, pages no SSM result and shows
//! secure strings undecrypted to everybody. One state under one lock instead makes each request a transaction.

mod balancer;
mod calls;
mod cloud;
mod database;
mod ec2;
mod elastic_ip;
mod elbv2;
mod endpoint;
mod error;
mod faults;
mod folder;
mod iam;
mod json;
mod machine;
pub mod postgres;
mod probe;
mod process;
mod query;
mod rds;
mod secretsmanager;
mod select;
mod service;
mod sns;
mod sqs;
mod ssm;
mod status;
mod sts;
mod supervisor;
mod time;
mod xml;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

pub use error::Error;
pub use folder::{Running, is_free, reset, running};
pub use supervisor::serve;

/// What a local cloud is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everything it keeps lies here (mode 0700), apart from root's databases: see [`reset`].
    pub folder: PathBuf,
    /// The command that stands for a container image, by the image's name without registry, tag and digest.
    pub images: BTreeMap<String, Vec<OsString>>,
}
