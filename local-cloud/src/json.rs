//! The AWS JSON protocol: the operation in `X-Amz-Target`, an object in, an object out. Secrets Manager, SQS and SSM speak it.
//! As with a query form, a member that an operation has not read is refused by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use crate::cloud::{Cloud, Region};
use crate::iam;
use crate::query::{Access, AwsError};
use crate::select;

pub(crate) type Answer = Result<Value, AwsError>;
pub(crate) type Operation = (&'static str, Access, fn(&mut Call<'_>) -> Answer);

pub(crate) struct Call<'a> {
    pub(crate) region_name: &'a str,
    pub(crate) document: &'a Document,
    pub(crate) region: &'a mut Region,
    pub(crate) cloud: &'a Cloud,
}

pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// What stands before the dot in `X-Amz-Target`.
    pub(crate) target: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) operations: &'static [&'static [Operation]],
    /// The code of a parameter that is wrong in itself.
    pub(crate) invalid: &'static str,
    /// The modelled name of an error whose code is an older one, from the time when the service spoke the query protocol; none if
    /// the service never did.
    pub(crate) modelled: Option<fn(&str) -> &str>,
}

impl Service {
    pub(crate) fn operation(&self, target: &str) -> Option<Operation> {
        let name = target.strip_prefix(self.target)?.strip_prefix('.')?;
        self.operations.iter().flat_map(|group| group.iter()).find(|(known, ..)| *known == name).copied()
    }

    pub(crate) async fn answer(
        &self,
        cloud: &Cloud,
        region: &str,
        operation: Operation,
        document: &Document,
    ) -> Answer {
        let (_, access, run) = operation;
        let checked = |target: &mut Region, _: &mut iam::State| {
            let mut call = Call { region_name: region, document, region: target, cloud };
            let value = run(&mut call)?;
            match document.unread() {
                None => Ok(value),
                Some(member) => Err(AwsError::new(
                    self.invalid,
                    format!("The local cloud does not model the parameter {member}"),
                )),
            }
        };
        let answer = cloud.run(region, access, checked).await;
        answer.map_err(|error| match error.code.as_ref() {
            MALFORMED => AwsError { code: self.invalid.into(), ..error },
            _ => error,
        })
    }

    /// The error's body, and the header that gives clients the older code.
    pub(crate) fn failure(&self, error: &AwsError) -> (String, Option<String>) {
        let kind = if error.status < 500 { "Sender" } else { "Receiver" };
        let (name, header) = match self.modelled {
            Some(modelled) => (
                format!("com.amazonaws.{}#{}", self.name, modelled(&error.code)),
                Some(format!("{};{kind}", error.code)),
            ),
            None => (error.code.to_string(), None),
        };
        (json!({ "__type": name, "message": error.message }).to_string(), header)
    }
}

/// Stands for the service's own code of an invalid parameter.
const MALFORMED: &str = "local-cloud:malformed";

/// The members of a request.
#[derive(Debug, Default)]
pub(crate) struct Document {
    members: Map<String, Value>,
    read: Mutex<BTreeSet<String>>,
}

impl Document {
    pub(crate) fn parse(body: &[u8]) -> Result<Document, AwsError> {
        let body = if body.is_empty() { b"{}" } else { body };
        let members = serde_json::from_slice(body).map_err(|error| {
            AwsError::new("SerializationException", format!("the request is not a JSON object: {error}"))
        })?;
        Ok(Document { members, read: Mutex::default() })
    }

    fn of(value: &Value) -> Document {
        Document { members: value.as_object().cloned().unwrap_or_default(), read: Mutex::default() }
    }

    fn read(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.read().insert(name.to_string());
        self.members.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn typed<'a, T>(
        &'a self,
        name: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, AwsError> {
        self.get(name)
            .map(|value| convert(value).ok_or_else(|| malformed(format!("{name} must be {expected}"))))
            .transpose()
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, AwsError> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, AwsError> {
        self.text(name)?.ok_or_else(|| {
            AwsError::new("MissingParameter", format!("The request must contain the parameter {name}."))
        })
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, AwsError> {
        self.typed(name, "a whole number", Value::as_i64)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, AwsError> {
        Ok(self.typed(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>, AwsError> {
        let texts =
            |value: &Value| value.as_array()?.iter().map(|item| Some(item.as_str()?.to_string())).collect();
        Ok(self.typed(name, "a list of strings", texts)?.unwrap_or_default())
    }

    pub(crate) fn documents(&self, name: &str) -> Result<Vec<Document>, AwsError> {
        let documents = |value: &Value| Some(value.as_array()?.iter().map(Document::of).collect());
        Ok(self.typed(name, "a list", documents)?.unwrap_or_default())
    }

    pub(crate) fn map(&self, name: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let texts = |value: &Value| {
            let members = value.as_object()?.iter();
            members.map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect()
        };
        Ok(self.typed(name, "a map of strings", texts)?.unwrap_or_default())
    }

    /// Tags, as a list of `Key` and `Value`.
    pub(crate) fn tags(&self, name: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let tags = self.documents(name)?;
        tags.iter()
            .map(|tag| Ok((tag.required("Key")?.to_string(), tag.required("Value")?.to_string())))
            .collect()
    }

    /// The page that `MaxResults` and `NextToken` ask for, and the token of the next one.
    pub(crate) fn page<T>(
        &self,
        items: Vec<T>,
        largest: usize,
    ) -> Result<(Vec<T>, Option<String>), AwsError> {
        let size = self.number("MaxResults")?.map_or(Some(largest), |size| usize::try_from(size).ok());
        let size = size.filter(|size| (1..=largest).contains(size));
        let size = size.ok_or_else(|| malformed(format!("MaxResults must be 1 to {largest}")))?;
        let token = self.text("NextToken")?.filter(|token| !token.is_empty());
        let start = token.map_or(Some(0), select::offset);
        let start =
            start.ok_or_else(|| AwsError::new("InvalidNextTokenException", "NextToken is invalid"))?;
        let next = (items.len() > start.saturating_add(size)).then(|| select::token(start + size));
        Ok((items.into_iter().skip(start).take(size).collect(), next))
    }

    fn unread(&self) -> Option<&str> {
        let read = self.read();
        self.members.keys().map(String::as_str).find(|name| !read.contains(*name))
    }
}

fn malformed(message: String) -> AwsError {
    AwsError::new(MALFORMED, message)
}
