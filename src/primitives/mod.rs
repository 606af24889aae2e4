//! What a playbook's author sees. A file is a namespace of the same name; `flow.rs` holds the global words.

pub mod declaration;
pub mod drawing;
pub mod namespace;
pub mod owned;

pub mod aws;
pub mod database;
pub mod flow;
pub mod forge;
pub mod local;
pub mod remote;
pub mod testing;

use std::sync::Arc;

use namespace::Namespace;

use crate::host::Host;

/// The version of every namespace that a playbook can name, and the global words (an empty name).
pub fn namespaces(host: &Arc<Host>, parameters: flow::Parameters) -> Vec<Namespace> {
    vec![
        flow::namespace(host, parameters),
        aws::aws::namespace(host),
        aws::ec2::namespace(host),
        aws::elbv2::namespace(host),
        aws::iam::namespace(host),
        aws::rds::namespace(host),
        aws::sns::namespace(host),
        aws::sqs::namespace(host),
        database::postgres::namespace(host),
        forge::git::namespace(host),
        forge::github::namespace(host),
        local::config::namespace(host),
        local::env::namespace(host),
        local::file::namespace(host),
        local::http::namespace(host),
        local::process::namespace(host),
        local::secrets::namespace(host),
        local::state::namespace(host),
        local::template::namespace(host),
        local::text::namespace(host),
        local::time::namespace(host),
        remote::ssh::namespace(host),
        testing::cloud::namespace(host),
    ]
}

pub use flow::{Exit, Parameters};
