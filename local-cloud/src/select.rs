//! What a Describe call returns: filters with AWS's wildcards, where an unknown filter is an error rather than
//! "matches everything", and pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::query::{AwsError, Form};

pub(crate) struct Filters {
    filters: Vec<(String, Vec<String>)>,
}

impl Filters {
    /// `known` lists the filters of the operation; an entry that ends with `:` takes any suffix (`tag:`).
    pub(crate) fn parse(form: &Form, list: &str, values: &str, known: &[&str]) -> Result<Filters, AwsError> {
        let mut filters = Vec::new();
        for member in form.members(list) {
            let name = form.required(&format!("{member}.Name"))?;
            if !known.iter().any(|known| name == *known || (known.ends_with(':') && name.starts_with(known)))
            {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!("The filter '{name}' is invalid: the local cloud has {}", known.join(", ")),
                ));
            }
            let values = form.list(&format!("{member}.{values}"));
            if values.is_empty() {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!("The filter '{name}' has no value"),
                ));
            }
            filters.push((name.to_string(), values));
        }
        Ok(Filters { filters })
    }

    /// EC2's form: `Filter.1.Name`, `Filter.1.Value.1`.
    pub(crate) fn ec2(form: &Form, known: &[&str]) -> Result<Filters, AwsError> {
        Filters::parse(form, "Filter", "Value", known)
    }

    /// Every filter must match one of the values that `of` gives for its name.
    pub(crate) fn matches(&self, of: impl Fn(&str) -> Vec<String>) -> bool {
        self.filters.iter().all(|(name, wanted)| {
            let values = of(name);
            wanted.iter().any(|pattern| values.iter().any(|value| glob(pattern, value)))
        })
    }
}

/// The values that a tag filter (`tag:Name`, `tag-key`) compares with.
pub(crate) fn tag_values(filter: &str, tags: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    match filter.strip_prefix("tag:") {
        Some(key) => tags.get(key).cloned().into_iter().collect(),
        None if filter == "tag-key" => tags.keys().cloned().collect(),
        None => Vec::new(),
    }
}

/// `*` stands for any text, `?` for one character.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for symbol in pattern {
        let mut next = vec![false; text.len() + 1];
        let mut open = false;
        for position in 0..=text.len() {
            if symbol == '*' {
                open |= reached[position];
                next[position] = open;
            } else if position > 0 && reached[position - 1] {
                next[position] = symbol == '?' || symbol == text[position - 1];
            }
        }
        reached = next;
    }
    reached[text.len()]
}

/// How many results a page may have, and the names under which the service takes the size and the token.
pub(crate) struct Paging {
    pub(crate) size: &'static str,
    pub(crate) token: &'static str,
    pub(crate) limits: std::ops::RangeInclusive<i64>,
    pub(crate) default: usize,
}

pub(crate) const EC2_PAGES: Paging =
    Paging { size: "MaxResults", token: "NextToken", limits: 5..=1000, default: 1000 };
pub(crate) const RDS_PAGES: Paging =
    Paging { size: "MaxRecords", token: "Marker", limits: 20..=100, default: 100 };
/// SNS takes no size: a page has 100.
pub(crate) const SNS_PAGES: Paging =
    Paging { size: "MaxItems", token: "NextToken", limits: 100..=100, default: 100 };

impl Paging {
    /// The page asked for and the token of the next one.
    pub(crate) fn page<T>(&self, form: &Form, items: Vec<T>) -> Result<(Vec<T>, Option<String>), AwsError> {
        let size = match form.number(self.size)? {
            Some(size) if self.limits.contains(&size) => usize::try_from(size).unwrap_or(self.default),
            Some(size) => {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!(
                        "Value ({size}) for parameter {} is invalid: expected {} to {}",
                        self.size,
                        self.limits.start(),
                        self.limits.end()
                    ),
                ));
            }
            None => self.default,
        };
        let start = match form.get(self.token).filter(|token| !token.is_empty()) {
            None => 0,
            Some(token) => offset(token).ok_or_else(|| {
                AwsError::new(
                    "InvalidParameterValue",
                    format!("Value ({token}) for {} is invalid", self.token),
                )
            })?,
        };
        let more = items.len() > start.saturating_add(size);
        let next = more.then(|| self::token(start + size));
        Ok((items.into_iter().skip(start).take(size).collect(), next))
    }
}

/// What stands for a place in a list.
pub(crate) fn token(start: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("from:{start}"))
}

pub(crate) fn offset(token: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    String::from_utf8(bytes).ok()?.strip_prefix("from:")?.parse().ok()
}
