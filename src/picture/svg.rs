//! A picture as SVG: one document without scripts or anything from outside, for light and dark screens, also inside a page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::card::{Boxed, Card, ICON, LINE_FONT, LINE_HEIGHT, PADDING, shortened, width};
use super::layout::{Edge, Placed, Point, Size, place};
use super::{Arrow, End, Health, Kind, Meaning, Picture};

const STYLE: &str = include_str!("style.css");
const MARGIN: f64 = 20.0;
/// The title, above everything.
const TITLE: f64 = 52.0;
/// No picture is narrower: the legend needs the room.
const NARROWEST: f64 = 380.0;
/// So many labels are written on an arrow; the others are counted.
const LABELS: usize = 3;

/// An arrow between two boxes.
struct Line {
    from: usize,
    to: usize,
    meaning: Meaning,
    label: String,
    /// The whole of it, where the label leaves something out.
    all: String,
}

pub(super) fn draw(picture: &Picture) -> String {
    let mut boxes: Vec<Boxed> = picture
        .groups
        .iter()
        .enumerate()
        .map(|(number, group)| Boxed::frame(picture, number, group))
        .collect();
    let loose = (0..picture.things.len()).filter(|thing| picture.home(*thing).is_none());
    boxes.extend(loose.map(|thing| Boxed::loose(picture, thing)));
    // What stands outside comes first, and so to the left of its row.
    boxes.sort_by_key(|boxed| boxed.cards.first().map(|card| picture.things[card.thing].kind));
    let lines = lines(picture, &boxes);
    for (at, boxed) in boxes.iter_mut().enumerate() {
        let labels: Vec<f64> =
            lines.iter().filter(|line| line.to == at).map(|line| width(&line.label, LINE_FONT)).collect();
        boxed.make_room(&labels);
    }
    let sizes: Vec<Size> = boxes.iter().map(|boxed| boxed.size).collect();
    let edges: Vec<Edge> = lines
        .iter()
        .map(|line| Edge { from: line.from, to: line.to, label: width(&line.label, LINE_FONT) })
        .collect();
    let placed = place(&sizes, &edges);
    Canvas::default().document(picture, &boxes, &lines, &placed)
}

/// The arrows between boxes: those that begin and end at the same boxes and mean the same are one.
fn lines(picture: &Picture, boxes: &[Boxed]) -> Vec<Line> {
    let of_group = |group: usize| boxes.iter().position(|boxed| boxed.group == Some(group));
    let of = |end: End| match end {
        End::Group(group) => of_group(group),
        End::Thing(thing) => match picture.home(thing) {
            Some(home) => of_group(home),
            None => boxes.iter().position(|boxed| {
                boxed.group.is_none() && boxed.cards.first().is_some_and(|card| card.thing == thing)
            }),
        },
    };
    let mut merged: BTreeMap<(usize, usize, Meaning), Vec<&str>> = BTreeMap::new();
    for Arrow { from, to, meaning, labels } in &picture.arrows {
        let (Some(from), Some(to)) = (of(*from), of(*to)) else { continue };
        let said = merged.entry((from, to, *meaning)).or_default();
        for label in labels {
            if !said.contains(&label.as_str()) {
                said.push(label);
            }
        }
    }
    let line = |((from, to, meaning), labels): ((usize, usize, Meaning), Vec<&str>)| {
        let shown = labels.iter().take(LABELS).copied().collect::<Vec<_>>().join(", ");
        let label = match labels.len().saturating_sub(LABELS) {
            0 => shown,
            more => format!("{shown} + {more}"),
        };
        Line { from, to, meaning, label, all: labels.join(", ") }
    };
    merged.into_iter().filter(|((from, to, _), _)| from != to).map(line).collect()
}

/// The document while it is written.
#[derive(Default)]
struct Canvas {
    text: String,
}

impl Canvas {
    fn document(mut self, picture: &Picture, boxes: &[Boxed], lines: &[Line], placed: &Placed) -> String {
        let room = placed.size.x.max(NARROWEST - 2.0 * MARGIN);
        let also = also(picture, room);
        let mut y = TITLE + placed.size.y;
        let legend = if lines.is_empty() { 0.0 } else { y + 34.0 };
        y = y.max(legend);
        let first_also = y + 28.0;
        let rows = u32::try_from(also.len()).map_or(0.0, f64::from);
        y = if also.is_empty() { y } else { first_also + (rows - 1.0) * LINE_HEIGHT };
        let size = Point { x: room + 2.0 * MARGIN, y: y + MARGIN };

        let title = format!("What exists of {}", picture.title);
        self.put(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"picture\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {x} {y}\" \
             width=\"{x}\" height=\"{y}\">\n<desc>{}</desc>\n<style>\n{STYLE}</style>\n",
            escaped(&title),
            escaped(&in_words(picture)),
            x = whole(size.x),
            y = whole(size.y),
        ));
        self.put("<rect class=\"paper\" width=\"100%\" height=\"100%\" rx=\"8\"/>\n");
        self.write(MARGIN, 30.0, "title", &title);
        if picture.is_empty() {
            self.write(MARGIN, TITLE + 4.0, "line", "There is nothing of it.");
        }
        self.put(&format!("<g transform=\"translate({} {})\">\n", whole(MARGIN), whole(TITLE)));
        // Arrows lie under the boxes, and what is written on them above all.
        for (line, way) in lines.iter().zip(&placed.ways) {
            self.arrow(line, way);
        }
        for (boxed, corner) in boxes.iter().zip(&placed.boxes) {
            self.boxed(picture, boxed, *corner);
        }
        for (line, way) in lines.iter().zip(&placed.ways) {
            self.label(line, way);
        }
        self.put("</g>\n");
        if !lines.is_empty() {
            self.legend(lines, legend);
        }
        let mut y = first_also;
        for text in also {
            self.write(MARGIN, y, "line", &text);
            y += LINE_HEIGHT;
        }
        self.put("</svg>\n");
        self.text
    }

    fn boxed(&mut self, picture: &Picture, boxed: &Boxed, corner: Point) {
        if boxed.group.is_some() {
            self.rect("frame", corner, boxed.size, 10.0);
            self.write(corner.x + PADDING, corner.y + 17.0, "caption", &boxed.caption);
            if !boxed.foot.is_empty() {
                let y = corner.y + boxed.size.height - 9.0;
                self.write(corner.x + PADDING, y, "line", &boxed.foot);
            }
        }
        for card in &boxed.cards {
            let corner = Point { x: corner.x + card.corner.x, y: corner.y + card.corner.y };
            self.card(picture, card, corner);
        }
    }

    fn card(&mut self, picture: &Picture, card: &Card, corner: Point) {
        let thing = &picture.things[card.thing];
        let class = match (card.home.is_some(), thing.kind, card.health) {
            (true, ..) => "card reminder",
            (_, _, Health::Wrong) => "card wrong",
            (_, Kind::Outside, _) => "card outside",
            _ => "card",
        };
        self.put("<g>");
        // The whole of what the card may have cut.
        let whole_text: Vec<&str> =
            [&thing.name].into_iter().chain(&thing.lines).map(String::as_str).collect();
        self.put(&format!("<title>{}</title>\n", escaped(&whole_text.join("\n"))));
        self.rect(class, corner, card.size, 7.0);
        let (x, y) = (corner.x + PADDING, corner.y);
        self.put(&format!(
            "<path class=\"icon\" transform=\"translate({} {})\" d=\"{}\"/>\n",
            whole(x),
            whole(y + 11.0),
            icon(thing.kind)
        ));
        self.write(x + ICON, y + 24.0, "name", &card.name);
        let health = match card.health {
            Health::Fine => "fine",
            Health::Open => "open",
            Health::Wrong => "bad",
        };
        self.put(&format!(
            "<text class=\"line\" x=\"{}\" y=\"{}\">{}",
            whole(x),
            whole(y + 42.0),
            escaped(&card.kind)
        ));
        if !card.status.is_empty() {
            self.put(&format!(" · <tspan class=\"{health}\">{}</tspan>", escaped(&card.status)));
        }
        self.put("</text>\n");
        let mut y = y + 42.0;
        for line in &card.lines {
            y += LINE_HEIGHT;
            self.write(x, y, "line", line);
        }
        self.put("</g>\n");
    }

    fn arrow(&mut self, line: &Line, way: &[Point]) {
        let [first, .., last] = way else { return };
        let upwards = first.y > last.y;
        let head = if upwards { 7.0 } else { -7.0 };
        let mut d = format!("M{} {}", whole(first.x), whole(first.y));
        for (number, pair) in way.windows(2).enumerate() {
            let to =
                Point { y: if number + 2 == way.len() { pair[1].y + head } else { pair[1].y }, ..pair[1] };
            // Every second piece is a passage through a row.
            if number % 2 == 1 || (pair[0].x - to.x).abs() < 0.5 {
                write(&mut d, format_args!(" L{} {}", whole(to.x), whole(to.y)));
            } else {
                let middle = whole(f64::midpoint(pair[0].y, to.y));
                let (from_x, to_x) = (whole(pair[0].x), whole(to.x));
                write(&mut d, format_args!(" C{from_x} {middle} {to_x} {middle} {to_x} {}", whole(to.y)));
            }
        }
        let class = class(line.meaning);
        self.put(&format!("<path class=\"arrow {class}\" d=\"{d}\"/>\n"));
        let (x, y, h) = (whole(last.x), whole(last.y), whole(head));
        self.put(&format!("<path class=\"head {class}\" d=\"M{x} {y}l-4 {h}h8z\"/>\n"));
    }

    fn label(&mut self, line: &Line, way: &[Point]) {
        let [first, .., last] = way else { return };
        if line.label.is_empty() {
            return;
        }
        let y = if first.y > last.y { last.y + 24.0 } else { last.y - 16.0 };
        self.put(&format!(
            "<text class=\"label {}\" x=\"{}\" y=\"{}\"><title>{}</title>{}</text>\n",
            class(line.meaning),
            whole(last.x),
            whole(y),
            escaped(&line.all),
            escaped(&line.label)
        ));
    }

    fn legend(&mut self, lines: &[Line], y: f64) {
        let said: BTreeSet<Meaning> = lines.iter().map(|line| line.meaning).collect();
        let mut x = MARGIN;
        for meaning in said {
            let text = match meaning {
                Meaning::MayConnect => "may connect",
                Meaning::ForAWhile => "open for a while",
                Meaning::SendsOn => "sends on to",
            };
            let (from, to, at) = (whole(x), whole(x + 18.0), whole(y - 4.0));
            let class = class(meaning);
            self.put(&format!("<path class=\"arrow {class}\" d=\"M{from} {at}H{to}\"/>\n"));
            self.put(&format!("<path class=\"head {class}\" d=\"M{} {at}l-7 -4v8z\"/>\n", whole(x + 25.0)));
            self.write(x + 32.0, y, "line", text);
            x += 32.0 + width(text, LINE_FONT) + 24.0;
        }
    }

    fn rect(&mut self, class: &str, corner: Point, size: Size, radius: f64) {
        self.put(&format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{radius}\"/>\n",
            whole(corner.x),
            whole(corner.y),
            whole(size.width),
            whole(size.height)
        ));
    }

    fn write(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.put(&format!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>\n",
            whole(x),
            whole(y),
            escaped(text)
        ));
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// Writing to a text cannot fail.
fn write(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    _ = text.write_fmt(arguments);
}

/// What is there besides, in lines of the picture's width.
fn also(picture: &Picture, room: f64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for (number, text) in picture.also.iter().enumerate() {
        let text = shortened(text, LINE_FONT, room);
        let next = if number == 0 { format!("Also there: {text}") } else { format!("{line}, {text}") };
        if number > 0 && width(&next, LINE_FONT) > room {
            lines.push(std::mem::replace(&mut line, text) + ",");
        } else {
            line = next;
        }
    }
    lines.extend(Some(line).filter(|line| !line.is_empty()));
    lines
}

/// The arrows as sentences, for whoever cannot see them.
fn in_words(picture: &Picture) -> String {
    let name = |end: End| match end {
        End::Group(group) => format!("security group {}", picture.groups[group].name),
        End::Thing(thing) => {
            let thing = &picture.things[thing];
            if thing.kind == Kind::Outside {
                thing.name.clone()
            } else {
                format!("{} {}", thing.kind.word(), thing.name)
            }
        }
    };
    let sentence = |arrow: &Arrow| {
        let verb = match arrow.meaning {
            Meaning::MayConnect => "may connect to",
            Meaning::ForAWhile => "may for a while connect to",
            Meaning::SendsOn => "sends on to",
        };
        let labels =
            if arrow.labels.is_empty() { String::new() } else { format!(" ({})", arrow.labels.join(", ")) };
        format!("{} {verb} {}{labels}.", name(arrow.from), name(arrow.to))
    };
    picture.arrows.iter().map(sentence).collect::<Vec<_>>().join("\n")
}

fn class(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::MayConnect => "may",
        Meaning::ForAWhile => "while",
        Meaning::SendsOn => "sends",
    }
}

/// Drawn in a square of 16 pixels.
fn icon(kind: Kind) -> &'static str {
    match kind {
        Kind::Outside => "M8 2a6 6 0 1 0 .01 0zM2 8h12M8 2c-3.4 3.4-3.4 8.6 0 12M8 2c3.4 3.4 3.4 8.6 0 12",
        Kind::Balancer => "M8 1.5v4M8 5.5L3 10v4M8 5.5v8.5M8 5.5l5 4.5v4",
        Kind::TargetGroup => "M8 2a6 6 0 1 0 .01 0zM8 5.5a2.5 2.5 0 1 0 .01 0z",
        Kind::Instance => "M2 2.5h12v4.5h-12zM2 9h12v4.5h-12zM4.5 4.7h1.5M4.5 11.2h1.5",
        Kind::Database => "M2.5 4c0-2.6 11-2.6 11 0v8c0 2.6-11 2.6-11 0zM2.5 4c0 2.6 11 2.6 11 0",
        Kind::Topic => "M2.5 6v4h3l5 3.5v-11l-5 3.5zM13 6q1.5 2 0 4",
        Kind::Queue => "M2 3.5h12v9h-12zM2 4l6 5 6-5",
    }
}

/// Text and attributes of XML: the five signs that mean something, and characters that XML does not have.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => {
                escaped.push(char::REPLACEMENT_CHARACTER);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// Whole pixels: a picture has the same bytes wherever it is drawn.
fn whole(value: f64) -> String {
    format!("{:.0}", value.round() + 0.0)
}
