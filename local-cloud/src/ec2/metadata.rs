//! The options of an instance's metadata service. There is none on a local instance; they are kept and shown.

use serde::{Deserialize, Serialize};

use crate::query::{AwsError, Form, invalid};
use crate::xml::Xml;

/// Amazon Linux 2023 instances ask for a token by default (IMDSv2).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MetadataOptions {
    tokens: String,
    hop_limit: i64,
    endpoint: String,
    tags: String,
}

impl Default for MetadataOptions {
    fn default() -> MetadataOptions {
        MetadataOptions {
            tokens: "required".into(),
            hop_limit: 2,
            endpoint: "enabled".into(),
            tags: "disabled".into(),
        }
    }
}

impl MetadataOptions {
    pub(super) fn with(mut self, form: &Form, prefix: &str) -> Result<MetadataOptions, AwsError> {
        let one_of =
            |name: &str, current: String, allowed: [&str; 2]| match form.get(&format!("{prefix}{name}")) {
                None => Ok(current),
                Some(value) if allowed.contains(&value) => Ok(value.to_string()),
                Some(value) => Err(invalid(name, value, &allowed.join(" or "))),
            };
        self.tokens = one_of("HttpTokens", self.tokens, ["required", "optional"])?;
        self.endpoint = one_of("HttpEndpoint", self.endpoint, ["enabled", "disabled"])?;
        self.tags = one_of("InstanceMetadataTags", self.tags, ["enabled", "disabled"])?;
        if let Some(limit) = form.number(&format!("{prefix}HttpPutResponseHopLimit"))? {
            if !(1..=64).contains(&limit) {
                return Err(invalid("HttpPutResponseHopLimit", &limit.to_string(), "1 to 64"));
            }
            self.hop_limit = limit;
        }
        form.ignore(&[&format!("{prefix}HttpProtocolIpv6")]);
        Ok(self)
    }

    pub(super) fn xml(&self, xml: &mut Xml) {
        xml.text("state", "applied")
            .text("httpTokens", &self.tokens)
            .text("httpPutResponseHopLimit", self.hop_limit)
            .text("httpEndpoint", &self.endpoint)
            .text("httpProtocolIpv6", "disabled")
            .text("instanceMetadataTags", &self.tags);
    }
}
