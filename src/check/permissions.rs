//! What a playbook, and what it imports, may ask of IAM: the permissions of every function that it names.

use std::collections::BTreeSet;

use super::script::Script;
use crate::playbook::Playbook;
use crate::reference::Reference;
use crate::sources;

/// The actions, in alphabetical order. Where a method's handle is not known, those of all methods of that name are counted.
pub fn permissions(playbook: &Playbook, reference: &Reference) -> Result<BTreeSet<&'static str>, String> {
    let mut actions = BTreeSet::from(["sts:GetCallerIdentity"]);
    let mut waiting = vec![(playbook.source().to_owned(), playbook.text().clone())];
    let mut seen = BTreeSet::new();
    while let Some((name, text)) = waiting.pop() {
        let ast = sources::parse(&text).map_err(|error| format!("{name}: {error}"))?;
        let script = Script::of(&ast);
        let facts = script.facts();
        for call in &facts.calls {
            if call.method {
                actions.extend(reference.methods(call.name).flat_map(|method| method.permissions));
            } else if let Some(function) = reference.function(call.namespace, call.name) {
                actions.extend(function.permissions);
            }
        }
        for path in facts.imports.iter().filter_map(|import| import.path) {
            if seen.insert(path.to_owned()) {
                let file = playbook.module(path)?;
                let text = sources::read(&file).map_err(|error| error.to_string())?;
                waiting.push((file.display().to_string(), text));
            }
        }
    }
    Ok(actions)
}
