//! How long something may take, as it is typed on a command line.

use std::time::Duration;

/// Reads `30s`, `5m` or `1h 30m`.
pub fn read(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|it| Duration::try_from(it).ok());
    parsed.ok_or_else(|| format!("`{text}` is no time: write it like 30s, 5m or 1h"))
}
