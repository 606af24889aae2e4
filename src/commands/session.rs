//! What every command that works in a cloud shares: the flags that say where and what was agreed to, and the host that they make.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::runtime::Handle;

use crate::clients::aws::{Clients, Target};
use crate::commands::project::Settings;
use crate::commands::{duration, local};
use crate::host::{Connect, Consent, Host, Project, World, private_folder};
use crate::progress::Progress;

/// Where to work, and what was agreed to.
#[derive(Debug, Clone, Default, Args)]
pub struct SessionFlags {
    /// Run against the local cloud: no account, nothing leaves this machine
    #[arg(long)]
    pub local: bool,
    /// Agree to changes, and to deleting what is not protected
    #[arg(long, short)]
    pub yes: bool,
    /// Agree to deleting what is protected, such as a database; a final snapshot stays
    #[arg(long, value_name = "STACK")]
    pub delete_protected: Option<String>,
    /// Delete databases without a final snapshot: their data is gone
    #[arg(long, value_name = "STACK", requires = "delete_protected")]
    pub destroy_data: Option<String>,
    /// Agree to rules that let everybody on the internet in to SSH or PostgreSQL, ports 22 and 5432
    #[arg(long)]
    pub allow_open: bool,
    /// Wait for another run of the same stack to end, such as 30s or 5m [default: do not wait]
    #[arg(long, value_name = "TIME", value_parser = duration::read)]
    pub lock_wait: Option<Duration>,
    /// AWS region
    #[arg(long)]
    pub region: Option<String>,
    /// Profile of ~/.aws/config
    #[arg(long, conflicts_with = "local")]
    pub profile: Option<String>,
    /// State file [default: deploy_config.json, with --local deploy_config.local.json]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// With --local: install what is missing on this machine, with its package manager
    #[arg(long, requires = "local")]
    pub install_missing: bool,
}

/// What is different from a plain run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    pub dry_run: bool,
    pub under_test: bool,
    /// Each change is asked about by itself.
    pub ask_each: bool,
}

impl SessionFlags {
    /// The host that these flags describe, in the project of `root`; it connects when it is first used.
    pub fn host(
        &self,
        root: PathBuf,
        current: &Path,
        settings: &Settings,
        mode: Mode,
        progress: Progress,
        runtime: &Handle,
    ) -> Host {
        let folder = root.join(".ops");
        let state_name = if self.local { "deploy_config.local.json" } else { "deploy_config.json" };
        let state = self.state.as_ref().map_or_else(|| root.join(state_name), |path| current.join(path));
        let world = if self.local {
            World::Local { folder: folder.join("local"), under_test: mode.under_test }
        } else {
            World::Aws
        };
        let consent = Consent {
            yes: self.yes,
            each: mode.ask_each,
            delete_protected: self.delete_protected.clone(),
            destroy_data: self.destroy_data.clone(),
            allow_open: self.allow_open,
            lock_wait: self.lock_wait.unwrap_or_default(),
        };
        let connect = connect(
            self.region.clone().or_else(|| settings.region.clone()),
            self.profile.clone().or_else(|| settings.profile.clone()),
            self.install_missing,
        );
        let project = Project { root, folder, state };
        Host::new(connect, world, progress, project, consent, mode.dry_run, runtime.clone())
    }
}

/// How the clients are made when one is first needed.
pub fn connect(region: Option<String>, profile: Option<String>, install_missing: bool) -> Connect {
    Box::new(move |host| {
        private_folder(&host.project.folder)?;
        let target = match &host.world {
            World::Aws => Target::Account { profile: profile.clone() },
            World::Local { folder, .. } => {
                Target::Local { endpoint: local::ensure_up(folder, install_missing)? }
            }
        };
        host.block_without_account(Clients::connect(&target, region.as_deref()))
    })
}
