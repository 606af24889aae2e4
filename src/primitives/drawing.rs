//! The picture of what a stack owns: each service says what it knows, and a playbook can write it to a file.

use std::collections::BTreeSet;
use std::path::Path;

use super::aws::DRAWN;
use super::local::file::{full_path, read_text, write_text};
use super::owned::{Inventory, side_by_side};
use crate::error::Error;
use crate::host::Host;
use crate::picture::{Part, Picture};

type Write = fn(&Picture) -> String;

/// The endings of a picture's file, and how it is written.
const FORMATS: [(&str, Write); 2] = [("svg", Picture::svg), ("mmd", Picture::mermaid)];

/// The picture of what is in the inventory, and of who may talk to whom.
pub fn picture(host: &Host, inventory: &Inventory) -> Result<Picture, Error> {
    let parts = if inventory.things.is_empty() { Vec::new() } else { side_by_side(host, DRAWN)? };
    let keys: BTreeSet<String> = inventory.things.iter().map(|thing| thing.key.clone()).collect();
    let drawn: BTreeSet<&str> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Thing(thing) => Some(thing.key.as_str()),
            Part::Group(group) => Some(group.key.as_str()),
            Part::Member { .. } | Part::Link(_) | Part::Note { .. } => None,
        })
        .collect();
    let others = inventory.things.iter().filter(|thing| !drawn.contains(thing.key.as_str()));
    let also = others.map(|thing| thing.title.clone()).collect();
    Ok(Picture::of(&format!("the stack {}", host.stack()?), parts, &keys, also))
}

/// Writes the picture to a file; its ending says how. A file that has the same bytes is left alone: says whether it was another one.
pub fn draw(host: &Host, inventory: &Inventory, path: &str) -> Result<bool, Error> {
    let ending = Path::new(path).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let Some((_, write)) = FORMATS.iter().find(|(known, _)| *known == ending) else {
        return Err(Error::invalid(format!("a picture cannot be written to `{path}`")).help(
            "name a file that ends in .svg, a picture for browsers, or in .mmd, a Mermaid flow chart",
        ));
    };
    let text = write(&picture(host, inventory)?);
    let full = full_path(host, path);
    if read_text(&full).is_ok_and(|found| found == text) {
        return Ok(false);
    }
    let written = host.effect(&format!("write {path}"));
    if host.dry_run {
        // Known without doing it.
        return Ok(true);
    }
    written?;
    write_text(&full, &text, None)?;
    Ok(true)
}
