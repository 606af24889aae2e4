//! The time zone of whoever sits at the prompt, so that `timestamptz` is shown on their clock. Scripts
//! keep the server's zone, or PGTZ: their output should not depend on the machine.

use std::env;
use std::fs;
use std::path::Path;

const FOLDER: &str = "/usr/share/zoneinfo";

/// The zone's name, `Europe/Rome`, as far as this machine says it. PostgreSQL knows the same names.
pub(super) fn local() -> Option<String> {
    match env::var("TZ") {
        Ok(zone) => {
            let zone = zone.trim_start_matches(':');
            (!zone.is_empty() && Path::new(FOLDER).join(zone).is_file()).then(|| zone.to_owned())
        }
        Err(_) => {
            let link = fs::read_link("/etc/localtime").ok()?;
            let (_, zone) = link.to_str()?.rsplit_once("zoneinfo/")?;
            Some(zone.to_owned())
        }
    }
}
