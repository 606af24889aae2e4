//! Which stacks a project knows, for whoever misspells one.

use std::collections::BTreeSet;

use crate::commands::completions;
use crate::host::Host;
use crate::report::nearest;

/// The stack that was probably meant, where the project knows nothing of the run's own. What a project has changed is in its journal,
/// what it has deployed in a state file.
pub fn meant(host: &Host) -> Option<String> {
    let stack = host.stack().ok()?;
    let known = known(host);
    if known.contains(stack) {
        return None;
    }
    nearest(stack, known.iter().map(String::as_str)).map(str::to_owned)
}

fn known(host: &Host) -> BTreeSet<String> {
    let mut known = completions::stacks(&host.project.root);
    // A journal is named `<account>-<region>-<stack>.ndjson`.
    let place = host.aws().map(|aws| format!("{}-{}-", aws.identity.account, aws.region)).unwrap_or_default();
    let journals = host.project.folder.join("journal").read_dir().into_iter().flatten().flatten();
    known.extend(journals.filter_map(|file| {
        let name = file.file_name().into_string().ok()?;
        name.strip_prefix(&place)?.strip_suffix(".ndjson").map(str::to_owned)
    }));
    known
}
