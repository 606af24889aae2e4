//! The steps of a run on a line of time: a row for each, under the one that it was in, with a bar from its beginning to its end.

use std::time::Duration;

use serde::Serialize;

use crate::progress::seconds;
use crate::record::{How, Kind, Span};

/// So many rows are shown: a step in a loop may run thousands of times.
const ROWS: usize = 300;
/// No deeper than this is moved to the right.
const DEEPEST: usize = 6;
/// A bar of less than this part of the whole would not be seen, in per cent.
const THINNEST: f64 = 0.4;

/// In per cent: behind it is no room for the text of a moment.
const LAST_TICK: f64 = 92.0;

/// A row: where its bar begins and how long it is, in per cent of the run.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    depth: usize,
    title: String,
    kind: &'static str,
    left: String,
    width: String,
    began: String,
    took: String,
    failed: bool,
    /// It lasted when the run was stopped.
    cut: bool,
}

/// A moment on the line.
#[derive(Debug, Serialize)]
pub(super) struct Tick {
    left: String,
    text: String,
}

/// The rows, and how many more there are.
pub(super) fn rows(spans: &[Span], total: Duration) -> (Vec<Row>, usize) {
    let mut rows = Vec::new();
    below(None, 0, spans, total, &mut rows);
    let left_out = spans.len().saturating_sub(rows.len());
    (rows, left_out)
}

fn below(parent: Option<usize>, depth: usize, spans: &[Span], total: Duration, rows: &mut Vec<Row>) {
    let mut children: Vec<(usize, &Span)> =
        spans.iter().enumerate().filter(|(_, span)| span.parent == parent).collect();
    // A wait is written down when it ends.
    children.sort_by_key(|(number, span)| (span.began, *number));
    for (number, span) in children {
        if rows.len() == ROWS {
            return;
        }
        rows.push(row(span, depth.min(DEEPEST), total));
        below(Some(number), depth + 1, spans, total, rows);
    }
}

fn row(span: &Span, depth: usize, total: Duration) -> Row {
    let ended = span.ended.unwrap_or(total);
    let took = ended.saturating_sub(span.began);
    let left = share(span.began, total).min(100.0 - THINNEST);
    Row {
        depth,
        title: span.title.clone(),
        kind: match span.kind {
            Kind::Step => "step",
            Kind::Item => "item",
            Kind::Wait => "wait",
        },
        left: per_cent(left),
        width: per_cent(share(took, total).clamp(THINNEST, 100.0 - left)),
        began: seconds(span.began),
        took: seconds(took),
        failed: span.how == How::Failed,
        cut: span.ended.is_none() || span.how == How::Stopped,
    }
}

/// Moments at round numbers, six at most; none so far to the right that its text would not fit.
pub(super) fn ticks(total: Duration) -> Vec<Tick> {
    /// In milliseconds; a run of days has the last one.
    const STEPS: [u64; 20] = [
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000,
        600_000, 1_800_000, 3_600_000,
    ];
    let whole = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
    let step = STEPS.into_iter().find(|step| whole / step <= 5).unwrap_or((whole / 5).max(1));
    let moments = (0..=whole / step).map(|number| Duration::from_millis(number * step));
    moments
        .filter(|at| at.is_zero() || share(*at, total) <= LAST_TICK)
        .map(|at| Tick { left: per_cent(share(at, total)), text: moment(at, step) })
        .collect()
}

/// A moment with no more digits than its step has.
fn moment(at: Duration, step: u64) -> String {
    let (whole, thousandths) = (at.as_secs(), at.subsec_millis());
    match (whole, step) {
        (_, ..1000) => {
            format!("{:.*} s", if step < 10 { 3 } else { 2 - usize::from(step >= 100) }, at.as_secs_f64())
        }
        (60.., _) if whole % 60 == 0 && thousandths == 0 => format!("{} min", whole / 60),
        (60.., _) => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{whole} s"),
    }
}

fn share(part: Duration, total: Duration) -> f64 {
    100.0 * part.as_secs_f64() / total.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn per_cent(share: f64) -> String {
    format!("{:.2}%", share.clamp(0.0, 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(parent: Option<usize>, title: &str, began: u64, ended: Option<u64>) -> Span {
        Span {
            parent,
            kind: Kind::Step,
            title: title.to_owned(),
            began: Duration::from_secs(began),
            ended: ended.map(Duration::from_secs),
            how: How::Well,
        }
    }

    #[test]
    fn a_row_stands_under_the_one_that_it_was_in_and_its_bar_where_it_ran() {
        let spans = [
            span(None, "one", 0, Some(5)),
            span(None, "two", 5, None),
            span(Some(1), "inside", 6, Some(10)),
            span(Some(0), "also", 1, Some(2)),
        ];
        let (rows, left_out) = rows(&spans, Duration::from_secs(20));
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.title.as_str(), row.depth, row.left.as_str(), row.width.as_str(), row.cut))
            .collect();
        assert_eq!(
            seen,
            [
                ("one", 0, "0.00%", "25.00%", false),
                ("also", 1, "5.00%", "5.00%", false),
                ("two", 0, "25.00%", "75.00%", true),
                ("inside", 1, "30.00%", "20.00%", false),
            ]
        );
        assert_eq!(left_out, 0);
    }

    #[test]
    fn thousands_of_steps_are_counted_and_not_shown() {
        let spans: Vec<Span> =
            (0..5000).map(|number| span(None, "again", number, Some(number + 1))).collect();
        let (rows, left_out) = rows(&spans, Duration::from_secs(5000));
        assert_eq!((rows.len(), left_out), (ROWS, 4700));
    }

    #[test]
    fn moments_are_round_numbers() {
        let texts = |millis| -> Vec<String> {
            ticks(Duration::from_millis(millis)).into_iter().map(|tick| tick.text).collect()
        };
        assert_eq!(texts(4200), ["0 s", "1 s", "2 s", "3 s"]);
        assert_eq!(texts(640), ["0.0 s", "0.2 s", "0.4 s"]);
        assert_eq!(texts(95_000), ["0 s", "30 s", "1 min"]);
        assert_eq!(texts(0), ["0.000 s"]);
        assert!(texts(7 * 24 * 3_600_000).len() <= 6);
    }
}
