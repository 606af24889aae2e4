//! How a host function is written: once. Its [`Function`] beside its code gives the signature, the docs, the table of keys
//! and what a run checks before the code is reached.

use rhai::{Dynamic, Map};

use crate::error::Error;
use crate::plan::Unknown;

/// A host function or a method of a handle, as a playbook's author sees it.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    /// One sentence that says what comes back or what changes; then what may be thrown, and the API operations.
    pub doc: &'static str,
    /// `name: string`, in the author's words. The map of options is not among them.
    pub parameters: &'static [&'static str],
    pub returns: &'static str,
    /// The IAM actions that a call of it may need: `ec2:RunInstances`. Empty where it asks no service of AWS.
    pub permissions: &'static [&'static str],
    /// A part of a playbook that uses it; the documentation shows it, and a test runs it.
    pub example: &'static str,
    /// The keys of the map of options; empty where the function takes none.
    pub keys: &'static [Key],
}

/// One key of a map of options.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub holds: Holds,
    pub required: bool,
    pub doc: &'static str,
}

/// What a key holds.
#[derive(Debug, Clone, Copy)]
pub enum Holds {
    String,
    Int,
    Bool,
    List,
    Map,
    /// A handle, a rule ..: its name and a test for it.
    A(&'static str, fn(&Dynamic) -> bool),
}

impl Holds {
    pub fn word(self) -> &'static str {
        match self {
            Holds::String => "a string",
            Holds::Int => "a whole number",
            Holds::Bool => "true or false",
            Holds::List => "a list",
            Holds::Map => "a map #{..}",
            Holds::A(name, _) => name,
        }
    }

    pub fn accepts(self, value: &Dynamic) -> bool {
        match self {
            Holds::String => value.is_string(),
            Holds::Int => value.is_int(),
            Holds::Bool => value.is_bool(),
            Holds::List => value.is_array(),
            Holds::Map => value.is_map(),
            Holds::A(_, test) => test(value),
        }
    }
}

/// A key that may be left out.
pub const fn optional(name: &'static str, holds: Holds, doc: &'static str) -> Key {
    Key { name, holds, required: false, doc }
}

/// A key that has to be given.
pub const fn required(name: &'static str, holds: Holds, doc: &'static str) -> Key {
    Key { name, holds, required: true, doc }
}

/// The options of a call, after the check against the function's keys.
#[derive(Debug, Default)]
pub struct Options(Map);

impl Options {
    /// Checks a map against `keys`. The error carries the key, so that the report can point at it.
    ///
    /// In a plan a value may be unknown: its key counts as given, and is left out.
    pub fn check(function: &str, keys: &'static [Key], mut map: Map) -> Result<Self, Error> {
        for (name, value) in &map {
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                let known = keys.iter().map(|key| key.name);
                let error = Error::invalid(format!("unknown key `{name}` for {function}")).key(name.as_str());
                return Err(match closest(name, known.clone()) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help(format!("it takes {}", known.collect::<Vec<_>>().join(", "))),
                });
            };
            // Also `()`: it is what a misspelt property of a map gives, and must not mean "not given".
            if !key.holds.accepts(value) && !value.is::<Unknown>() {
                return Err(Error::invalid(format!(
                    "`{name}` of {function} is {}, and not {}",
                    key.holds.word(),
                    describe(value)
                ))
                .key(name.as_str()));
            }
        }
        for key in keys.iter().filter(|key| key.required) {
            if !map.contains_key(key.name) {
                return Err(Error::invalid(format!("{function} needs the key `{}`", key.name))
                    .help(format!("{}: {}", key.name, key.doc)));
            }
        }
        map.retain(|_, value| !value.is::<Unknown>());
        Ok(Options(map))
    }

    pub fn get(&self, key: &str) -> Option<&Dynamic> {
        self.0.get(key)
    }

    pub fn string(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|value| value.clone().into_string().ok())
    }

    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(|value| value.as_int().ok())
    }

    pub fn bool(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(|value| value.as_bool().ok())
    }

    /// A whole number that has to lie in `range`.
    pub fn int_in(
        &self,
        key: &'static str,
        range: std::ops::RangeInclusive<i32>,
    ) -> Result<Option<i32>, Error> {
        let Some(given) = self.int(key) else { return Ok(None) };
        match i32::try_from(given) {
            Ok(value) if range.contains(&value) => Ok(Some(value)),
            _ => Err(Error::invalid(format!(
                "`{key}` is {given}, and has to be from {} to {}",
                range.start(),
                range.end()
            ))
            .key(key)),
        }
    }

    pub fn list(&self, key: &str) -> Option<Vec<Dynamic>> {
        self.get(key).and_then(|value| value.clone().into_array().ok())
    }

    pub fn map(&self, key: &str) -> Option<Map> {
        self.get(key).and_then(|value| value.clone().try_cast::<Map>())
    }

    /// The handles of type `T` in a list, each named `what` in an error.
    pub fn handles<T: Clone + 'static>(&self, key: &'static str, what: &str) -> Result<Vec<T>, Error> {
        let list = self.list(key).unwrap_or_default();
        list.into_iter()
            .filter(|value| !value.is::<Unknown>())
            .map(|value| {
                let found = describe(&value);
                value.try_cast::<T>().ok_or_else(|| {
                    Error::invalid(format!("`{key}` is a list of {what}, and holds {found}")).key(key)
                })
            })
            .collect()
    }
}

/// The candidate that `name` is most likely a misspelling of.
pub fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A value in the author's words, for an error.
pub fn describe(value: &Dynamic) -> String {
    if value.is_string() {
        format!("the string {value:?}")
    } else if value.is_int() || value.is_float() {
        format!("the number {value}")
    } else if value.is_bool() {
        format!("{value}")
    } else if value.is_array() {
        "a list".to_owned()
    } else if value.is_map() {
        "a map".to_owned()
    } else if value.is_unit() {
        "nothing, ()".to_owned()
    } else {
        value.type_name().rsplit("::").next().unwrap_or("another value").to_owned()
    }
}
