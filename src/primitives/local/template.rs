//! `template::` texts with places for values, in the language of Jinja.

use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior};
use rhai::Map;

use super::file::{full_path, read_text};
use super::state::json;
use crate::error::Error;
use crate::host::Host;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};

const RENDER: Function = Function {
    name: "render",
    doc: "The text of a template file with values in its places: `{{ name }}`, `{% for .. %}`, `{% if .. %}`. Nothing is escaped. Throws \
          `invalid` for a place whose value is not given, with its line. A secret cannot be put into a text.",
    parameters: &["path: string", "values: map"],
    returns: "string",
    permissions: &[],
    example: r#"
        file::write("hello.txt", #{ text: "Hello {{ name }}!\n" });
        print(template::render("hello.txt", #{ name: "world" }));"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("template", host);
    namespace.function2(&RENDER, render);
    namespace
}

fn render(call: &Call, path: String, values: Map) -> Result<String, Error> {
    let text = read_text(&full_path(call, &path))?;
    let mut given = serde_json::Map::new();
    for (key, value) in values {
        let value = json(&value).map_err(|what| {
            Error::invalid(format!("`{key}` holds {what}, which no template takes")).key(key.as_str())
        })?;
        given.insert(key.to_string(), value);
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    match minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build() {
        Ok(syntax) => environment.set_syntax(syntax),
        Err(error) => return Err(Error::internal(error.to_string())),
    }
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let mut missing = Vec::new();
    let rendered = environment.add_template_owned(path.clone(), text).and_then(|()| {
        let template = environment.get_template(&path)?;
        let known = |name: &String| {
            given.contains_key(name) || environment.globals().any(|(global, _)| global == name)
        };
        missing = template.undeclared_variables(false).into_iter().filter(|name| !known(name)).collect();
        template.render(minijinja::value::Serde(&given))
    });
    rendered.map_err(|error| {
        let place = error.line().map_or_else(|| path.clone(), |line| format!("{path}:{line}"));
        let detail = error
            .detail()
            .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
        let failed = Error::invalid(detail).within(&place);
        if error.kind() != minijinja::ErrorKind::UndefinedError || missing.is_empty() {
            return failed;
        }
        missing.sort();
        failed.help(format!("what it names and was not given: {}", missing.join(", ")))
    })
}
