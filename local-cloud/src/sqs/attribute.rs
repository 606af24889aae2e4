//! The attributes of a message, and the MD5 sums by which clients check what arrived.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::json::Document;
use crate::query::AwsError;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attribute {
    pub(crate) data_type: String,
    /// Text, or base64 if the type is binary.
    pub(crate) value: String,
}

pub(super) fn attributes_of(document: &Document) -> Result<BTreeMap<String, Attribute>, AwsError> {
    let Some(given) = document.get("MessageAttributes") else { return Ok(BTreeMap::new()) };
    let bad = |name: &str| {
        AwsError::new(
            "InvalidParameterValue",
            format!("The message attribute '{name}' must contain a DataType and its value."),
        )
    };
    let given = given.as_object().ok_or_else(|| bad(""))?;
    if given.len() > 10 {
        return Err(AwsError::new(
            "InvalidParameterValue",
            "Number of message attributes exceeds the allowed maximum (10).",
        ));
    }
    let mut attributes = BTreeMap::new();
    for (name, value) in given {
        let data_type = value["DataType"].as_str().ok_or_else(|| bad(name))?;
        let value = match data_type.split('.').next() {
            Some("Binary") => value["BinaryValue"].as_str(),
            Some("String" | "Number") => value["StringValue"].as_str(),
            _ => None,
        };
        let value = value.filter(|value| !value.is_empty()).ok_or_else(|| bad(name))?.to_string();
        attributes.insert(name.clone(), Attribute { data_type: data_type.to_string(), value });
    }
    Ok(attributes)
}

pub(super) fn hex_md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sum over the attributes' names, types and values, each behind its length (SQS developer guide, message attributes).
pub(super) fn attributes_md5(attributes: &BTreeMap<String, Attribute>) -> String {
    let mut bytes = Vec::new();
    let add = |part: &[u8], bytes: &mut Vec<u8>| {
        bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(part);
    };
    for (name, attribute) in attributes {
        add(name.as_bytes(), &mut bytes);
        add(attribute.data_type.as_bytes(), &mut bytes);
        if attribute.data_type.starts_with("Binary") {
            bytes.push(2);
            add(&STANDARD.decode(&attribute.value).unwrap_or_default(), &mut bytes);
        } else {
            bytes.push(1);
            add(attribute.value.as_bytes(), &mut bytes);
        }
    }
    hex_md5(&bytes)
}
