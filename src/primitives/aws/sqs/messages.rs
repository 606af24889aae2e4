//! The messages of a queue as a list without an end. Each is deleted once the loop has gone on to the next one, so nothing that was
//! not seen is ever lost; a run that is killed shows at most one batch again.
//!
//! The next batch is received while one is shown, and is waited for together with the deletion of the batch before it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Queue;
use super::message::Message;
use super::transfer::Transfer;
use crate::error::Error;
use crate::host::Host;
use crate::host::interruption::Endless;

/// Shown before this, a line that says that nothing has come would flicker.
const PATIENCE: Duration = Duration::from_millis(300);

/// What is done after a loop has ended may take this long: it saves others a wait, and no message depends on it.
const LAST_MOMENT: Duration = Duration::from_secs(10);

/// What a script loops over.
#[derive(Clone)]
pub(super) struct Messages {
    pub(super) host: Arc<Host>,
    pub(super) queue: Queue,
    pub(super) wait_s: i32,
    /// Nothing is deleted.
    pub(super) keep: bool,
    /// The loop ends when a receive finds nothing.
    pub(super) until_empty: bool,
}

impl Messages {
    pub(super) fn start(self) -> Result<Loop, Error> {
        let transfer = Transfer::new(&self.host, &self.queue, self.wait_s)?.at_once();
        let hidden = self.host.block(transfer.visibility_timeout())?;
        // A loop over what is there has an end of its own, and Ctrl-C before it is an interruption.
        let endless = (!self.until_empty).then(|| self.host.endless());
        Ok(Loop {
            of: self,
            transfer: Arc::new(transfer),
            hidden,
            endless,
            ahead: None,
            waiting: VecDeque::new(),
            shown: Vec::new(),
            kept: VecDeque::new(),
            seen: HashSet::new(),
            total: 0,
            ended: false,
        })
    }
}

/// Messages that were received together.
type Batch = (Instant, Vec<Message>);

/// One loop over the messages.
pub(super) struct Loop {
    of: Messages,
    transfer: Arc<Transfer>,
    /// How long a received message is hidden from others.
    hidden: Duration,
    endless: Option<Endless>,
    ahead: Option<JoinHandle<Result<Batch, Error>>>,
    /// Received, and not given out yet.
    waiting: VecDeque<Message>,
    /// Given out, and not deleted yet. The loop is done with all of them when it asks for another one.
    shown: Vec<Message>,
    /// Given out and to be left in the queue, with the time since when they are hidden.
    kept: VecDeque<(Instant, Message)>,
    /// The ids of what is left in the queue: it is received again and again.
    seen: HashSet<String>,
    total: u64,
    ended: bool,
}

impl Iterator for Loop {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Loop {
    fn advance(&mut self) -> Result<Option<Message>, Error> {
        while self.waiting.is_empty() {
            let Some((received, messages)) = self.turn()? else { return Ok(None) };
            if messages.is_empty() && self.of.until_empty {
                return Ok(None);
            }
            // A loop that was slow: they are visible to others by now, and come again.
            if !self.hidden.is_zero() && received.elapsed() >= self.hidden {
                continue;
            }
            // While these are shown, the next ones are on their way.
            self.ahead = Some(self.receive());
            for message in messages {
                if self.of.keep {
                    self.kept.push_back((received, message.clone()));
                    if !self.seen.insert(message.id.clone()) {
                        continue;
                    }
                }
                self.waiting.push_back(message);
            }
        }
        if self.endless.as_ref().is_some_and(Endless::interrupted) {
            return Ok(None);
        }
        let message = self.waiting.pop_front();
        self.shown.extend(message.clone().filter(|_| !self.of.keep));
        self.total += u64::from(message.is_some());
        Ok(message)
    }

    fn receive(&self) -> JoinHandle<Result<Batch, Error>> {
        let transfer = self.transfer.clone();
        self.of.host.spawn(async move { transfer.receive().await })
    }

    /// Deletes what was shown and waits for the next batch, both at once. `None` where a person has ended the loop.
    fn turn(&mut self) -> Result<Option<Batch>, Error> {
        self.shown.retain(|message| !message.is_put_back());
        let mut ahead = self.ahead.take().unwrap_or_else(|| self.receive());
        let mut arrived = None;
        let (host, transfer, shown, total) = (&self.of.host, &self.transfer, &self.shown, self.total);
        let endless = self.endless.as_ref();
        let outcome = host.block(async {
            let receive = async { arrived = Some((&mut ahead).await) };
            let both = async { tokio::join!(transfer.delete(shown), receive).0 };
            tokio::pin!(both);
            let mut line = None;
            let mut pause = PATIENCE;
            loop {
                tokio::select! {
                    deleted = &mut both => return deleted.map(|()| true),
                    () = Endless::wait(endless) => return Ok(false),
                    () = tokio::time::sleep(pause) => {}
                }
                if host.progress.live() {
                    let clock = jiff::Zoned::now().strftime("%H:%M:%S");
                    line.get_or_insert_with(|| host.progress.wait(&format!("queue {}", self.of.queue.name)))
                        .status(&format!(
                            "{clock}, {total} message{} so far",
                            if total == 1 { "" } else { "s" }
                        ));
                }
                pause = Duration::from_secs(1);
            }
        });
        let arrived = match arrived {
            Some(arrived) => {
                arrived.map_err(|error| Error::internal(format!("a receive came to no end: {error}")))?
            }
            None => {
                self.ahead = Some(ahead);
                return outcome.map(|_| None);
            }
        };
        match outcome {
            Ok(true) => {
                self.shown.clear();
                arrived.map(Some)
            }
            // Nobody will see them.
            ended => {
                self.waiting.extend(arrived.into_iter().flat_map(|(_, messages)| messages));
                ended.map(|_| None)
            }
        }
    }
}

impl Drop for Loop {
    /// Deletes what was seen to its end, and gives back what nobody has seen: it need not stay hidden.
    fn drop(&mut self) {
        // A loop that was left in its middle may not have been done with its last message.
        if !self.ended {
            self.shown.pop();
        }
        self.shown.retain(|message| !message.is_put_back());
        let ahead = self.ahead.take();
        let mut unseen: Vec<Message> = self.waiting.drain(..).collect();
        unseen.extend(
            self.kept
                .drain(..)
                .filter(|(since, _)| since.elapsed() < self.hidden)
                .map(|(_, message)| message),
        );
        let (transfer, shown) = (&self.transfer, &self.shown);
        self.of.host.last_moment(LAST_MOMENT, async {
            if let Some(mut ahead) = ahead {
                // A receive that has found something is about to say so; one that still waits has found nothing.
                match tokio::time::timeout(PATIENCE, &mut ahead).await {
                    Ok(Ok(Ok((_, messages)))) => unseen.extend(messages),
                    _ => ahead.abort(),
                }
            }
            if let Err(error) = transfer.delete(shown).await {
                transfer.warn(&format!("{} messages that were shown come again: {error}", shown.len()));
            }
            transfer.give_back(&unseen).await;
        });
    }
}
