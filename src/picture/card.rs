//! The boxes of a picture: a card for a thing, a frame with cards for a security group; what stands in them, and their sizes.

use unicode_width::UnicodeWidthChar;

use super::layout::{Point, Size, label_room};
use super::{Group, Health, Picture, Thing};

/// Font sizes, in pixels; `svg` has the same in its style.
pub(super) const NAME_FONT: f64 = 13.0;
pub(super) const LINE_FONT: f64 = 11.0;
/// From one line of a card to the next.
pub(super) const LINE_HEIGHT: f64 = 16.0;
pub(super) const PADDING: f64 = 12.0;
/// What a card's icon takes of its first line.
pub(super) const ICON: f64 = 24.0;
/// The line with a frame's name.
const CAPTION: f64 = 26.0;
const NARROWEST: f64 = 132.0;
const WIDEST: f64 = 236.0;
/// So many cards stand beside each other in a frame.
const COLUMNS: usize = 3;

/// One thing, or in a second group's frame a reminder of it.
pub(super) struct Card {
    pub(super) thing: usize,
    /// The group in whose frame the thing itself is, where this is a reminder.
    pub(super) home: Option<String>,
    pub(super) name: String,
    /// Below the name: what it is, and how it is.
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) health: Health,
    pub(super) lines: Vec<String>,
    pub(super) corner: Point,
    pub(super) size: Size,
}

/// A frame with cards, or a card by itself.
pub(super) struct Boxed {
    pub(super) group: Option<usize>,
    pub(super) caption: String,
    pub(super) foot: String,
    pub(super) cards: Vec<Card>,
    pub(super) size: Size,
}

impl Boxed {
    /// The frame of a group.
    pub(super) fn frame(picture: &Picture, number: usize, group: &Group) -> Self {
        let mut cards: Vec<Card> =
            group.members.iter().map(|thing| Card::of(picture, *thing, Some(number))).collect();
        let caption = shortened(&format!("security group {}", group.name), LINE_FONT, WIDEST);
        let foot = match (group.among.is_empty(), cards.is_empty()) {
            (false, _) => format!("among themselves: {}", group.among.join(", ")),
            (true, true) => "protects nothing yet".to_owned(),
            (true, false) => String::new(),
        };
        let foot = shortened(&foot, LINE_FONT, WIDEST);
        let mut size =
            Size { width: width(&caption, LINE_FONT).max(width(&foot, LINE_FONT)), height: CAPTION };
        for row in cards.chunks_mut(COLUMNS) {
            let mut x = 0.0;
            for card in row.iter_mut() {
                card.corner = Point { x: PADDING + x, y: size.height };
                x += card.size.width + PADDING;
            }
            size.width = size.width.max(x - PADDING);
            size.height += row.iter().map(|card| card.size.height).fold(0.0, f64::max) + PADDING;
        }
        if !foot.is_empty() {
            size.height += LINE_HEIGHT + 4.0;
        }
        size.width += 2.0 * PADDING;
        Boxed { group: Some(number), caption, foot, cards, size }
    }

    /// A thing that no group protects.
    pub(super) fn loose(picture: &Picture, thing: usize) -> Self {
        let card = Card::of(picture, thing, None);
        Boxed { group: None, caption: String::new(), foot: String::new(), size: card.size, cards: vec![card] }
    }

    /// Makes room for the arrows that come in with labels of these widths. A card that stands alone grows, cards in a frame move.
    pub(super) fn make_room(&mut self, labels: &[f64]) {
        let needed: f64 = labels.iter().map(|label| label_room(*label)).sum();
        let more = (needed - self.size.width).max(0.0);
        self.size.width += more;
        let framed = self.group.is_some();
        for card in &mut self.cards {
            if framed {
                card.corner.x += more / 2.0;
            } else {
                card.size.width += more;
            }
        }
    }
}

impl Card {
    /// The card of a thing; in the frame of another group than the thing's own a reminder.
    fn of(picture: &Picture, thing: usize, frame: Option<usize>) -> Self {
        let home = picture.home(thing).filter(|home| Some(*home) != frame);
        let home = home.map(|home| picture.groups[home].name.clone());
        let Thing { kind, name, status, health, lines, .. } = &picture.things[thing];
        let fit = |text: &str| shortened(text, LINE_FONT, WIDEST - 2.0 * PADDING);
        let lines = match &home {
            Some(home) => vec![fit(&format!("the same as in {home}"))],
            None => lines.iter().map(|line| fit(line)).collect(),
        };
        let name = shortened(name, NAME_FONT, WIDEST - ICON - 2.0 * PADDING);
        let status = if home.is_some() { String::new() } else { status.clone() };
        let below = format!("{} · {status}", kind.word());
        let texts = lines.iter().map(|line| width(line, LINE_FONT));
        let widest =
            texts.chain([ICON + width(&name, NAME_FONT), width(&below, LINE_FONT)]).fold(0.0, f64::max);
        let rows = u32::try_from(lines.len()).map_or(0.0, f64::from);
        Card {
            thing,
            home,
            name,
            kind: kind.word().to_owned(),
            status,
            health: *health,
            lines,
            corner: Point::default(),
            size: Size {
                width: (widest + 2.0 * PADDING).clamp(NARROWEST, WIDEST),
                height: 52.0 + rows * LINE_HEIGHT,
            },
        }
    }
}

/// About how wide a text is in the sans-serif font that the reader has, rather too wide than too narrow.
pub(super) fn width(text: &str, font: f64) -> f64 {
    let of = |character: char| match character {
        'i' | 'j' | 'l' | 't' | 'f' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' | '/' => 0.34,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.92,
        'A'..='Z' => 0.70,
        _ if character.width() == Some(2) => 1.05,
        _ => 0.59,
    };
    let width = text.chars().map(of).sum::<f64>() * font;
    // Names are bold.
    if font > LINE_FONT { width * 1.12 } else { width }
}

/// A text that fits: what is too long ends in `…`.
pub(super) fn shortened(text: &str, font: f64, room: f64) -> String {
    if width(text, font) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if width(&short, font) + 2.0 * font > room {
            break;
        }
        short.push(character);
    }
    short + "…"
}
