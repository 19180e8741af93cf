//! The tables on standard output: a profile, a plan, a report.

use comfy_table::{CellAlignment, Table, presets};

use crate::plan::{Alternative, Plan, Totals};
use crate::profile::{Link, LinkOrigin, Profile};
use crate::report::{DomainOutcome, DomainReport, Outcome, Report};
use crate::units::{Rate, size, span};

/// The domains of a host with their traffic.
pub fn profile(profile: &Profile) -> String {
    let mut table = table(&["domain", "state", "memory", "resident", "dirties", "outbound", "inbound", "post-copy"]);
    for domain in &profile.domains {
        let eligible = |eligible| if eligible { "yes" } else { "no" };
        table.add_row([
            domain.name.clone(),
            domain.state.to_string(),
            size(domain.memory_bytes),
            size(domain.resident_bytes),
            format!("{}/s", size(domain.dirty_bytes_per_second as u64)),
            rate(domain.outbound_bits_per_second),
            rate(domain.inbound_bits_per_second),
            eligible(domain.post_copy.eligible).to_owned(),
        ]);
    }
    right_align(&mut table, &[2, 3, 4, 5, 6]);
    format!(
        "{}: {} over {}, link {}\n{table}",
        profile.host,
        domains(profile.domains.len()),
        span(profile.window_seconds),
        link(profile.link),
    )
}

/// A plan: the steps, the reasons, what can't move, and the totals beside the other policies'.
pub fn plan(plan: &Plan) -> String {
    let mut text = format!(
        "{} -> {}: {}, at most {} at once; links {} and {}\n",
        plan.source,
        plan.destination,
        domains(plan.migrations.len()),
        plan.concurrency,
        link(plan.source_link),
        link(plan.destination_link),
    );
    if !plan.migrations.is_empty() {
        let mut steps = table(&["#", "domain", "technique", "to copy", "from", "to"]);
        for step in &plan.migrations {
            steps.add_row([
                step.order.to_string(),
                step.domain.clone(),
                step.technique.to_string(),
                step.predicted.bytes.map_or_else(|| "no end".to_owned(), size),
                time(step.predicted.start_seconds),
                time(step.predicted.end_seconds),
            ]);
        }
        right_align(&mut steps, &[0, 3, 4, 5]);
        text += &format!("{steps}\n");
        for step in &plan.migrations {
            text += &format!("{}: {}\n", step.domain, step.reason);
        }
    }
    for refusal in &plan.refused {
        text += &format!("{}: CAN'T MOVE: {}\n", refusal.domain, refusal.reason);
    }
    for stay in &plan.stays {
        text += &format!("{}: stays: {}\n", stay.domain, stay.reason);
    }
    let mut totals = table(&["policy", "total", "traffic lost"]);
    let mut row = |policy: &str, predicted: &Totals| {
        totals.add_row([
            policy.to_owned(),
            time(predicted.total_seconds),
            predicted.lost_bits.map_or_else(|| "no end".to_owned(), bits),
        ]);
    };
    row("this plan", &plan.predicted);
    for Alternative { policy, predicted } in &plan.alternatives {
        row(policy, predicted);
    }
    right_align(&mut totals, &[1, 2]);
    text += &totals.to_string();
    if let Some(window) = plan.window {
        let fits = if window.fits { "fits" } else { "DOES NOT FIT" };
        text += &format!("\nthis plan {fits} a window of {}", span(window.limit_seconds));
    }
    if plan.predicted.total_seconds.is_none() {
        text += "\nTHIS PLAN DOES NOT END: some pre-copy sends less than its guest dirties; see the reasons";
    }
    text
}

/// What became of each domain.
pub fn report(report: &Report) -> String {
    let mut table = table(&["domain", "technique", "time", "downtime", "copied", "outcome"]);
    for domain in &report.domains {
        table.add_row([
            domain.domain.clone(),
            domain.technique.map_or_else(|| "-".to_owned(), |technique| technique.to_string()),
            span(domain.seconds),
            domain.downtime_seconds.map_or_else(|| "-".to_owned(), span),
            size(domain.bytes),
            outcome(domain.outcome).to_owned(),
        ]);
    }
    right_align(&mut table, &[2, 3, 4]);
    let mut text = table.to_string();
    for DomainReport { domain, error, .. } in &report.domains {
        if let Some(error) = error {
            text += &format!("\n{domain}: {error}");
        }
    }
    text + "\n" + &outcome_line(report)
}

/// The end of an evacuation in one line.
pub(super) fn outcome_line(report: &Report) -> String {
    let moved = report.domains.iter().filter(|d| d.outcome == DomainOutcome::Migrated).count();
    let end = match report.outcome {
        Outcome::Evacuated => "evacuated",
        Outcome::Partial => "partly evacuated",
        Outcome::Failed => "not evacuated",
        Outcome::Interrupted => "interrupted",
        Outcome::NeedsRecovery => "needs attention",
    };
    let predicted = report.predicted_seconds.map_or_else(String::new, |s| format!(" ({} predicted)", span(s)));
    format!(
        "{} {end}: {moved} of {} at {}, total migration time {}{predicted}",
        report.source,
        domains(report.domains.len()),
        report.destination,
        span(report.total_seconds),
    )
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

fn right_align(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn outcome(outcome: DomainOutcome) -> &'static str {
    match outcome {
        DomainOutcome::Migrated => "migrated",
        DomainOutcome::Remains => "remains",
        DomainOutcome::NeedsRecovery => "NEEDS RECOVERY",
        DomainOutcome::Lost => "LOST",
        DomainOutcome::Gone => "gone",
    }
}

fn time(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "no end".to_owned(), span)
}

fn rate(bits_per_second: f64) -> String {
    format!("{}/s", Rate::from_bits_per_second(bits_per_second))
}

/// Decimal, as traffic is counted.
fn bits(bits: f64) -> String {
    Rate::from_bits_per_second(bits).to_string()
}

fn link(link: Link) -> String {
    let origin = match link.origin {
        LinkOrigin::Option => "--link",
        LinkOrigin::Configuration => "configured",
        LinkOrigin::Detected => "detected",
        LinkOrigin::Assumed => "assumed",
    };
    format!("{}/s ({origin})", Rate::from_bits_per_second(link.bits_per_second))
}

fn domains(count: usize) -> String {
    if count == 1 { "1 domain".to_owned() } else { format!("{count} domains") }
}
