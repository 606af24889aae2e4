//! Databases and the security groups around them, for the picture of a stack.

use super::owned::instances;
use crate::error::Error;
use crate::host::{Host, NAME_TAG, STACK_TAG};
use crate::picture::{Health, Kind, Part, Thing};

pub fn drawn(host: &Host) -> Result<Vec<Part>, Error> {
    let stack = host.stack()?.to_owned();
    let mut parts = Vec::new();
    for found in host.block(instances(host))? {
        let value = |key| found.tag_list().iter().find(|tag| tag.key() == Some(key))?.value();
        let (Some(id), Some(name), true) =
            (found.db_instance_identifier(), value(NAME_TAG), value(STACK_TAG) == Some(&stack))
        else {
            continue;
        };
        let status = found.db_instance_status().unwrap_or_default().to_owned();
        let engine =
            [found.engine(), found.engine_version()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let storage = found.allocated_storage().map(|gib| format!("{gib} GiB"));
        let size: Vec<String> =
            found.db_instance_class().map(str::to_owned).into_iter().chain(storage).collect();
        parts.push(Part::Thing(Thing {
            id: id.to_owned(),
            key: format!("rds:{name}"),
            kind: Kind::Database,
            name: name.to_owned(),
            health: Health::of(&status),
            status,
            lines: [engine, size.join(" · ")].into_iter().filter(|line| !line.is_empty()).collect(),
        }));
        for group in found.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id()) {
            parts.push(Part::Member { group: group.to_owned(), thing: id.to_owned() });
        }
    }
    Ok(parts)
}
