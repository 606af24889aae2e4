//! The parameters of a playbook: declared by top-level calls with literal arguments, read before anything runs.
//!
//! A value comes from the command line, else the environment (`OPS_PARAM_KEEP_DB`), else `[params]` in `ops.toml`, else
//! the default. Every value is checked against its declaration, and an error names where the value came from.

mod declare;

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use rhai::{Dynamic, ParseError, Position};
use toml_edit::Value;

use crate::playbook::Playbook;
use crate::report::Problem;
use crate::sources;

pub use declare::misdeclared_in_module;

/// Why parameters could not be read or given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The playbook does not parse.
    #[error("{name}: {error}")]
    Syntax {
        /// The name of the text.
        name: String,
        /// What the parser said.
        error: ParseError,
    },
    /// A declaration is wrong.
    #[error("{}: {}", .0.name, .0.problem.title)]
    Declaration(Box<Misdeclared>),
    /// The command line is wrong, or asks for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// A value from elsewhere than the command line is not of the declared kind.
    #[error("parameter `{parameter}` must be {expected}, but {origin} is {given}")]
    Value {
        /// The parameter.
        parameter: String,
        /// What its declaration allows.
        expected: String,
        /// Where the value came from.
        origin: String,
        /// The value.
        given: String,
    },
    /// Required parameters have no value.
    #[error("{}", missing(.0))]
    Missing(Vec<String>),
}

/// Where and why a declaration is wrong.
#[derive(Debug)]
pub struct Misdeclared {
    /// The name of the text.
    pub name: String,
    /// The place in it.
    pub position: Position,
    /// What is wrong.
    pub problem: Problem,
}

fn missing(names: &[String]) -> String {
    let ways = names.iter().map(|name| {
        let (value, variable) = (value_name(name), variable(name));
        format!("parameter `{name}` is required: give --{name} <{value}>, set {variable}, or set `{name}` under [params] in ops.toml")
    });
    ways.collect::<Vec<_>>().join("\n")
}

/// The values of a playbook's parameters, by name.
#[derive(Debug, Clone, Default)]
pub struct Parameters(BTreeMap<String, Dynamic>);

impl Parameters {
    /// The value of a declared parameter.
    pub fn get(&self, name: &str) -> Option<&Dynamic> {
        self.0.get(name)
    }

    /// Every parameter with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Dynamic)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// The parameters that a playbook declares, in its order.
#[derive(Debug)]
pub struct Declarations {
    playbook: String,
    about: String,
    declared: Vec<Declaration>,
}

#[derive(Debug)]
struct Declaration {
    name: String,
    help: String,
    kind: Kind,
    default: Option<Dynamic>,
}

#[derive(Debug)]
enum Kind {
    Flag,
    Text,
    Integer,
    Float,
    Boolean,
    Choice(Vec<Dynamic>),
}

impl Declarations {
    /// Reads the declarations of a playbook; nothing is run. `host_flags` are the long flags of `ops run` itself, without
    /// the dashes, which a playbook may not take.
    pub fn read(playbook: &Playbook, host_flags: &[&str]) -> Result<Self, Error> {
        let ast = sources::parse(playbook.text())
            .map_err(|error| Error::Syntax { name: playbook.source().to_owned(), error })?;
        let declared = declare::declarations(&ast, host_flags).map_err(|wrong| {
            let (position, problem) = *wrong;
            let name = playbook.source().to_owned();
            Error::Declaration(Box::new(Misdeclared { name, position, problem }))
        })?;
        Ok(Self { playbook: playbook.name().to_owned(), about: playbook.about(), declared })
    }

    /// The flags as they are typed: `--keep-db`, `--stack <STACK>`.
    pub fn flags(&self) -> Vec<String> {
        let flag = |it: &Declaration| match it.kind {
            Kind::Flag => format!("[--{}]", it.name),
            _ if it.default.is_some() => format!("[--{} {}]", it.name, value_name(&it.name)),
            _ => format!("--{} {}", it.name, value_name(&it.name)),
        };
        self.declared.iter().map(flag).collect()
    }

    /// The parameters for programs.
    pub fn described(&self) -> Vec<serde_json::Value> {
        let described = |it: &Declaration| {
            let values = match &it.kind {
                Kind::Choice(values) => Some(values.iter().map(Dynamic::to_string).collect::<Vec<_>>()),
                _ => None,
            };
            serde_json::json!({
                "name": it.name,
                "help": it.help,
                "holds": match it.kind { Kind::Choice(_) => "one of the values".to_owned(), _ => it.kind.to_string() },
                "values": values,
                "default": it.default.as_ref().map(Dynamic::to_string),
                "required": it.default.is_none(),
            })
        };
        self.declared.iter().map(described).collect()
    }

    /// The command line of the playbook. A caller may add flags of its own before it parses.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.playbook.clone())
            .bin_name(format!("ops run {}", self.playbook))
            .no_binary_name(true)
            .disable_version_flag(true)
            .args(self.declared.iter().map(Declaration::arg));
        if !self.about.is_empty() {
            command = command.about(self.about.clone());
        }
        if let Some(Declaration { name, .. }) = self.declared.first() {
            command = command.after_help(format!(
                "A parameter can also be set in the environment (--{name} as {}) or under [params] in ops.toml.",
                variable(name)
            ));
        }
        command
    }

    /// Gives every parameter its value, from the playbook's own arguments and the other places.
    pub fn parse(
        &self,
        args: &[OsString],
        environment: impl Fn(&str) -> Option<String>,
        project: &BTreeMap<String, Value>,
    ) -> Result<Parameters, Error> {
        self.resolve(&self.command().try_get_matches_from(args)?, environment, project)
    }

    /// Like [`parse`](Self::parse), for a command line that was already matched by [`command`](Self::command).
    pub fn resolve(
        &self,
        matches: &ArgMatches,
        environment: impl Fn(&str) -> Option<String>,
        project: &BTreeMap<String, Value>,
    ) -> Result<Parameters, Error> {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        for declaration in &self.declared {
            match declaration.value(matches, &environment, project)? {
                Some(value) => drop(values.insert(declaration.name.clone(), value)),
                None => missing.push(declaration.name.clone()),
            }
        }
        if missing.is_empty() { Ok(Parameters(values)) } else { Err(Error::Missing(missing)) }
    }
}

impl Declaration {
    fn arg(&self) -> Arg {
        let help = match self.default {
            Some(_) => self.help.clone(),
            None => format!("{} [required]", self.help),
        };
        let arg = Arg::new(self.name.clone()).long(self.name.clone()).help(help);
        let arg = match &self.kind {
            Kind::Flag => return arg.action(ArgAction::SetTrue),
            Kind::Choice(allowed) => {
                arg.value_parser(PossibleValuesParser::new(allowed.iter().map(Dynamic::to_string)))
            }
            Kind::Boolean => arg.value_parser(PossibleValuesParser::new(["true", "false"])),
            Kind::Text => arg,
            Kind::Integer => arg.value_parser(|text: &str| checked(text, &Kind::Integer)),
            Kind::Float => arg.value_parser(|text: &str| checked(text, &Kind::Float)),
        };
        let arg = arg
            .value_name(value_name(&self.name))
            .allow_negative_numbers(matches!(self.kind, Kind::Integer | Kind::Float | Kind::Choice(_)));
        match &self.default {
            // An empty default means "none given"; `[default: ]` would tell nobody anything.
            Some(default) if !default.to_string().is_empty() => arg.default_value(default.to_string()),
            Some(_) | None => arg,
        }
    }

    fn value(
        &self,
        matches: &ArgMatches,
        environment: impl Fn(&str) -> Option<String>,
        project: &BTreeMap<String, Value>,
    ) -> Result<Option<Dynamic>, Error> {
        let misfit = |origin: String, given: String| Error::Value {
            parameter: self.name.clone(),
            expected: self.kind.to_string(),
            origin,
            given,
        };
        if matches.value_source(&self.name) == Some(ValueSource::CommandLine) {
            if matches!(self.kind, Kind::Flag) {
                return Ok(Some(true.into()));
            }
            let text = matches.get_one::<String>(&self.name).map_or("", String::as_str);
            // clap has checked it already with the same rule.
            return self
                .kind
                .parse(text)
                .map(Some)
                .ok_or_else(|| misfit(format!("--{}", self.name), format!("`{text}`")));
        }
        let variable = variable(&self.name);
        if let Some(text) = environment(&variable) {
            let value = self.kind.parse(&text);
            return value.map(Some).ok_or_else(|| misfit(variable, format!("`{text}`")));
        }
        // TOML writers are used to both spellings, and one that is silently ignored helps nobody.
        let key = [self.name.clone(), self.name.replace('-', "_")]
            .into_iter()
            .find(|key| project.contains_key(key));
        if let Some((key, value)) = key.and_then(|key| project.get_key_value(&key)) {
            let given = || {
                misfit(
                    format!("`{key}` under [params] in ops.toml"),
                    format!("`{}`", value.to_string().trim()),
                )
            };
            return self.kind.convert(value).map(Some).ok_or_else(given);
        }
        Ok(self.default.clone())
    }
}

impl Kind {
    fn parse(&self, text: &str) -> Option<Dynamic> {
        match self {
            Self::Flag | Self::Boolean => match text {
                "true" | "1" | "yes" | "on" => Some(true.into()),
                "false" | "0" | "no" | "off" => Some(false.into()),
                _ => None,
            },
            Self::Text => Some(text.into()),
            Self::Integer => text.parse::<i64>().ok().map(Into::into),
            Self::Float => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Into::into),
            Self::Choice(allowed) => allowed.iter().find(|value| value.to_string() == text).cloned(),
        }
    }

    fn convert(&self, value: &Value) -> Option<Dynamic> {
        match (self, value) {
            (Self::Flag | Self::Boolean, Value::Boolean(value)) => Some((*value.value()).into()),
            (Self::Text | Self::Choice(_), Value::String(value)) => self.parse(value.value()),
            (Self::Integer | Self::Choice(_), Value::Integer(value)) => {
                self.parse(&value.value().to_string())
            }
            (Self::Float, Value::Integer(value)) => self.parse(&value.value().to_string()),
            (Self::Float | Self::Choice(_), Value::Float(value)) => {
                self.parse(&Dynamic::from(*value.value()).to_string())
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Flag | Self::Boolean => "true or false",
            Self::Text => "text",
            Self::Integer => "a whole number",
            Self::Float => "a number",
            Self::Choice(allowed) => {
                let allowed: Vec<_> = allowed.iter().map(|value| format!("`{value}`")).collect();
                return write!(formatter, "one of {}", allowed.join(", "));
            }
        })
    }
}

fn checked(text: &str, kind: &Kind) -> Result<String, String> {
    kind.parse(text).map(|_| text.to_owned()).ok_or_else(|| format!("expected {kind}"))
}

fn variable(name: &str) -> String {
    format!("OPS_PARAM_{}", value_name(name))
}

fn value_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests;
