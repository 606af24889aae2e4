//! What a run did, in numbers: its last line.

use std::time::Duration;

use super::{Verb, seconds};

/// Counts of what a run did, and how long its steps took.
#[derive(Debug, Default)]
pub(super) struct Recap {
    created: u32,
    updated: u32,
    deleted: u32,
    pub effects: u32,
    /// A dry run: what is counted was not done.
    pub planned: bool,
    pub left_out: bool,
    pub begun: usize,
    pub steps: Vec<(String, Duration)>,
}

impl Recap {
    /// A resource was changed.
    pub(super) fn changed(&mut self, verb: Verb) {
        match verb {
            Verb::Create | Verb::Add => self.created += 1,
            Verb::Update => self.updated += 1,
            Verb::Delete | Verb::Remove => self.deleted += 1,
            Verb::Open | Verb::Close => self.effects += 1,
        }
    }

    /// Resources changed so far.
    pub(super) fn changes(&self) -> u32 {
        self.created + self.updated + self.deleted
    }

    /// The line of a run that took `took`: the counts, and the time of each step.
    pub(super) fn text(&self, took: Duration) -> String {
        let Recap { created, updated, deleted, effects, .. } = self;
        let changes = self.changes();
        let plural = |count: u32| if count == 1 { "" } else { "s" };
        let mut text = match (changes, self.planned) {
            (0, true) => "0 changes to make".to_owned(),
            (0, false) => "0 changes".to_owned(),
            (_, true) => format!(
                "{changes} change{} to make: {created} to create, {updated} to update, {deleted} to delete",
                plural(changes)
            ),
            (_, false) => format!(
                "{changes} change{}: {created} created, {updated} updated, {deleted} deleted",
                plural(changes)
            ),
        };
        if *effects > 0 {
            text += &format!(" · {effects} effect{}", plural(*effects));
        }
        text += &format!(" · {}", seconds(took));
        if !self.steps.is_empty() {
            let steps: Vec<_> =
                self.steps.iter().map(|(title, took)| format!("{title} {}", seconds(*took))).collect();
            text += &format!(" ({})", steps.join(", "));
        }
        text
    }
}
