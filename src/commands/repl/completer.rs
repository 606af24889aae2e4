//! What the Tab key offers: namespaces and their functions, keys of options, what a variable has, and the words of the language.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use reedline::{Span, Suggestion};
use rhai::{Dynamic, FnNamespace};

use super::COMMANDS;
use super::session::Known;
use crate::commands::doc::sentence;
use crate::engine::Prepared;
use crate::primitives::declaration::{Function, Key};
use crate::primitives::namespace::Declared;

/// Those that begin or join statements.
pub(super) const KEYWORDS: &[&str] = &[
    "as", "break", "catch", "const", "continue", "do", "else", "false", "fn", "for", "if", "import", "in",
    "let", "loop", "return", "switch", "this", "throw", "true", "try", "until", "while",
];

pub(super) struct Completer {
    namespaces: Vec<Declared>,
    /// What can be said behind a value of a type and a dot.
    members: BTreeMap<TypeId, BTreeMap<String, Takes>>,
    known: Arc<Mutex<Known>>,
}

/// What every value has, and nobody types.
const PLUMBING: &[&str] = &["to_debug", "to_string"];

struct Member {
    name: String,
    takes: Takes,
}

/// What follows a name. One that can be called in several ways may take arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Takes {
    Property,
    Nothing,
    Arguments,
}

impl Takes {
    fn typed(self, name: &str) -> String {
        match self {
            Takes::Property => name.to_owned(),
            Takes::Nothing => format!("{name}()"),
            Takes::Arguments => format!("{name}("),
        }
    }
}

/// A name that fits, and what it is.
type Offer = (String, Option<String>);

impl Completer {
    pub(super) fn new(prepared: &Prepared, known: Arc<Mutex<Known>>) -> Self {
        let found = prepared.engine.collect_fn_metadata(
            None,
            |function| {
                let metadata = function.metadata;
                let first = *metadata.param_types.first()?;
                let name = metadata.name.as_str();
                let member = match name.strip_prefix("get$") {
                    Some(property) => Member { name: property.to_owned(), takes: Takes::Property },
                    None if !name.starts_with(|first: char| first.is_ascii_lowercase())
                        || name.contains('$') =>
                    {
                        return None;
                    }
                    None if metadata.num_params == 1 => {
                        Member { name: name.to_owned(), takes: Takes::Nothing }
                    }
                    None => Member { name: name.to_owned(), takes: Takes::Arguments },
                };
                (metadata.namespace == FnNamespace::Global && !PLUMBING.contains(&name))
                    .then_some((first, member))
            },
            true,
        );
        let mut members: BTreeMap<TypeId, BTreeMap<String, Takes>> = BTreeMap::new();
        for (first, Member { name, takes }) in found {
            let known = members.entry(first).or_default().entry(name).or_insert(takes);
            *known = takes.max(*known);
        }
        Completer { namespaces: prepared.namespaces.clone(), members, known }
    }

    /// Where the word begins that is being typed, and what it may become.
    fn fitting(&self, before: &str) -> (usize, Vec<Offer>) {
        let start = before.len() - last_word(before).len();
        let (ahead, word) = before.split_at(start);
        let place = Place::of(ahead);
        let offers = if ahead.trim_start().starts_with(':') || before.trim_start() == ":" {
            self.commands(ahead)
        } else if place.quoted {
            Vec::new()
        } else if let Some(path) = ahead.strip_suffix("::") {
            self.functions(last_word(path))
        } else if let Some(path) = ahead.strip_suffix('.') {
            self.members_of(path)
        } else if let Some(call) = place.options {
            self.keys(&call, &place.given)
        } else {
            self.names()
        };
        let fits = |name: &str| name.starts_with(word) && name != word;
        (start, offers.into_iter().filter(|(name, _)| fits(name)).collect())
    }

    fn commands(&self, ahead: &str) -> Vec<Offer> {
        match ahead.trim_start() {
            ":" => COMMANDS.iter().map(|name| ((*name).to_owned(), None)).collect(),
            ":doc " => {
                let functions =
                    self.declared("").iter().map(|function| (function.name.to_owned(), summary(function)));
                self.namespace_names().chain(functions).collect()
            }
            path => match path.strip_prefix(":doc ").and_then(|path| path.strip_suffix("::")) {
                Some(namespace) => {
                    let functions = self.declared(namespace).iter();
                    functions.map(|function| (function.name.to_owned(), summary(function))).collect()
                }
                None => Vec::new(),
            },
        }
    }

    fn declared(&self, namespace: &str) -> &[&'static Function] {
        let found = self.namespaces.iter().find(|declared| declared.name == namespace);
        found.map_or(&[], |declared| &declared.functions)
    }

    fn namespace_names(&self) -> impl Iterator<Item = Offer> {
        let names = self.namespaces.iter().map(|declared| declared.name).filter(|name| !name.is_empty());
        names.map(|name| (format!("{name}::"), None))
    }

    fn functions(&self, namespace: &str) -> Vec<Offer> {
        self.declared(namespace).iter().map(|function| (called(function), summary(function))).collect()
    }

    /// `path` is what stands before the dot: a variable, or keys of maps that begin with one. Nothing is called to find out.
    fn members_of(&self, path: &str) -> Vec<Offer> {
        let start = path
            .rfind(|letter: char| !is_word(letter) && letter != '.')
            .map_or(0, |at| at + path[at..].chars().next().map_or(1, char::len_utf8));
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = path[start..].split('.');
        let first = parts.next().and_then(|name| known.scope.get(name));
        let value = first.and_then(|first| {
            parts.try_fold(first.flatten_clone(), |value, part| {
                let map = value.read_lock::<rhai::Map>()?;
                map.get(part).map(Dynamic::flatten_clone)
            })
        });
        let Some(value) = value else { return Vec::new() };
        let mut names: Vec<String> = match value.read_lock::<rhai::Map>() {
            Some(map) => map.keys().map(ToString::to_string).collect(),
            None => Vec::new(),
        };
        let members = self.members.get(&value.type_id()).into_iter().flatten();
        names.extend(members.map(|(name, takes)| takes.typed(name)));
        names.into_iter().map(|name| (name, None)).collect()
    }

    /// The keys of the options of `call`, without those that are given already.
    fn keys(&self, call: &str, given: &[String]) -> Vec<Offer> {
        let keys: Vec<&Key> = match call.rsplit_once('.') {
            Some((_, method)) => {
                let handles = self.namespaces.iter().flat_map(|declared| &declared.handles);
                let methods = handles.flat_map(|handle| &handle.methods);
                methods.filter(|known| known.name == method).flat_map(|method| method.keys).collect()
            }
            None => {
                let (namespace, name) = call.rsplit_once("::").unwrap_or(("", call));
                let functions = self.declared(namespace).iter().filter(|function| function.name == name);
                functions.flat_map(|function| function.keys).collect()
            }
        };
        let missing = keys.into_iter().filter(|key| !given.iter().any(|name| name == key.name));
        missing.map(|key| (format!("{}: ", key.name), Some(sentence(key.doc).to_owned()))).collect()
    }

    fn names(&self) -> Vec<Offer> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let variables: BTreeSet<&str> = known.scope.iter_raw().map(|(name, ..)| name).collect();
        let own = variables.into_iter().map(|name| (name.to_owned(), None));
        let functions = known
            .functions
            .iter()
            .map(|(name, parameters)| (format!("{name}{}", if *parameters == 0 { "()" } else { "(" }), None));
        let global = self.declared("").iter().map(|function| (called(function), summary(function)));
        let keywords = KEYWORDS.iter().map(|word| ((*word).to_owned(), None));
        own.chain(functions).chain(self.namespace_names()).chain(global).chain(keywords).collect()
    }
}

impl reedline::Completer for Completer {
    fn complete(&mut self, line: &str, position: usize) -> Vec<Suggestion> {
        let before = line.get(..position).unwrap_or(line);
        let (start, offers) = self.fitting(before);
        let suggestion = |(value, description)| Suggestion {
            value,
            description,
            span: Span::new(start, before.len()),
            ..Suggestion::default()
        };
        offers.into_iter().map(suggestion).collect()
    }
}

/// What surrounds the word that is being typed.
#[derive(Debug, Default)]
struct Place {
    quoted: bool,
    /// The call whose options the word is a key of: `sqs::ensure_queue`, `.wait`.
    options: Option<String>,
    /// The keys that the map has already.
    given: Vec<String>,
}

impl Place {
    /// Reads what stands ahead of the word: brackets that are open, texts and comments.
    fn of(ahead: &str) -> Self {
        // Where each open bracket is.
        let mut open: Vec<usize> = Vec::new();
        let mut quote = None;
        let mut letters = ahead.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            match (quote, letter) {
                (Some(_), '\\') => drop(letters.next()),
                (Some(mark), letter) if letter == mark => quote = None,
                (Some(_), _) => {}
                (None, '"' | '`') => quote = Some(letter),
                (None, '/') if letters.peek().is_some_and(|(_, next)| *next == '/') => {
                    while letters.next_if(|(_, letter)| *letter != '\n').is_some() {}
                }
                (None, '(' | '[' | '{') => open.push(at),
                (None, ')' | ']' | '}') => drop(open.pop()),
                _ => {}
            }
        }
        if quote.is_some() {
            return Place { quoted: true, ..Place::default() };
        }
        let [.., call, map] = open.as_slice() else { return Place::default() };
        let begun = &ahead[*map..];
        let is_key = begun.trim_end().ends_with(['{', ',']);
        if !(ahead[..*map].ends_with('#') && ahead[*call..].starts_with('(') && is_key) {
            return Place::default();
        }
        let name = ahead[..*call].rfind(|letter: char| !is_word(letter) && letter != ':' && letter != '.');
        let name = &ahead[name.map_or(0, |at| at + 1).min(*call)..*call];
        // Of a method only the name is known: `queue.receive`, `f(x).receive`.
        let name = if name.contains('.') { &name[name.rfind('.').unwrap_or_default()..] } else { name };
        let words = begun.split(|letter: char| !is_word(letter) && letter != ':');
        let given = words.filter_map(|word| word.strip_suffix(':')).map(str::to_owned).collect();
        Place { quoted: false, options: Some(name.to_owned()), given }
    }
}

fn called(function: &Function) -> String {
    let nothing = function.parameters.is_empty() && function.keys.is_empty();
    if nothing { Takes::Nothing } else { Takes::Arguments }.typed(function.name)
}

fn summary(function: &Function) -> Option<String> {
    Some(sentence(function.doc).to_owned())
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn last_word(text: &str) -> &str {
    let start = text.char_indices().rev().find(|(_, character)| !is_word(*character));
    start.map_or(text, |(at, character)| &text[at + character.len_utf8()..])
}
