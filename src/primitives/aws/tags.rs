//! The tags by which a thing is known as part of its stack. Who changed them by hand finds them put back: without them the clean-up
//! would not find the thing.

use crate::error::Error;
use crate::host::{Change, Host};
use crate::progress::Verb;

/// Puts back the tags of the thing `name` that are not as they were made; `is` gives the value that a key has now. `send` asks the
/// service's `operation` to set the pairs that it is given.
pub(super) fn repair<'a, F>(
    host: &Host,
    (service, operation): (&'static str, &'static str),
    name: &str,
    is: impl Fn(&str) -> Option<&'a str>,
    send: impl Fn(Vec<(String, String)>) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    let differing: Vec<(String, String)> =
        host.tags(name)?.into_iter().filter(|(key, value)| is(key) != Some(value)).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = differing.iter().map(|(key, _)| key.as_str()).collect();
    let detail = format!("tags {}", keys.join(", "));
    let change = Change { verb: Verb::Update, service, operation, name, detail: &detail };
    host.change(change, |_| send(differing.clone()))?;
    Ok(())
}
