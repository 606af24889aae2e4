//! The AWS query protocol: a form body in, XML out. EC2, RDS and SNS stand on it.
//! A form remembers which of its fields an operation has read, so that a parameter which the local cloud
//! does not model is refused by name instead of being ignored.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cloud::{Cloud, Region};
use crate::iam;
use crate::xml::{Xml, escape};

/// An error as a service answers it; `code` is AWS's own.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct AwsError {
    pub(crate) status: u16,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

impl AwsError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> AwsError {
        AwsError { status: 400, code: code.into(), message: message.into() }
    }

    pub(crate) fn with_status(status: u16, code: &'static str, message: impl Into<String>) -> AwsError {
        AwsError { status, code: code.into(), message: message.into() }
    }
}

pub(crate) type Answer = Result<Xml, AwsError>;

/// Whether an operation only looks or may change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Change,
    /// Changes no resource, but what is in one: a message that is sent, received or deleted.
    Effect,
}

/// One request to an operation: its parameters, and the region's resources that it may read and change.
/// What a failed operation changed is thrown away.
pub(crate) struct Call<'a> {
    pub(crate) region_name: &'a str,
    pub(crate) form: &'a Form,
    pub(crate) region: &'a mut Region,
    pub(crate) iam: &'a mut iam::State,
    pub(crate) cloud: &'a Cloud,
    /// The access key that signed the request.
    pub(crate) access_key: &'a str,
}

/// What the signature of a request says: who asks which service of which region.
pub(crate) struct Scope {
    pub(crate) access_key: String,
    pub(crate) region: String,
    pub(crate) service: String,
}

pub(crate) type Operation = (&'static str, Access, fn(&mut Call<'_>) -> Answer);

/// A query-protocol service: its operations and the way it wraps answers and errors.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) envelope: Envelope,
    pub(crate) operations: &'static [&'static [Operation]],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// `<Response><Errors><Error>`, results at the top level.
    Ec2,
    /// `<ErrorResponse><Error>`, results in `<OperationResult>`.
    Query,
}

impl Service {
    pub(crate) fn operation(&self, name: &str) -> Option<Operation> {
        self.operations.iter().flat_map(|group| group.iter()).find(|(known, ..)| *known == name).copied()
    }

    pub(crate) async fn answer(
        &self,
        cloud: &Cloud,
        scope: &Scope,
        operation: Operation,
        form: &Form,
    ) -> Result<Xml, AwsError> {
        let (_, access, run) = operation;
        let checked = |region: &mut Region, iam: &mut iam::State| {
            let mut call =
                Call { region_name: &scope.region, form, region, iam, cloud, access_key: &scope.access_key };
            let xml = run(&mut call)?;
            match form.unread() {
                None => Ok(xml),
                Some(parameter) => Err(AwsError::new(
                    if self.envelope == Envelope::Ec2 { "UnknownParameter" } else { "InvalidParameterValue" },
                    format!("The parameter {parameter} is not recognized: the local cloud does not model it"),
                )),
            }
        };
        cloud.run(&scope.region, access, checked).await
    }

    pub(crate) fn success(&self, operation: &str, body: Xml, request_id: &str) -> String {
        let namespace = self.namespace;
        let body = body.into_string();
        match self.envelope {
            Envelope::Ec2 => format!(
                "{DECLARATION}<{operation}Response xmlns=\"{namespace}\"><requestId>{request_id}</requestId>{body}</{operation}Response>"
            ),
            Envelope::Query => format!(
                "{DECLARATION}<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{body}</{operation}Result>\
                 <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
            ),
        }
    }

    pub(crate) fn failure(&self, error: &AwsError, request_id: &str) -> String {
        failure(self.envelope, self.namespace, error, request_id)
    }
}

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

pub(crate) fn failure(envelope: Envelope, namespace: &str, error: &AwsError, request_id: &str) -> String {
    let (code, message) = (escape(&error.code), escape(&error.message));
    match envelope {
        Envelope::Ec2 => format!(
            "{DECLARATION}<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
             <RequestID>{request_id}</RequestID></Response>"
        ),
        Envelope::Query => {
            let kind = if error.status < 500 { "Sender" } else { "Receiver" };
            format!(
                "{DECLARATION}<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{kind}</Type><Code>{code}</Code>\
                 <Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
            )
        }
    }
}

/// The parameters of a request. Lists are named `Tags.1.Key`, whatever the service calls their members on the wire
/// (`Tags.Tag.1.Key`, `Tags.member.1.Key`, `Attributes.entry.1.key`).
#[derive(Debug)]
pub(crate) struct Form {
    fields: BTreeMap<String, String>,
    read: Mutex<BTreeSet<String>>,
}

impl Form {
    pub(crate) fn parse(body: &[u8]) -> Form {
        let text = String::from_utf8_lossy(body);
        let fields = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (without_member_names(&decode(name)), decode(value))
            })
            .collect();
        Form { fields, read: Mutex::default() }
    }

    fn read(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.fields.get(name)?;
        self.read().insert(name.to_string());
        Some(value)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, AwsError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            AwsError::new("MissingParameter", format!("The request must contain the parameter {name}"))
        })
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, AwsError> {
        self.get(name)
            .map(|value| match value {
                "true" => Ok(true),
                "false" => Ok(false),
                other => Err(invalid(name, other, "true or false")),
            })
            .transpose()
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, AwsError> {
        self.get(name)
            .map(|value| value.parse().map_err(|_| invalid(name, value, "a whole number")))
            .transpose()
    }

    /// The values of `Name.1`, `Name.2` ... in order.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.members(name).iter().filter_map(|member| self.get(member)).map(str::to_string).collect()
    }

    /// The member prefixes `Name.1`, `Name.2` ... of a list of structures, in order.
    pub(crate) fn members(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}.");
        let indexes: BTreeSet<u32> = self
            .fields
            .keys()
            .filter_map(|field| field.strip_prefix(&prefix))
            .filter_map(|rest| rest.split('.').next()?.parse().ok())
            .collect();
        indexes.iter().map(|index| format!("{prefix}{index}")).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        let prefix = format!("{name}.");
        self.fields.keys().any(|field| field == name || field.starts_with(&prefix))
    }

    /// Parameters that change nothing which the local cloud could show.
    pub(crate) fn ignore(&self, names: &[&str]) {
        let mut read = self.read();
        for name in names {
            let prefix = format!("{name}.");
            read.extend(
                self.fields.keys().filter(|field| *field == name || field.starts_with(&prefix)).cloned(),
            );
        }
    }

    /// `Prefix.N.Key` and `Prefix.N.Value`, as tags and attributes are sent.
    pub(crate) fn pairs(
        &self,
        name: &str,
        key: &str,
        value: &str,
    ) -> Result<BTreeMap<String, String>, AwsError> {
        self.members(name)
            .iter()
            .map(|member| {
                let key = self.required(&format!("{member}.{key}"))?;
                Ok((key.to_string(), self.get(&format!("{member}.{value}")).unwrap_or_default().to_string()))
            })
            .collect()
    }

    fn unread(&self) -> Option<&str> {
        let read = self.read();
        let known = |field: &str| matches!(field, "Action" | "Version") || read.contains(field);
        self.fields.keys().map(String::as_str).find(|field| !known(field))
    }

    /// The same request has the same text, less the fields named: what a client token stands for.
    pub(crate) fn canonical_without(&self, names: &[&str]) -> String {
        let kept = self.fields.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        kept.map(|(name, value)| format!("{name}={value}\n")).collect()
    }
}

pub(crate) fn invalid(parameter: &str, value: &str, expected: &str) -> AwsError {
    AwsError::new(
        "InvalidParameterValue",
        format!("Value ({value}) for parameter {parameter} is invalid: expected {expected}"),
    )
}

fn is_index(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_member_names(name: &str) -> String {
    let segments: Vec<&str> = name.split('.').collect();
    let kept: Vec<&str> = segments
        .iter()
        .enumerate()
        .filter(|(position, segment)| {
            let before = position.checked_sub(1).and_then(|before| segments.get(before));
            let after = segments.get(position + 1);
            let names_a_member = before.is_some_and(|before| !is_index(before))
                && after.is_some_and(|after| is_index(after))
                && !is_index(segment);
            !names_a_member
        })
        .map(|(_, segment)| *segment)
        .collect();
    kept.join(".")
}

/// Decodes `application/x-www-form-urlencoded` text; a stray `%` stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(other),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
