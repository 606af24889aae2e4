//! A picture of what exists: things, the security groups around them, and arrows for who may talk to whom.
//!
//! A [`Picture`] is data in a fixed order, whatever order the services answered in: the same things give the same bytes. `layout`
//! finds a place for everything, `svg` and `mermaid` write it down. A name in it passes through [`secret::mask`].

mod card;
mod layout;
mod mermaid;
mod svg;

use std::collections::{BTreeMap, BTreeSet};

use crate::secret;

/// What a thing is, in the order in which things of one row stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Whoever is not of the stack: an address range, a mailbox, a group of another stack.
    Outside,
    Balancer,
    TargetGroup,
    Instance,
    Database,
    Topic,
    Queue,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Outside => "outside",
            Kind::Balancer => "load balancer",
            Kind::TargetGroup => "target group",
            Kind::Instance => "instance",
            Kind::Database => "database",
            Kind::Topic => "topic",
            Kind::Queue => "queue",
        }
    }
}

/// How a thing is, from its service's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Fine,
    /// On its way, or nothing is known.
    Open,
    Wrong,
}

impl Health {
    /// What a word such as `running`, `available` or `stopped` says.
    pub fn of(status: &str) -> Self {
        match status {
            "running" | "available" | "active" | "healthy" => Health::Fine,
            "stopped" | "stopping" | "shutting-down" | "deleting" | "failed" | "storage-full"
            | "unhealthy" | "active_impaired" => Health::Wrong,
            _ => Health::Open,
        }
    }
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// What the services call it: an id or an ARN.
    pub id: String,
    /// How a playbook names it: `ec2:server`; empty for what is outside.
    pub key: String,
    pub kind: Kind,
    pub name: String,
    /// The service's word for how it is; may be empty.
    pub status: String,
    pub health: Health,
    /// What else a reader should know, a line each.
    pub lines: Vec<String>,
}

/// A security group: a frame around those that it protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: String,
    pub key: String,
    pub name: String,
    members: Vec<usize>,
    /// What its members may do with each other.
    among: Vec<String>,
}

impl Group {
    pub fn new(id: &str, key: String, name: &str) -> Self {
        Group { id: id.to_owned(), key, name: name.to_owned(), members: Vec::new(), among: Vec::new() }
    }
}

/// What an arrow says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// A rule lets connections in.
    MayConnect,
    /// The same, by a rule that is there for a while.
    ForAWhile,
    /// What arrives is sent on: by a listener, a subscription, to a dead-letter queue.
    SendsOn,
}

/// An arrow between two things or groups, by their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub from: String,
    pub to: String,
    pub label: String,
    pub meaning: Meaning,
}

/// What a service knows of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Thing(Thing),
    Group(Group),
    /// A thing is protected by a group.
    Member {
        group: String,
        thing: String,
    },
    Link(Link),
    /// One more line on a thing that another service knows.
    Note {
        thing: String,
        text: String,
        health: Health,
    },
}

/// Where an arrow begins or ends: at a thing, or at the frame of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Group(usize),
    Thing(usize),
}

/// An arrow with all that it says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrow {
    from: End,
    to: End,
    meaning: Meaning,
    labels: Vec<String>,
}

/// What there is, in order.
#[derive(Debug, Clone)]
pub struct Picture {
    title: String,
    things: Vec<Thing>,
    groups: Vec<Group>,
    arrows: Vec<Arrow>,
    /// What is there and has no place among the arrows, such as a key pair.
    also: Vec<String>,
}

impl Picture {
    /// Puts the parts in order. Only things and groups with a key in `keys` are taken, and whoever is outside and has an arrow to
    /// or from one of them.
    pub fn of(title: &str, parts: Vec<Part>, keys: &BTreeSet<String>, also: Vec<String>) -> Self {
        let (mut things, mut groups, mut members, mut links, mut notes) =
            (BTreeMap::new(), BTreeMap::new(), BTreeSet::new(), Vec::new(), Vec::new());
        for part in parts {
            match part {
                Part::Thing(thing) if thing.kind == Kind::Outside || keys.contains(&thing.key) => {
                    things.insert((thing.kind, thing.name.clone(), thing.id.clone()), masked(thing));
                }
                Part::Group(group) if keys.contains(&group.key) => {
                    let name = secret::mask(&group.name);
                    groups.insert((group.name.clone(), group.id.clone()), Group { name, ..group });
                }
                Part::Thing(_) | Part::Group(_) => {}
                Part::Member { group, thing } => drop(members.insert((group, thing))),
                Part::Link(link) => links.push(link),
                Part::Note { thing, text, health } => notes.push((thing, secret::mask(&text), health)),
            }
        }
        let mut things: Vec<Thing> = things.into_values().collect();
        let mut groups: Vec<Group> = groups.into_values().collect();
        // A rule names a group by its id alone: one of the stack is drawn as what it is.
        things.retain(|thing| thing.kind != Kind::Outside || groups.iter().all(|group| group.id != thing.id));
        let ends = |things: &[Thing], groups: &[Group]| -> BTreeMap<String, End> {
            let things = things.iter().enumerate().map(|(at, thing)| (thing.id.clone(), End::Thing(at)));
            let groups = groups.iter().enumerate().map(|(at, group)| (group.id.clone(), End::Group(at)));
            things.chain(groups).collect()
        };
        // Whoever is outside is shown for its arrows alone.
        let known = ends(&things, &groups);
        let there = |id: &str| known.contains_key(id);
        links.retain(|link: &Link| there(&link.from) && there(&link.to));
        things.retain(|thing| {
            let linked = |link: &Link| link.from == thing.id || link.to == thing.id;
            thing.kind != Kind::Outside || links.iter().any(linked)
        });

        let known = ends(&things, &groups);
        notes.sort();
        for (thing, text, health) in notes {
            if let Some(End::Thing(at)) = known.get(&thing) {
                things[*at].lines.push(text);
                things[*at].health = things[*at].health.max(health);
            }
        }
        for (group, thing) in members {
            if let (Some(End::Group(group)), Some(End::Thing(thing))) = (known.get(&group), known.get(&thing))
            {
                groups[*group].members.push(*thing);
            }
        }
        let mut arrows: BTreeMap<(End, End, Meaning), BTreeSet<(usize, String)>> = BTreeMap::new();
        for link in links {
            let (Some(from), Some(to)) = (known.get(&link.from), known.get(&link.to)) else { continue };
            let label = secret::mask(&link.label);
            match (from, to) {
                (End::Group(one), End::Group(other)) if one == other => groups[*one].among.push(label),
                _ => {
                    // Shorter first: `tcp 22` stands before `tcp 8080`.
                    let labels = arrows.entry((*from, *to, link.meaning)).or_default();
                    labels.insert((label.chars().count(), label));
                }
            }
        }
        for group in &mut groups {
            group.members.sort_unstable();
            group.among.sort_unstable();
        }
        let said = |labels: BTreeSet<(usize, String)>| {
            labels.into_iter().map(|(_, label)| label).filter(|label| !label.is_empty()).collect()
        };
        let arrows = arrows
            .into_iter()
            .map(|((from, to, meaning), labels)| Arrow { from, to, meaning, labels: said(labels) })
            .collect();
        let also = also.iter().map(|text| secret::mask(text)).collect();
        Picture { title: secret::mask(title), things, groups, arrows, also }
    }

    /// Whether there is nothing to be seen.
    pub fn is_empty(&self) -> bool {
        self.things.is_empty() && self.groups.is_empty() && self.also.is_empty()
    }

    /// The picture as an SVG document that needs nothing else.
    pub fn svg(&self) -> String {
        svg::draw(self)
    }

    /// The picture as a Mermaid flow chart.
    pub fn mermaid(&self) -> String {
        mermaid::write(self)
    }

    /// The group in whose frame a thing is drawn: the first of those that it is a member of.
    fn home(&self, thing: usize) -> Option<usize> {
        self.groups.iter().position(|group| group.members.contains(&thing))
    }
}

fn masked(thing: Thing) -> Thing {
    Thing {
        name: secret::mask(&thing.name),
        status: secret::mask(&thing.status),
        lines: thing.lines.iter().map(|line| secret::mask(line)).collect(),
        ..thing
    }
}

#[cfg(test)]
mod tests;
