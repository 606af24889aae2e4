//! The XML that query-protocol services answer with: elements, text and lists, always escaped.

use std::fmt::Display;

#[derive(Default)]
pub(crate) struct Xml {
    text: String,
}

impl Xml {
    pub(crate) fn new() -> Xml {
        Xml::default()
    }

    pub(crate) fn text(&mut self, name: &str, value: impl Display) -> &mut Xml {
        self.text.push_str(&format!("<{name}>{}</{name}>", escape(&value.to_string())));
        self
    }

    pub(crate) fn optional(&mut self, name: &str, value: Option<impl Display>) -> &mut Xml {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }

    pub(crate) fn nest(&mut self, name: &str, inside: impl FnOnce(&mut Xml)) -> &mut Xml {
        self.text.push_str(&format!("<{name}>"));
        inside(self);
        self.text.push_str(&format!("</{name}>"));
        self
    }

    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        item: &str,
        items: impl IntoIterator<Item = T>,
        mut inside: impl FnMut(&mut Xml, T),
    ) -> &mut Xml {
        self.nest(name, |xml| {
            for value in items {
                xml.nest(item, |xml| inside(xml, value));
            }
        })
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }
}

pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            // XML 1.0 has no way to write the other control characters.
            control if control.is_control() && control != '\n' && control != '\t' => {
                escaped.push(char::REPLACEMENT_CHARACTER);
            }
            other => escaped.push(other),
        }
    }
    escaped
}
