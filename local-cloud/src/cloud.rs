//! The state of the local cloud: every resource of every region behind one lock, saved before a change is answered (messages of queues
//! apart, in a log of their own).
//! A change that fails, or that cannot be saved, leaves nothing behind. Whoever makes a resource real (a database, an
//! instance) waits on [`Cloud::changed`] and acts on what the state says then.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::balancer::Connections;
use crate::calls::Calls;
use crate::faults::Faults;
use crate::folder::Folder;
use crate::query::{Access, AwsError};
use crate::sqs::MessageLog;
use crate::time::Time;
use crate::{Error, Settings, ec2, elbv2, iam, rds, secretsmanager, sns, sqs, ssm};

/// The account that owns everything; no AWS account has this number.
pub(crate) const ACCOUNT: &str = "000000000000";
pub(crate) const DEFAULT_REGION: &str = "us-east-1";
const STATE_FILE: &str = "state.json";
const STATE_VERSION: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// The endpoint's port is chosen once, so that what a user exported stays right after a restart.
    pub(crate) port: Option<u16>,
    /// Roles and who plays them are the account's, the same in every region.
    #[serde(default)]
    pub(crate) iam: iam::State,
    pub(crate) regions: BTreeMap<String, Region>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Region {
    pub(crate) ec2: ec2::State,
    #[serde(default)]
    pub(crate) elbv2: elbv2::State,
    #[serde(default)]
    pub(crate) rds: rds::State,
    #[serde(default)]
    pub(crate) secretsmanager: secretsmanager::State,
    #[serde(default)]
    pub(crate) sns: sns::State,
    #[serde(default)]
    pub(crate) sqs: sqs::State,
    #[serde(default)]
    pub(crate) ssm: ssm::State,
}

impl Region {
    fn new(name: &str) -> Region {
        Region {
            ec2: ec2::State::new(name),
            elbv2: elbv2::State::default(),
            rds: rds::State::default(),
            secretsmanager: secretsmanager::State::default(),
            sns: sns::State::default(),
            sqs: sqs::State::default(),
            ssm: ssm::State::default(),
        }
    }
}

/// The state, and the log of what its queues hold.
struct Saved {
    state: State,
    messages: MessageLog,
}

pub(crate) struct Cloud {
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
    pub(crate) endpoint: String,
    pub(crate) started_at: Time,
    pub(crate) calls: Calls,
    pub(crate) connections: Connections,
    pub(crate) faults: Faults,
    saved: Mutex<Saved>,
    changed: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
}

impl Cloud {
    pub(crate) fn load(folder: &Folder) -> Result<State, Error> {
        let Some(text) = folder.read(STATE_FILE)? else {
            let iam = iam::State::default();
            return Ok(State { version: STATE_VERSION, port: None, iam, regions: BTreeMap::new() });
        };
        let broken = |reason: String| Error::State { path: folder.join(STATE_FILE), reason };
        let state: State = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        if state.version != STATE_VERSION {
            return Err(broken(format!("its version is {}, expected {STATE_VERSION}", state.version)));
        }
        Ok(state)
    }

    pub(crate) fn new(
        settings: Settings,
        folder: Folder,
        endpoint: String,
        mut state: State,
    ) -> Result<Arc<Cloud>, Error> {
        let messages = MessageLog::open(&folder, &mut state.regions)?;
        Ok(Arc::new(Cloud {
            settings,
            folder,
            endpoint,
            started_at: Time::now(),
            calls: Calls::default(),
            connections: Connections::default(),
            faults: Faults::default(),
            saved: Mutex::new(Saved { state, messages }),
            changed: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        }))
    }

    pub(crate) async fn read<T>(&self, region: &str, look: impl FnOnce(&Region) -> T) -> T {
        let saved = self.saved.lock().await;
        match saved.state.regions.get(region) {
            Some(region) => look(region),
            None => look(&Region::new(region)),
        }
    }

    pub(crate) async fn read_all<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.saved.lock().await.state)
    }

    /// Runs an operation as one transaction: refused or unsaved, it has not happened.
    pub(crate) async fn run<T>(
        &self,
        region: &str,
        access: Access,
        operation: impl FnOnce(&mut Region, &mut iam::State) -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let mut saved = self.saved.lock().await;
        let Saved { state, messages } = &mut *saved;
        let current = state.regions.get(region);
        let mut after = current.cloned().unwrap_or_else(|| Region::new(region));
        let mut iam = state.iam.clone();
        let value = operation(&mut after, &mut iam)?;
        if access == Access::Read {
            return Ok(value);
        }
        let moved = sqs::moved(region, current.map(|region| &region.sqs), &after.sqs);
        let before = state.regions.insert(region.to_string(), after);
        std::mem::swap(&mut state.iam, &mut iam);
        // An effect changes what queues hold and nothing else; to write all the rest for it would be slow.
        let written = match access {
            Access::Effect => Ok(()),
            Access::Read | Access::Change => self.save(state),
        };
        let written = written.and_then(|()| messages.append(&self.folder, &moved, &state.regions));
        if let Err(error) = written {
            match before {
                Some(before) => state.regions.insert(region.to_string(), before),
                None => state.regions.remove(region),
            };
            state.iam = iam;
            eprintln!("local cloud: {error}");
            return Err(AwsError::with_status(500, "InternalFailure", error.to_string()));
        }
        drop(saved);
        self.changed.send_modify(|count| *count += 1);
        Ok(value)
    }

    /// A change that the data plane reports; it has happened already, so it cannot be refused.
    pub(crate) async fn record(&self, region: &str, change: impl FnOnce(&mut Region)) {
        let recorded = self.run(region, Access::Change, |region, _| {
            change(region);
            Ok(())
        });
        if let Err(error) = recorded.await {
            eprintln!("local cloud: a change of the data plane is not saved: {error}");
        }
    }

    fn save(&self, state: &State) -> Result<(), Error> {
        let text = serde_json::to_vec(state).map_err(|error| Error::State {
            path: self.folder.join(STATE_FILE),
            reason: error.to_string(),
        })?;
        tokio::task::block_in_place(|| self.folder.write(STATE_FILE, &text))
    }

    pub(crate) async fn save_now(&self) -> Result<(), Error> {
        self.save(&self.saved.lock().await.state)
    }

    /// The value of a parameter of SSM, decrypted.
    pub(crate) async fn parameter(&self, region: &str, name: &str) -> Option<String> {
        self.read(region, |region| region.parameter(name)).await
    }

    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns when the local cloud has been asked to stop.
    pub(crate) async fn stopping(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

/// An identifier as EC2 makes them: a prefix and 17 hexadecimal digits.
pub(crate) fn fresh_id(prefix: &str) -> String {
    format!("{prefix}-0{:016x}", rand::random::<u64>())
}

/// An identifier in the form of a UUID, as requests and versions of secrets have them.
pub(crate) fn uuid() -> String {
    let hex = format!("{:032x}", rand::random::<u128>());
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}
