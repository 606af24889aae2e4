//! `time::` moments, and how they are written in a time zone.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};

/// A time zone with its rules.
#[derive(Clone)]
struct Zone(TimeZone);

const NOW: Function = Function {
    name: "now",
    doc: "This moment, in UTC: `2026-01-02T03:04:05Z`.",
    parameters: &[],
    returns: "string",
    permissions: &[],
    example: r#"print(time::now());"#,
    keys: &[],
};

const ZONE: Function = Function {
    name: "zone",
    doc: "A time zone by its IANA name, such as `Europe/Rome`; this machine's for an empty one. Throws `not_found` for a name that is none.",
    parameters: &["name: string"],
    returns: "Zone",
    permissions: &[],
    example: r#"print(time::zone("UTC").name);"#,
    keys: &[],
};

const FORMAT: Function = Function {
    name: "format",
    doc: "A moment as it is written in the zone. The moment as in `2026-01-02T03:04:05Z`, the pattern as for strftime(3): \
          `%Y-%m-%d %H:%M:%S`. Throws `invalid` for a text that is no moment.",
    parameters: &["moment: string", "pattern: string"],
    returns: "string",
    permissions: &[],
    example: r#"print(time::zone("UTC").format("2026-01-02T03:04:05Z", "%H:%M"));"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("time", host);
    namespace
        .function0(&NOW, |call| Ok(format!("{:.0}", call.now()?)))
        .handle::<Zone>("Zone")
        .function1(&ZONE, zone)
        .method2(&FORMAT, format_moment)
        .property("name", "Its IANA name: `Europe/Rome`.", |_, zone: &Zone| Ok(zone.name().to_owned()))
        .property("city", "The last part of its name, as people read it: `New York`.", |_, zone: &Zone| {
            Ok(zone.name().rsplit('/').next().unwrap_or_default().replace('_', " "))
        })
        .identified(|zone: &Zone| zone.name().to_owned());
    namespace
}

impl Zone {
    fn name(&self) -> &str {
        // A machine whose zone has no name has its rules only.
        self.0.iana_name().unwrap_or("local time")
    }
}

fn zone(_: &Call, name: String) -> Result<Zone, Error> {
    if name.is_empty() {
        let zone = TimeZone::try_system().map_err(|error| {
            Error::new(Kind::NotFound, format!("this machine's time zone cannot be read: {error}"))
                .help("set the variable TZ, such as TZ=Europe/Rome")
        })?;
        return Ok(Zone(zone));
    }
    TimeZone::get(&name).map(Zone).map_err(|_| {
        Error::new(Kind::NotFound, format!("`{name}` is no time zone that this machine knows"))
            .help("use an IANA name such as Europe/Rome, America/New_York or UTC")
            .help("where none is known, install the system's package tzdata")
    })
}

fn format_moment(_: &Call, zone: &Zone, moment: String, pattern: String) -> Result<String, Error> {
    let parsed: Timestamp = moment.parse().map_err(|_| {
        Error::invalid(format!("`{moment}` is no moment"))
            .help("expected is a text such as 2026-01-02T03:04:05Z")
    })?;
    let zoned = parsed.to_zoned(zone.0.clone());
    jiff::fmt::strtime::format(&pattern, &zoned).map_err(|error| {
        Error::invalid(format!("`{pattern}` is no pattern for a moment: {error}"))
            .help("expected is one as for strftime(3), such as %Y-%m-%d %H:%M:%S")
    })
}
