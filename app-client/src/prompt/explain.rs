//! `\explain`: the plan of a statement as a tree, what each step took by itself, and which one to
//! look at first.

use std::fmt::Write;

use serde_json::Value;

/// A step whose rows are this many times off has misled the planner; PostgreSQL's own rule of thumb
/// is that a factor of ten changes plans.
const MISJUDGED: f64 = 10.0;

/// A step of the plan, flattened: how deep it stands and what it costs without its inputs.
#[derive(Debug, PartialEq)]
struct Step {
    depth: usize,
    title: String,
    /// Milliseconds if the statement ran, else the planner's cost.
    own: f64,
    rows: f64,
    expected_rows: f64,
}

/// The tree for the JSON that EXPLAIN gave; `None` if it is something else.
pub(super) fn tree(json: &str) -> Option<String> {
    let document: Value = serde_json::from_str(json).ok()?;
    let top = document.get(0)?;
    let analyzed = top.get("Execution Time").and_then(Value::as_f64);
    let mut steps = Vec::new();
    gather(top.get("Plan")?, 0, analyzed.is_some(), &mut steps);

    let titles: Vec<String> = steps
        .iter()
        .map(|step| match step.depth {
            0 => step.title.clone(),
            depth => format!("{}-> {}", "   ".repeat(depth - 1), step.title),
        })
        .collect();
    let width = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0);
    let total: f64 = steps.iter().map(|step| step.own).sum();
    let slowest = steps.iter().map(|step| step.own).fold(0.0, f64::max);
    let (unit, whole) = if analyzed.is_some() { ("ms", "time") } else { ("cost", "cost") };
    let mut marked = false;
    let mut text = String::new();
    for (step, title) in steps.iter().zip(&titles) {
        let _ = write!(text, "{title:<width$}  {:>10.2} {unit}  {:>9} rows", step.own, step.rows.round());
        if analyzed.is_some() && is_misjudged(step.rows, step.expected_rows) {
            let _ = write!(text, "  (expected {})", step.expected_rows.round());
        }
        if !marked && steps.len() > 1 && step.own > 0.0 && step.own >= slowest {
            marked = true;
            let _ = write!(text, "  <== {:.0} % of the {whole}", 100.0 * step.own / total);
        }
        text.push('\n');
    }
    match (analyzed, top.get("Planning Time").and_then(Value::as_f64)) {
        (Some(execution), Some(planning)) => {
            let _ = write!(text, "{execution:.2} ms, and {planning:.2} ms to plan");
        }
        _ => text.push_str("not run; these are the planner's estimates"),
    }
    Some(text)
}

fn gather(plan: &Value, depth: usize, analyzed: bool, steps: &mut Vec<Step>) {
    let number = |plan: &Value, key: &str| plan.get(key).and_then(Value::as_f64).unwrap_or(0.0);
    // A step that ran several times reports the average of one time.
    let loops = |plan: &Value| number(plan, "Actual Loops");
    let whole = |plan: &Value| match analyzed {
        true => number(plan, "Actual Total Time") * loops(plan),
        false => number(plan, "Total Cost"),
    };
    let children: Vec<&Value> = plan.get("Plans").and_then(Value::as_array).into_iter().flatten().collect();
    let below: f64 = children.iter().map(|child| whole(child)).sum();
    steps.push(Step {
        depth,
        title: title(plan),
        own: (whole(plan) - below).max(0.0),
        rows: if analyzed { number(plan, "Actual Rows") * loops(plan) } else { number(plan, "Plan Rows") },
        expected_rows: number(plan, "Plan Rows") * if analyzed { loops(plan) } else { 1.0 },
    });
    for child in children {
        gather(child, depth + 1, analyzed, steps);
    }
}

/// `Seq Scan on content c (lower(title) = 'x')`
fn title(plan: &Value) -> String {
    let text = |key: &str| plan.get(key).and_then(Value::as_str);
    let mut title = text("Node Type").unwrap_or("?").to_owned();
    if let Some(index) = text("Index Name") {
        let _ = write!(title, " using {index}");
    }
    if let Some(relation) = text("Relation Name") {
        let _ = write!(title, " on {relation}");
        if let Some(alias) = text("Alias").filter(|alias| *alias != relation) {
            let _ = write!(title, " {alias}");
        }
    }
    for condition in ["Index Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter"] {
        if let Some(condition) = text(condition) {
            let _ = write!(title, " {condition}");
        }
    }
    title
}

fn is_misjudged(rows: f64, expected: f64) -> bool {
    let (low, high) = (rows.min(expected).max(1.0), rows.max(expected).max(1.0));
    high / low >= MISJUDGED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_that_takes_most_by_itself_is_marked() {
        let plan = r#"[{"Plan": {"Node Type": "Nested Loop", "Actual Total Time": 100.0, "Actual Loops": 1,
            "Actual Rows": 50, "Plan Rows": 45, "Plans": [
              {"Node Type": "Seq Scan", "Relation Name": "content", "Alias": "c", "Filter": "(a = 1)",
               "Actual Total Time": 5.0, "Actual Loops": 1, "Actual Rows": 50, "Plan Rows": 2},
              {"Node Type": "Index Scan", "Index Name": "artist_pkey", "Relation Name": "artist", "Alias": "artist",
               "Actual Total Time": 1.8, "Actual Loops": 50, "Actual Rows": 1, "Plan Rows": 1}]},
            "Planning Time": 0.5, "Execution Time": 101.0}]"#;
        let shown = tree(plan).expect("a plan");
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        assert!(
            lines[0].starts_with("Nested Loop ") && lines[0].ends_with("5.00 ms         50 rows"),
            "{shown}"
        );
        assert!(lines[1].starts_with("-> Seq Scan on content c (a = 1) "), "{shown}");
        assert!(lines[1].ends_with("50 rows  (expected 2)"), "{shown}");
        assert!(lines[2].contains("-> Index Scan using artist_pkey on artist "), "{shown}");
        assert!(lines[2].ends_with("90.00 ms         50 rows  <== 90 % of the time"), "{shown}");
        assert_eq!(lines[3], "101.00 ms, and 0.50 ms to plan");
        assert_eq!(tree("not a plan"), None);
    }
}
