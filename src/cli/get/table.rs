//! Many requests, a line each. Pure.

use jiff::Timestamp;

use super::{
    relative::span,
    row::{Life, Row},
};
use crate::{api::RequestState, core::explain::plain};

/// Longest message of a line; `daypass get NAME` shows the whole.
const MESSAGE: usize = 100;

/// What goes into a table beside what always does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// The namespace.
    pub namespace: bool,
    /// Pod, policy and message.
    pub wide: bool,
}

/// A header and a line each, columns apart by three spaces as kubectl has them.
pub fn table(rows: &[Row], shown: Shown, now: Timestamp) -> String {
    let mut lines = vec![header(shown)];
    lines.extend(rows.iter().map(|row| cells(row, shown, now)));
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("   ").trim_end());
        text.push('\n');
    }
    text
}

fn header(shown: Shown) -> Vec<String> {
    let mut names = vec!["NAME", "WORKLOAD", "CLASS", "STATE", "REASON", "CREDENTIAL", "AGE"];
    if shown.namespace {
        names.insert(0, "NAMESPACE");
    }
    if shown.wide {
        names.extend(["POD", "POLICY", "MESSAGE"]);
    }
    names.into_iter().map(str::to_owned).collect()
}

fn cells(row: &Row, shown: Shown, now: Timestamp) -> Vec<String> {
    let known = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), plain);
    let age = row.requested_time.map_or_else(|| "-".to_owned(), |time| span(now.duration_since(time).max(Default::default())));
    let mut cells = vec![
        row.name.clone(),
        known(&row.workload),
        plain(&row.class_name),
        row.state.as_str().to_owned(),
        known(&row.reason),
        credential(row, now),
        age,
    ];
    if shown.namespace {
        cells.insert(0, row.namespace.clone());
    }
    if shown.wide {
        cells.extend([plain(&row.pod), known(&row.policy), cut(&known(&row.message))]);
    }
    cells
}

/// How long the credential still lives, or how long until it is dead.
pub fn credential(row: &Row, now: Timestamp) -> String {
    match row.life {
        Life::None if row.state == RequestState::Denied => match row.retry_time {
            Some(time) if time > now => format!("none, ask in {}", span(time.duration_since(now))),
            _ => "none".into(),
        },
        Life::None if row.state == RequestState::Pending => "-".into(),
        Life::None => "none".into(),
        Life::Live { expires_at } if expires_at > now => format!("{} left", span(expires_at.duration_since(now))),
        Life::Live { expires_at } => format!("over for {}", span(now.duration_since(expires_at))),
        Life::Dying { dead_at, .. } if dead_at > now => format!("dead in {}", span(dead_at.duration_since(now))),
        Life::Dying { .. } => "proof under way".into(),
        Life::Dead { dead_at, .. } => format!("dead for {}", span(now.duration_since(dead_at).max(Default::default()))),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MESSAGE {
        return text.to_owned();
    }
    text.chars().take(MESSAGE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    fn rows() -> Vec<Row> {
        [pending(), denied(), active(), revoking(), gone()].iter().map(Row::of).collect()
    }

    #[test]
    fn a_person_on_call_sees_what_became_of_each() {
        let told = table(&rows(), Shown { namespace: true, wide: false }, at("12:05:48"));
        assert_eq!(
            told,
            "\
NAMESPACE   NAME          WORKLOAD            CLASS       STATE      REASON         CREDENTIAL      AGE
shop        orders-db-1   -                   orders-db   Pending    -              -               5m48s
shop        orders-db-1   Deployment/orders   orders-db   Denied     NotPermitted   none            5m48s
shop        orders-db-1   Deployment/orders   orders-db   Active     Permitted      4m12s left      5m48s
shop        orders-db-1   Deployment/orders   orders-db   Revoking   PodGone        dead in 4m12s   5m48s
shop        orders-db-1   Deployment/orders   orders-db   Ended      PodGone        dead for 0s     5m48s
"
        );
    }

    #[test]
    fn a_wide_table_says_who_decided_and_why_and_is_cut_at_a_line() {
        let told = table(&rows()[1..2], Shown { namespace: false, wide: true }, at("12:05:48"));
        let line = told.lines().nth(1).unwrap();
        assert!(told.starts_with("NAME ") && line.contains("   orders-1   -        no policy permits class orders-db"), "{told}");
        assert!(line.ends_with('…') && !line.contains("ask the platform team for a ClusterAccessPolicy"), "{told}");
    }

    #[test]
    fn what_is_due_is_said_to_be_due_and_not_to_have_happened() {
        let said = |request, time| credential(&Row::of(&request), at(time));
        assert_eq!(said(active(), "12:10:03"), "over for 3s");
        assert_eq!(said(revoking(), "12:10:00"), "proof under way");
        assert_eq!(said(gone(), "13:10:01"), "dead for 1h");
        let mut limited = denied();
        limited.status.as_mut().unwrap().decision.as_mut().unwrap().retry_after = Some(crate::api::Ttl("30s".into()));
        assert_eq!((said(limited.clone(), "12:00:11"), said(limited, "12:01:00")), ("none, ask in 20s".into(), "none".into()));
    }

    #[test]
    fn text_from_others_cannot_steer_the_terminal() {
        let mut request = denied();
        request.status.as_mut().unwrap().workload = Some("Deployment/\u{1b}[2Jorders".into());
        assert!(!table(&[Row::of(&request)], Shown::default(), at("12:05:48")).contains('\u{1b}'));
    }
}
