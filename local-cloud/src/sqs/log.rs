//! The messages of all queues, on disk: a log of what came, changed and went, one JSON line each, because writing every message again for
//! each one that is sent or received takes longer the more there are. Whatever kills the supervisor, an answered request is in it;
//! only a power failure may take the last lines.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Message, State};
use crate::Error;
use crate::cloud::Region;
use crate::folder::Folder;

const FILE: &str = "messages.log";
/// The log is written anew when it has this many lines, and most of them are about messages that are gone.
const WORTH_COMPACTING: usize = 10_000;

#[derive(Serialize, Deserialize)]
pub(crate) struct Moved {
    region: String,
    queue: String,
    id: String,
    /// None of a message that is gone.
    #[serde(serialize_with = "write_message", deserialize_with = "read_message")]
    message: Option<Arc<Message>>,
}

fn write_message<S: Serializer>(message: &Option<Arc<Message>>, serializer: S) -> Result<S::Ok, S::Error> {
    message.as_deref().serialize(serializer)
}

fn read_message<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Message>>, D::Error> {
    Ok(Option::<Message>::deserialize(deserializer)?.map(Arc::new))
}

pub(crate) struct MessageLog {
    file: File,
    lines: usize,
    /// Up to where the file is whole.
    length: u64,
}

/// What has to be written so that a region's queues hold what they hold after an operation.
pub(crate) fn moved(region: &str, before: Option<&State>, after: &State) -> Vec<Moved> {
    let mut moved = Vec::new();
    let none = Arc::default();
    for (name, queue) in &after.queues {
        let earlier = before.and_then(|state| state.queues.get(name)).map_or(&none, |queue| &queue.messages);
        if Arc::ptr_eq(earlier, &queue.messages) {
            continue;
        }
        let line =
            |id: &str, message| Moved { region: region.into(), queue: name.clone(), id: id.into(), message };
        let mut gone: HashMap<&str, &Arc<Message>> =
            earlier.iter().map(|message| (message.id.as_str(), message)).collect();
        for message in queue.messages.iter() {
            if gone.remove(message.id.as_str()).is_none_or(|earlier| !Arc::ptr_eq(earlier, message)) {
                moved.push(line(&message.id, Some(message.clone())));
            }
        }
        moved.extend(gone.keys().map(|id| line(id, None)));
    }
    // The messages of a queue that was deleted are not looked at any more, unless a new queue gets its name.
    for (name, queue) in before.into_iter().flat_map(|state| &state.queues) {
        if !after.queues.contains_key(name) {
            moved.extend(queue.messages.iter().map(|message| Moved {
                region: region.into(),
                queue: name.clone(),
                id: message.id.clone(),
                message: None,
            }));
        }
    }
    moved
}

impl MessageLog {
    /// Puts what the log holds into the queues, and starts the log anew.
    pub(crate) fn open(folder: &Folder, regions: &mut BTreeMap<String, Region>) -> Result<MessageLog, Error> {
        let text = folder.read(FILE)?.unwrap_or_default();
        let mut contents = Contents::default();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            match serde_json::from_str::<Moved>(line) {
                Ok(moved) => contents.replay(moved),
                // A kill in the middle of a write: that request was never answered.
                Err(_) if lines.peek().is_none() => {}
                Err(error) => {
                    let reason = format!("line {}: {error}", number + 1);
                    return Err(Error::State { path: folder.join(FILE), reason });
                }
            }
        }
        contents.fill(regions);
        MessageLog::rewritten(folder, regions)
    }

    fn rewritten(folder: &Folder, regions: &BTreeMap<String, Region>) -> Result<MessageLog, Error> {
        let path = folder.join(FILE);
        let failed = |source| Error::File { action: "open", path: path.clone(), source };
        let mut text = Vec::new();
        let mut lines = 0;
        for (name, region) in regions {
            for moved in moved(name, None, &region.sqs) {
                moved.write(&mut text);
                lines += 1;
            }
        }
        folder.write(FILE, &text)?;
        let file = OpenOptions::new().append(true).mode(0o600).open(&path).map_err(failed)?;
        Ok(MessageLog { file, lines, length: text.len() as u64 })
    }

    /// A line that cannot be written whole is taken back: the operation has not happened then.
    pub(crate) fn append(
        &mut self,
        folder: &Folder,
        moved: &[Moved],
        regions: &BTreeMap<String, Region>,
    ) -> Result<(), Error> {
        if moved.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        moved.iter().for_each(|moved| moved.write(&mut text));
        if let Err(source) = self.file.write_all(&text) {
            // If even that fails the torn line is the last one, and the next start passes over it.
            let _ = self.file.set_len(self.length);
            return Err(Error::File { action: "write", path: folder.join(FILE), source });
        }
        self.length += text.len() as u64;
        self.lines += moved.len();
        let live = || -> usize {
            let queues = regions.values().flat_map(|region| region.sqs.queues.values());
            queues.map(|queue| queue.messages.len()).sum()
        };
        if self.lines > WORTH_COMPACTING && self.lines > 4 * live() {
            match MessageLog::rewritten(folder, regions) {
                Ok(rewritten) => *self = rewritten,
                // The long log is as good as a short one.
                Err(error) => eprintln!("local cloud: {error}"),
            }
        }
        Ok(())
    }
}

impl Moved {
    fn write(&self, text: &mut Vec<u8>) {
        // Text, numbers and maps of them: there is nothing in a message that JSON cannot say.
        if serde_json::to_writer(&mut *text, self).is_ok() {
            text.push(b'\n');
        }
    }
}

/// What the queues of a log hold, by region and queue.
#[derive(Default)]
struct Contents {
    queues: BTreeMap<(String, String), Held>,
}

/// Messages in the order in which they came, and where each of them is.
#[derive(Default)]
struct Held {
    messages: Vec<Option<Arc<Message>>>,
    places: HashMap<String, usize>,
}

impl Contents {
    fn replay(&mut self, moved: Moved) {
        let Held { messages, places } = self.queues.entry((moved.region, moved.queue)).or_default();
        let place = *places.entry(moved.id).or_insert(messages.len());
        match messages.get_mut(place) {
            Some(known) => *known = moved.message,
            None => messages.push(moved.message),
        }
    }

    /// A queue that is not there any more was deleted with what it held.
    fn fill(self, regions: &mut BTreeMap<String, Region>) {
        for ((region, queue), held) in self.queues {
            let queue = regions.get_mut(&region).and_then(|region| region.sqs.queues.get_mut(&queue));
            if let Some(queue) = queue {
                queue.messages = Arc::new(held.messages.into_iter().flatten().collect());
            }
        }
    }
}
