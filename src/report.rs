//! Draws an error for somebody who writes playbooks: what failed, the line with a caret, how it was reached, what to do.
//!
//! `words` puts an error of the engine in plain words, `key` finds the map key that a host function refused, `span`
//! turns the engine's positions into byte ranges. Nothing here may panic: a report is drawn when things went wrong.

mod key;
mod span;
mod words;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use rhai::{Dynamic, EvalAltResult, ParseError, Position};

use crate::sources::Sources;

use self::key::Found;

pub use words::nearest;

/// How many callers are shown before the middle of the chain is left out: a recursion may be a hundred deep.
const CALLERS_SHOWN: usize = 5;

/// An error in the words of a playbook's author.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// What failed.
    pub title: String,
    /// The map key to point at, when the error is about one.
    pub key: Option<String>,
    /// The text and position where it was raised, if known: a script that catches an error and throws it on moves it.
    pub raised: Option<(String, Position)>,
    /// What else is known, such as the service's own reason.
    pub notes: Vec<String>,
    /// What to do about it.
    pub help: Vec<String>,
}

/// Draws errors in the style of rustc.
pub struct Reporter<'a> {
    /// The texts that positions refer to.
    pub sources: &'a Sources,
    /// Name and signature of every function of the engine, the standard ones included: a name that is not among them
    /// is reported as unknown. Such as `("ec2::find_instance", "ec2::find_instance(name: string)")`.
    pub functions: &'a [(String, String)],
    /// The author's word for a Rust type, such as `("ops::ec2::Instance", "ec2::Instance")`.
    pub types: &'a [(String, String)],
    /// Translates the host's own errors, and answers `None` for a value that the script threw.
    pub describe: &'a dyn Fn(&Dynamic) -> Option<Problem>,
    /// Whether to use colours.
    pub colour: bool,
}

/// The way from the playbook to an error.
struct Trail<'e> {
    cause: &'e EvalAltResult,
    place: Place<'e>,
    /// From the innermost outwards.
    callers: Vec<Caller<'e>>,
}

/// A position in a named text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place<'e> {
    name: &'e str,
    position: Position,
}

struct Caller<'e> {
    place: Place<'e>,
    /// What was called or imported there.
    callee: Callee<'e>,
}

enum Callee<'e> {
    Function(&'e str),
    Module,
}

/// What is shown of one text.
struct Excerpt<'e> {
    place: Place<'e>,
    context: Vec<(Position, &'static str)>,
}

impl Reporter<'_> {
    /// Draws an error of a run. `name` is the name of the playbook's text.
    pub fn runtime(&self, name: &str, error: &EvalAltResult) -> String {
        let mut trail = Trail::of(name, error);
        let text = self.sources.get(trail.place.name);
        let at = text.as_deref().map(|text| (text, trail.place.position));
        let problem = match trail.cause {
            EvalAltResult::ErrorRuntime(value, _) => {
                (self.describe)(value).unwrap_or_else(|| words::thrown(value))
            }
            cause => words::runtime(self, cause, at),
        };
        // The engine does not say where a callback met the value that its caller holds.
        if let (EvalAltResult::ErrorDataRace(name, position), Some((text, _))) = (trail.cause, at)
            && position.is_none()
            && let Some(call) = words::function_of_argument(name).and_then(|name| key::only_call(text, name))
        {
            trail.place.position = call;
        }
        if let (EvalAltResult::ErrorParsing(kind, _), Some((text, position))) = (trail.cause, at) {
            trail.place.position = span::of_syntax_error(text, kind, position);
        }
        self.draw(&problem, None, trail.place, &trail.callers)
    }

    /// Draws an error of a text that does not compile.
    pub fn syntax(&self, name: &str, error: &ParseError) -> String {
        self.runtime(name, &EvalAltResult::ErrorParsing((*error.0).clone(), error.1))
    }

    /// The place and the words of what a text does not compile for.
    pub fn syntax_problem(&self, name: &str, error: &ParseError) -> (Position, Problem) {
        let text = self.sources.get(name);
        let at = text.as_deref().map(|text| (text, error.1));
        let problem = words::runtime(self, &EvalAltResult::ErrorParsing((*error.0).clone(), error.1), at);
        let position = text.map_or(error.1, |text| span::of_syntax_error(&text, &error.0, error.1));
        (position, problem)
    }

    /// Draws a problem that was found at one place, before anything ran.
    pub fn problem(&self, name: &str, position: Position, problem: &Problem) -> String {
        self.draw(problem, None, Place { name, position }, &[])
    }

    /// The same, with the name of the rule that found it.
    pub fn finding(&self, rule: &str, name: &str, position: Position, problem: &Problem) -> String {
        self.draw(problem, Some(rule), Place { name, position }, &[])
    }

    fn draw(
        &self,
        problem: &Problem,
        rule: Option<&str>,
        place: Place<'_>,
        callers: &[Caller<'_>],
    ) -> String {
        let mut notes = problem.notes.clone();
        let mut further = Vec::new();
        let raised = problem.raised.as_ref().map(|(name, position)| Place { name, position: *position });
        let (place, callers_of_place) = match raised {
            Some(raised) if raised != place && self.sources.get(raised.name).is_some() => {
                further.push(("caught, and thrown on from here".to_owned(), Excerpt::at(place)));
                // How the place of the first error was reached went with the catching.
                (raised, &[][..])
            }
            _ => (place, callers),
        };
        let mut main = Excerpt::at(place);
        if let Some(key) = &problem.key {
            let (holder, found) = self.find_key(place, callers_of_place, key);
            match found {
                Found::Key { position, used } => {
                    main = Excerpt::at(Place { position, ..holder });
                    main.context.extend(used.map(|used| (used, "used here")));
                    if holder != place {
                        further.push(("the map is used by this call".to_owned(), Excerpt::at(place)));
                    }
                }
                Found::Several(positions) if holder.name == place.name => {
                    main.context
                        .extend(positions.into_iter().map(|position| (position, "may come from here")));
                    notes.push(format!("the map passed here has the key `{key}`"));
                }
                _ => notes.push(format!("the map passed here has the key `{key}`")),
            }
        }
        let nearest = further.last().map_or(main.place, |(_, excerpt)| excerpt.place);
        further.extend(chain(callers, nearest, main.place));

        let title = Level::ERROR.primary_title(printable(&problem.title));
        let title = match rule {
            Some(rule) => title.id(rule.to_owned()),
            None => title,
        };
        let group = main.add_to(Group::with_title(title), self.sources);
        let group = group.elements(notes.iter().map(|note| Level::NOTE.message(printable(note))));
        let group = group.elements(problem.help.iter().map(|help| Level::HELP.message(printable(help))));
        let further = further.into_iter().map(|(title, excerpt)| {
            let title = Level::NOTE.secondary_title(printable(&title));
            excerpt.add_to(Group::with_title(title), self.sources)
        });
        let groups: Vec<_> = std::iter::once(group).chain(further).collect();
        let renderer = if self.colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&groups)
    }

    /// Looks for a key in the call at `place`, then, as long as the map is a parameter there, in its callers.
    fn find_key<'e>(&self, place: Place<'e>, callers: &[Caller<'e>], key: &str) -> (Place<'e>, Found) {
        let mut holder = place;
        let mut callers = callers.iter();
        loop {
            let Some(text) = self.sources.get(holder.name) else { return (place, Found::Nowhere) };
            let caller = callers.next();
            let function = caller.and_then(|caller| match caller.callee {
                Callee::Function(name) => Some(name),
                Callee::Module => None,
            });
            match (key::find(&text, holder.position, key, function), caller) {
                (Found::PassedOn, Some(caller)) => holder = caller.place,
                (found, _) => return (holder, found),
            }
        }
    }
}

/// The callers that are worth an excerpt, with their titles: the nearest ones, and the outermost.
fn chain<'e>(callers: &[Caller<'e>], nearest: Place<'_>, main: Place<'_>) -> Vec<(String, Excerpt<'e>)> {
    let mut visible: Vec<&Caller<'e>> = Vec::new();
    for caller in callers {
        // A closure on the line of the call that runs it, or a recursion, would only show that line again.
        let last = visible.last().map(|caller| caller.place);
        if ![nearest, main].into_iter().chain(last).any(|shown| caller.place.same_line(shown)) {
            visible.push(caller);
        }
    }
    let left_out = visible.len().saturating_sub(CALLERS_SHOWN);
    if left_out > 0 {
        visible.drain(CALLERS_SHOWN - 1..visible.len() - 1);
    }
    let mut shown: Vec<_> =
        visible.iter().map(|caller| (caller.callee.describe(), Excerpt::at(caller.place))).collect();
    if let Some((title, _)) = shown.last_mut().filter(|_| left_out > 0) {
        title.push_str(&format!(", {left_out} calls further out"));
    }
    shown
}

impl<'e> Trail<'e> {
    fn of(name: &'e str, error: &'e EvalAltResult) -> Self {
        let (mut name, mut cause) = (name, error);
        let mut callers = Vec::new();
        loop {
            // The position of a call belongs to the caller's text, that of what is inside to the callee's.
            let (callee, callee_name, inner, position) = match cause {
                EvalAltResult::ErrorInFunctionCall(function, source, inner, position) => {
                    (Callee::Function(function), source, inner, *position)
                }
                EvalAltResult::ErrorInModule(module, inner, position) => {
                    (Callee::Module, module, inner, *position)
                }
                _ => break,
            };
            callers.push(Caller { place: Place { name, position }, callee });
            cause = inner;
            if !callee_name.is_empty() {
                name = callee_name;
            }
        }
        callers.reverse();
        let mut place = Place { name, position: cause.position() };
        // An error without a position of its own is shown where it came out.
        let known = callers.iter().position(|caller| !caller.place.position.is_none());
        if let Some(index) = known.filter(|_| place.position.is_none()) {
            place = callers[index].place;
            callers.drain(..=index);
        }
        Self { cause, place, callers }
    }
}

impl Place<'_> {
    fn same_line(self, other: Self) -> bool {
        self.name == other.name && self.position.line() == other.position.line()
    }
}

impl Callee<'_> {
    fn describe(&self) -> String {
        match self {
            Self::Function(name) if name.starts_with("anon$") => {
                "in a closure that this call runs".to_owned()
            }
            Self::Function(name) => format!("in `{name}`, called from here"),
            Self::Module => "in a module imported here".to_owned(),
        }
    }
}

impl<'e> Excerpt<'e> {
    fn at(place: Place<'e>) -> Self {
        Self { place, context: Vec::new() }
    }

    fn add_to(self, group: Group<'static>, sources: &Sources) -> Group<'static> {
        let Place { name, position } = self.place;
        let Some(text) = sources.get(name).filter(|_| !position.is_none()) else {
            if name.is_empty() {
                return group;
            }
            let origin = Origin::path(name.to_owned());
            return group.element(match (position.line(), position.position()) {
                (Some(line), Some(column)) => origin.line(line).char_column(column),
                (Some(line), None) => origin.line(line),
                (None, _) => origin,
            });
        };
        let primary = span::token(&text, position);
        let context = self.context.into_iter().map(|(position, label)| (span::token(&text, position), label));
        let context: Vec<_> = context
            .filter(|(range, _)| *range != primary)
            .map(|(range, label)| AnnotationKind::Context.span(range).label(label))
            .collect();
        let snippet = Snippet::source(text.to_string()).path(name.to_owned());
        group.element(snippet.annotation(AnnotationKind::Primary.span(primary)).annotations(context))
    }
}

/// Text for a terminal: what a service or a script says may hold control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests;
