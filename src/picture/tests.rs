use std::collections::BTreeSet;

use super::{Group, Health, Kind, Link, Meaning, Part, Picture, Thing};
use crate::secret::Secret;

fn thing(id: &str, key: &str, kind: Kind, name: &str, status: &str) -> Part {
    Part::Thing(Thing {
        id: id.to_owned(),
        key: key.to_owned(),
        kind,
        name: name.to_owned(),
        status: status.to_owned(),
        health: Health::of(status),
        lines: Vec::new(),
    })
}

fn link(from: &str, to: &str, label: &str, meaning: Meaning) -> Part {
    Part::Link(Link { from: from.to_owned(), to: to.to_owned(), label: label.to_owned(), meaning })
}

fn member(group: &str, thing: &str) -> Part {
    Part::Member { group: group.to_owned(), thing: thing.to_owned() }
}

/// A server behind a balancer, with a database; two groups that let each other in; a topic with a queue.
fn parts() -> Vec<Part> {
    vec![
        Part::Group(Group::new("sg-1", "ec2:security_group/app".to_owned(), "app")),
        Part::Group(Group::new("sg-2", "ec2:security_group/db".to_owned(), "db")),
        Part::Group(Group::new("sg-3", "ec2:security_group/nlb".to_owned(), "nlb")),
        thing("i-1", "ec2:server", Kind::Instance, "server", "running"),
        thing("db-1", "rds:db", Kind::Database, "db", "available"),
        thing("lb-1", "elbv2:nlb", Kind::Balancer, "nlb", "active"),
        thing("tg-1", "elbv2:target_group/app", Kind::TargetGroup, "app", ""),
        thing("arn:topic", "sns:alerts", Kind::Topic, "alerts", ""),
        thing("arn:queue", "sqs:log", Kind::Queue, "log", ""),
        thing("0.0.0.0/0", "", Kind::Outside, "0.0.0.0/0", ""),
        thing("198.51.100.0/24", "", Kind::Outside, "198.51.100.0/24", ""),
        thing("sg-1", "", Kind::Outside, "sg-1", ""),
        member("sg-1", "i-1"),
        member("sg-2", "db-1"),
        member("sg-3", "lb-1"),
        link("0.0.0.0/0", "sg-3", "tcp 80", Meaning::MayConnect),
        link("sg-3", "sg-1", "tcp 8080", Meaning::MayConnect),
        link("0.0.0.0/0", "sg-1", "tcp 22", Meaning::ForAWhile),
        link("sg-1", "sg-2", "tcp 5432", Meaning::MayConnect),
        link("sg-2", "sg-1", "tcp 9000", Meaning::MayConnect),
        link("sg-1", "sg-1", "tcp 2377", Meaning::MayConnect),
        link("lb-1", "tg-1", "tcp 80", Meaning::SendsOn),
        link("tg-1", "i-1", "tcp 8080", Meaning::SendsOn),
        link("arn:topic", "arn:queue", "", Meaning::SendsOn),
        link("sg-1", "sg-of-another-stack", "tcp 1", Meaning::MayConnect),
        Part::Note {
            thing: "i-1".to_owned(),
            text: "target of app: unhealthy".to_owned(),
            health: Health::Wrong,
        },
    ]
}

fn keys(parts: &[Part]) -> BTreeSet<String> {
    let key = |part: &Part| match part {
        Part::Thing(thing) => Some(thing.key.clone()),
        Part::Group(group) => Some(group.key.clone()),
        _ => None,
    };
    parts.iter().filter_map(key).collect()
}

fn picture(parts: Vec<Part>) -> Picture {
    let keys = keys(&parts);
    Picture::of("the stack music-app", parts, &keys, vec!["key pair music-app-key".to_owned()])
}

/// Fails unless the text is XML whose elements are closed in order; gives the texts in it.
#[track_caller]
pub(crate) fn texts(xml: &str) -> Vec<String> {
    use xmlparser::{ElementEnd, Token, Tokenizer};
    let (mut open, mut texts) = (Vec::new(), Vec::new());
    for token in Tokenizer::from(xml) {
        match token.unwrap_or_else(|error| panic!("{error}:\n{xml}")) {
            Token::ElementStart { local, .. } => open.push(local.as_str().to_owned()),
            Token::ElementEnd { end: ElementEnd::Empty, .. } => drop(open.pop()),
            Token::ElementEnd { end: ElementEnd::Close(_, name), .. } => {
                assert_eq!(open.pop().as_deref(), Some(name.as_str()), "{xml}");
            }
            Token::Text { text } if !text.trim().is_empty() => texts.push(text.as_str().to_owned()),
            _ => {}
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    texts
}

#[test]
fn the_same_things_give_the_same_bytes_in_whatever_order_they_come() {
    let mut turned = parts();
    turned.reverse();
    assert_eq!(picture(parts()).svg(), picture(turned.clone()).svg());
    assert_eq!(picture(parts()).mermaid(), picture(turned).mermaid());
}

#[test]
fn the_svg_shows_every_thing_every_arrow_and_what_is_wrong() {
    let svg = picture(parts()).svg();
    let texts = texts(&svg);
    for expected in [
        "What exists of the stack music-app",
        "security group app",
        "security group db",
        "security group nlb",
        "server",
        "target of app: unhealthy",
        "alerts",
        "tcp 5432",
        "tcp 22",
        "among themselves: tcp 2377",
        "open for a while",
        "Also there: key pair music-app-key",
    ] {
        assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:?}");
    }
    let sentences = [
        "0.0.0.0/0 may connect to security group nlb (tcp 80).",
        "0.0.0.0/0 may for a while connect to security group app (tcp 22).",
        "security group app may connect to security group db (tcp 5432).",
        "security group db may connect to security group app (tcp 9000).",
        "target group app sends on to instance server (tcp 8080).",
        "topic alerts sends on to queue log.",
    ];
    for sentence in sentences {
        assert!(svg.contains(sentence), "{sentence}\n{svg}");
    }
    // Whoever is outside is drawn for its arrows alone, and an arrow needs both its ends.
    for nobody in ["198.51.100.0", "another-stack", "sg-1"] {
        assert!(!svg.contains(nobody), "{nobody}\n{svg}");
    }
    assert_eq!(svg.matches("class=\"arrow").count(), 8 + 3, "an arrow, or its sample in the legend:\n{svg}");
    assert!(svg.contains("class=\"card wrong\""), "{svg}");
}

/// The rectangles of a class: left, top, right, bottom.
fn rectangles(svg: &str, class: &str) -> Vec<[f64; 4]> {
    let number = |text: &str, name: &str| -> f64 {
        let rest = text.split(&format!(" {name}=\"")).nth(1).expect("the attribute");
        rest.split('"').next().expect("a value").parse().expect("a number")
    };
    svg.lines()
        .filter(|line| line.contains(&format!("<rect class=\"{class}\"")))
        .map(|line| {
            let (x, y) = (number(line, "x"), number(line, "y"));
            [x, y, x + number(line, "width"), y + number(line, "height")]
        })
        .collect()
}

#[test]
fn no_box_lies_on_another_one_however_many_there_are() {
    let mut many = parts();
    for number in 0..30 {
        let (server, group) = (format!("i-x{number}"), format!("sg-x{number}"));
        many.push(thing(
            &server,
            &format!("ec2:x{number}"),
            Kind::Instance,
            &format!("x{number}"),
            "pending",
        ));
        many.push(Part::Group(Group::new(&group, format!("ec2:security_group/x{number}"), "x")));
        many.push(member(if number % 3 == 0 { "sg-1" } else { &group }, &server));
        // Up and down, and in circles.
        let to = format!("sg-x{}", (number * 7 + 3) % 30);
        many.push(link(&group, &to, &format!("tcp {}", 1000 + number), Meaning::MayConnect));
    }
    let svg = picture(many).svg();
    texts(&svg);
    let frames = rectangles(&svg, "frame");
    assert_eq!(frames.len(), 33);
    let cards: Vec<_> =
        ["card", "card outside", "card wrong"].iter().flat_map(|class| rectangles(&svg, class)).collect();
    for boxes in [frames, cards] {
        for (number, one) in boxes.iter().enumerate() {
            for other in &boxes[number + 1..] {
                let apart =
                    one[2] <= other[0] || other[2] <= one[0] || one[3] <= other[1] || other[3] <= one[1];
                assert!(apart, "{one:?} and {other:?}\n{svg}");
            }
        }
    }
}

#[test]
fn a_thing_in_two_groups_is_drawn_once_and_remembered_in_the_other_frame() {
    let mut parts = parts();
    parts.push(member("sg-2", "i-1"));
    let picture = picture(parts);
    assert!(texts(&picture.svg()).contains(&"the same as in app".to_owned()));
    let mermaid = picture.mermaid();
    assert_eq!(mermaid.matches(" t3[\"server").count(), 1, "{mermaid}");
    assert_eq!(mermaid.matches(" g1t3[\"server").count(), 1, "{mermaid}");
}

#[test]
fn names_cannot_break_out_and_secrets_are_masked() {
    let token = Secret::generate(24);
    let mut parts = parts();
    let name = format!("<script>alert(\"{}\")</script>\u{1b}&'", token.expose());
    parts.push(thing("x", "sqs:x", Kind::Queue, &name, "<b>"));
    parts.push(link("arn:topic", "x", "]]> | \"--\" #", Meaning::SendsOn));
    let keys = keys(&parts);
    let picture =
        Picture::of(&format!("{} <i>\nflow", token.expose()), parts, &keys, vec![token.expose().to_owned()]);
    for text in [picture.svg(), picture.mermaid()] {
        assert!(!text.contains(token.expose()) && text.contains("redacted"), "{text}");
        assert!(!text.contains("<script>") && !text.contains("<b>"), "{text}");
    }
    let svg = picture.svg();
    texts(&svg);
    assert!(!svg.contains('\u{1b}') && svg.contains("&lt;script&gt;"), "{svg}");
    let mermaid = picture.mermaid();
    assert!(mermaid.lines().next().is_some_and(|line| line.ends_with("<i> flow")), "{mermaid}");
}

#[test]
fn of_nothing_there_is_a_picture_too() {
    let nothing = Picture::of("the stack empty", Vec::new(), &BTreeSet::new(), Vec::new());
    assert!(nothing.is_empty());
    assert!(texts(&nothing.svg()).contains(&"There is nothing of it.".to_owned()));
    assert!(nothing.mermaid().contains("There is nothing of it."));
}

#[test]
fn the_mermaid_text_has_a_frame_for_each_group_and_a_line_for_each_arrow() {
    let mermaid = picture(parts()).mermaid();
    for line in [
        "%% What exists of the stack music-app",
        "flowchart TD",
        "  subgraph g0 [\"security group app\"]",
        "    t3[\"server<br/>instance · running<br/>target of app: unhealthy\"]",
        "  g0 -->|\"tcp 2377\"| g0",
        "  g0 -->|\"tcp 5432\"| g1",
        "  t0 -.->|\"tcp 22\"| g0",
        "  t2 ==>|\"tcp 8080\"| t3",
        "%% Also there: key pair music-app-key",
    ] {
        assert!(mermaid.lines().any(|found| found == line), "{line}:\n{mermaid}");
    }
}
