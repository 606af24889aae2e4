//! A picture as a Mermaid flow chart, for pages that draw it themselves, such as a wiki or a merge request.

use super::{Arrow, End, Kind, Meaning, Picture};

pub(super) fn write(picture: &Picture) -> String {
    let mut lines =
        vec![format!("%% What exists of {}", one_line(&picture.title)), "flowchart TD".to_owned()];
    for (number, group) in picture.groups.iter().enumerate() {
        let name = quoted(&[format!("security group {}", group.name)]);
        lines.push(format!("  subgraph g{number} [{name}]"));
        let home = |thing: &&usize| picture.home(**thing) == Some(number);
        lines.extend(group.members.iter().filter(home).map(|thing| format!("    {}", node(picture, *thing))));
        // A thing stands in one frame alone: in the others a node of its own reminds of it.
        for thing in group.members.iter().filter(|thing| !home(thing)) {
            let text =
                quoted(&[picture.things[*thing].name.clone(), "the same as in its first group".to_owned()]);
            lines.push(format!("    g{number}t{thing}[{text}]"));
        }
        if group.members.is_empty() {
            lines.push(format!("    g{number}none[\"protects nothing yet\"]"));
        }
        lines.push("  end".to_owned());
        if !group.among.is_empty() {
            lines.push(format!("  g{number} -->|{}| g{number}", quoted(&[group.among.join(", ")])));
        }
    }
    let loose = (0..picture.things.len()).filter(|thing| picture.home(*thing).is_none());
    lines.extend(loose.map(|thing| format!("  {}", node(picture, thing))));
    for Arrow { from, to, meaning, labels } in &picture.arrows {
        let line = match meaning {
            Meaning::MayConnect => "-->",
            Meaning::ForAWhile => "-.->",
            Meaning::SendsOn => "==>",
        };
        let label =
            if labels.is_empty() { String::new() } else { format!("|{}|", quoted(&[labels.join(", ")])) };
        lines.push(format!("  {} {line}{label} {}", end(*from), end(*to)));
    }
    if picture.is_empty() {
        lines.push("  nothing[\"There is nothing of it.\"]".to_owned());
    }
    if !picture.also.is_empty() {
        lines.push(format!("%% Also there: {}", one_line(&picture.also.join(", "))));
    }
    lines.join("\n") + "\n"
}

fn end(end: End) -> String {
    match end {
        End::Group(group) => format!("g{group}"),
        End::Thing(thing) => format!("t{thing}"),
    }
}

fn node(picture: &Picture, number: usize) -> String {
    let thing = &picture.things[number];
    let kind = if thing.status.is_empty() {
        thing.kind.word().to_owned()
    } else {
        format!("{} · {}", thing.kind.word(), thing.status)
    };
    let text: Vec<String> = [thing.name.clone(), kind].into_iter().chain(thing.lines.clone()).collect();
    let text = quoted(&text);
    match thing.kind {
        Kind::Outside => format!("t{number}([{text}])"),
        Kind::Database => format!("t{number}[({text})]"),
        Kind::Balancer | Kind::TargetGroup => format!("t{number}{{{{{text}}}}}"),
        Kind::Topic | Kind::Queue => format!("t{number}[/{text}/]"),
        Kind::Instance => format!("t{number}[{text}]"),
    }
}

/// Lines as one quoted text: Mermaid knows entities by `#`, and would read Markdown and HTML.
fn quoted(lines: &[String]) -> String {
    let escaped = |line: &String| {
        let mut escaped = String::new();
        for character in one_line(line).chars() {
            match character {
                '"' | '#' | '<' | '>' | '&' | ';' | '`' | '|' | '\\' | '*' | '_' | '{' | '}' | '[' | ']' => {
                    escaped.push_str(&format!("#{};", u32::from(character)));
                }
                other => escaped.push(other),
            }
        }
        escaped
    };
    format!("\"{}\"", lines.iter().map(escaped).collect::<Vec<_>>().join("<br/>"))
}

fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
