//! Attributes of load balancers and target groups: a table of what there is, with AWS's defaults, and what was set.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{invalid, misconfigured};
use crate::query::{AwsError, Form};
use crate::xml::Xml;

pub(super) type Attributes = BTreeMap<String, String>;

pub(super) enum Allowed {
    Flag,
    Number(RangeInclusive<i64>),
    OneOf(&'static [&'static str]),
}

impl Allowed {
    fn takes(&self, value: &str) -> bool {
        match self {
            Allowed::Flag => matches!(value, "true" | "false"),
            Allowed::Number(range) => value.parse().is_ok_and(|number| range.contains(&number)),
            Allowed::OneOf(values) => values.contains(&value),
        }
    }

    fn expected(&self) -> String {
        match self {
            Allowed::Flag => "true or false".into(),
            Allowed::Number(range) => format!("{} to {}", range.start(), range.end()),
            Allowed::OneOf(values) => values.join(" or "),
        }
    }
}

pub(super) struct Known {
    pub(super) key: &'static str,
    pub(super) default: &'static str,
    pub(super) allowed: Allowed,
}

pub(super) fn defaults(table: &[Known]) -> Attributes {
    table.iter().map(|known| (known.key.to_string(), known.default.to_string())).collect()
}

/// What the request sets, checked.
pub(super) fn of_request(form: &Form, table: &[Known]) -> Result<Attributes, AwsError> {
    let given = form.pairs("Attributes", "Key", "Value")?;
    if given.is_empty() {
        return Err(invalid("At least one attribute must be specified"));
    }
    for (key, value) in &given {
        let Some(known) = table.iter().find(|known| known.key == key) else {
            return Err(misconfigured(format!("The attribute key '{key}' is not recognized")));
        };
        if !known.allowed.takes(value) {
            return Err(misconfigured(format!(
                "The value '{value}' of the attribute '{key}' is not valid: expected {}",
                known.allowed.expected()
            )));
        }
    }
    Ok(given)
}

pub(super) fn xml(attributes: &Attributes) -> Xml {
    let mut xml = Xml::new();
    xml.list("Attributes", "member", attributes, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
    xml
}
