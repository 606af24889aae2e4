//! What closures and loops do that their writer seldom means.

use super::script::Kind;
use super::{Finding, Text};

/// What keeps a closure for later; anything else calls it at once.
const KEEPERS: [&str; 3] = ["push", "insert", "defer"];

pub(super) fn judge(text: &Text, found: &mut Vec<Finding>) {
    let facts = text.facts;
    for closure in &facts.closures {
        let kept = closure.handed_to.is_none_or(|(function, _)| KEEPERS.contains(&function));
        for captured in closure.captures.iter().map(|index| &facts.declared[*index]) {
            if kept && captured.kind == Kind::Loop {
                let name = captured.name;
                let title = format!("a closure that is kept sees only the last `{name}` of this loop");
                found.push(
                    Finding::new("captured-loop", closure.position, title)
                        .help(format!(
                            "copy it in the loop: `let its = {name};`, and use that in the closure"
                        ))
                        .help("or call a closure for each item: `parallel(items, |item| ..)`"),
                );
            }
        }
        // What is kept is called later, when the value is free again.
        if let Some((function, Some(receiver))) = closure.handed_to
            && !kept
            && closure.captures.contains(&receiver)
        {
            let name = facts.declared[receiver].name;
            let title = format!("`{name}.{function}` works on `{name}`, and its closure uses `{name}` too");
            found.push(
                Finding::new("own-receiver", closure.position, title)
                    .note("the value is in use during the call, so this fails when it runs")
                    .help(format!("copy what the closure needs before: `let copy = {name};`")),
            );
        }
    }
    for position in &facts.empty_loops {
        let title = "this loop does nothing with what it goes through, and hides its errors";
        found.push(Finding::new("empty-loop", *position, title).help("use the item, or leave the loop out"));
    }
}
