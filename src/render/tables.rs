//! The tables on standard output: a profile, a plan, a report.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};

use super::escape::escape_line;
use super::page::Page;
use crate::domain::Technique;
use crate::experience::known::Known;
use crate::plan::{Alternative, Objective, Plan, Totals};
use crate::profile::learned::{Crossing, Writes};
use crate::profile::{Processors, Profile};
use crate::report::{DomainOutcome, Job, Outcome, Report};
use crate::topology::{Binding, CapacityOrigin, HostPorts, Port, UPLINK};
use crate::units::{Rate, rate, size, span};

/// The domains of a host with their traffic.
pub fn profile(profile: &Profile) -> String {
    let columns = ["domain", "state", "memory", "resident", "not blank", "dirties", "outbound", "inbound", "post-copy"];
    let mut table = table(&columns);
    for domain in &profile.domains {
        row(
            &mut table,
            [
                domain.name.clone(),
                domain.state.to_string(),
                size(domain.memory_bytes),
                size(domain.resident_bytes),
                domain.filled_bytes.map_or_else(|| "?".to_owned(), size),
                format!("{}/s", size(domain.dirty_bytes_per_second as u64)),
                traffic(domain.outbound_bits_per_second, &profile.migration_port),
                traffic(domain.inbound_bits_per_second, &profile.migration_port),
                if domain.post_copy.obstacle.is_none() { "yes" } else { "no" }.to_owned(),
            ],
        );
    }
    right_align(&mut table, &[2, 3, 4, 5, 6, 7]);
    let processors = |seen: Processors| format!(", {:.1} of {} processors idle", seen.idle, seen.count);
    format!(
        "{}: {} over {}, link {}{}{}\n{table}",
        escape_line(&profile.host),
        count(profile.domains.len()),
        span(profile.window_seconds),
        escape_line(&link(&profile.migration_port, profile.address)),
        profile.processors.map_or_else(String::new, processors),
        wires(&profile.ports(&profile.domains)).map_or_else(String::new, |wires| format!("\n{}", escape_line(&wires))),
    )
}

/// A plan: the steps, the reasons, what can't move, and the totals beside the other policies'.
pub fn plan(plan: &Plan) -> String {
    plan_on(plan, &Page::of_stdout())
}

/// A [`plan`] on a page of its own width and colours.
pub fn plan_on(plan: &Plan, page: &Page) -> String {
    let objective = if plan.objective == Objective::Impact { ", objective impact" } else { "" };
    let links: Vec<_> = plan.hosts.iter().map(|host| link(&host.migration_port, host.address)).collect();
    let cap = plan.bandwidth_bits_per_second.map(|cap| format!(", of which migrations take at most {}", rate(cap)));
    let mut text = page.paragraph(&format!(
        "{} -> {}: {}, at most {} at once{objective}; links {}{}",
        plan.source,
        plan.destinations.join(", "),
        count(plan.migrations.len()),
        plan.concurrency,
        links.join(" and "),
        cap.unwrap_or_default(),
    ));
    for wires in plan.hosts.iter().filter_map(wires) {
        text += &page.paragraph(&wires);
    }
    if !plan.migrations.is_empty() {
        text += &format!("{}\n", steps(plan, page));
        for step in &plan.migrations {
            text += &page.entry(&step.domain, &step.to_string());
        }
    }
    for blocked in &plan.blocked {
        text += &page.bad(&page.entry(&blocked.host, &format!("NOTHING CAN MOVE: {}", blocked.obstacle)));
    }
    for refusal in &plan.refused {
        text += &page.bad(&page.entry(&refusal.domain, &format!("CAN'T MOVE: {}", refusal.obstacle)));
    }
    for stay in &plan.stays {
        text += &page.entry(&stay.domain, &format!("stays: {}", stay.kind));
    }
    for note in &plan.notes {
        text += &page.paragraph(&format!("note: {note}"));
    }
    text += &totals(plan);
    if let Some(expected) = expected(plan) {
        text += "\n";
        text += page.paragraph(&expected).trim_end();
    }
    if let Some(window) = plan.window {
        let limit = span(window.limit_seconds);
        text += "\n";
        text += &match window.fits {
            true => format!("this plan fits a window of {limit}"),
            false => page.bad(&format!("this plan DOES NOT FIT a window of {limit}")),
        };
    }
    if plan.predicted.total_seconds.is_none() {
        text += "\n";
        text += &page.bad("THIS PLAN IS NOT PREDICTED TO END: some guest dirties memory about as fast as a pre-copy sends it, or faster; see the reasons");
    }
    text
}

/// The migrations; what each guest sends and receives is a bar, as a part of the link that it crosses.
fn steps(plan: &Plan, page: &Page) -> Table {
    let mut table = table(&["#", "domain", "technique", "sends", "receives", "to copy", "from", "to"]);
    for step in &plan.migrations {
        row(
            &mut table,
            [
                step.order.to_string(),
                step.domain.clone(),
                step.technique().to_string(),
                meter(step.outbound_bits_per_second, plan.port(&plan.source)),
                meter(step.inbound_bits_per_second, plan.port(&step.destination)),
                step.predicted.bytes.map_or_else(|| "-".to_owned(), size),
                step.predicted.start_seconds.map_or_else(|| "-".to_owned(), span),
                end(step.predicted.end_seconds),
            ],
        );
    }
    right_align(&mut table, &[0, 5, 6, 7]);
    page.fit(&mut table);
    table
}

/// Between what times the plan is expected to end, and by what that is known; `None` if it does not end.
fn expected(plan: &Plan) -> Option<String> {
    let (low, high) = plan.predicted.low.zip(plan.predicted.high)?;
    let live = plan.migrations.iter().filter(|step| step.technique() != Technique::Offline);
    let (known, new): (Vec<_>, Vec<_>) = live.partition(|step| step.earlier_migrations > 0);
    let by = match (known.len(), new.len()) {
        (0, 0) => return None,
        (0, _) => "no migration of these domains is known from before".to_owned(),
        (_, 0) => "each of these domains was seen to migrate before".to_owned(),
        (known, new) => format!("seen to migrate before: {known} of {} domains", known + new),
    };
    Some(format!("this plan is expected to take {} to {}; {by}", span(low.total_seconds), span(high.total_seconds)))
}

fn totals(plan: &Plan) -> String {
    let mut totals = table(&["policy", "total", "traffic lost"]);
    let mut add = |policy: &str, predicted: &Totals| {
        row(
            &mut totals,
            [policy.to_owned(), end(predicted.total_seconds), predicted.lost_bits.map_or_else(|| "-".to_owned(), lost)],
        );
    };
    add("this plan", &plan.predicted);
    for Alternative { policy, predicted } in &plan.alternatives {
        add(policy, predicted);
    }
    right_align(&mut totals, &[1, 2]);
    totals.to_string()
}

/// The files of the configuration, each with whether it was read, and the settings: key, value, and where that is from.
pub fn configuration<'a>(
    files: impl Iterator<Item = (&'a Path, bool)>,
    settings: impl Iterator<Item = [String; 3]>,
) -> String {
    let file = |(path, read): (&Path, bool)| {
        format!("{}: {}\n", escape_line(&path.to_string_lossy()), if read { "read" } else { "not there" })
    };
    let mut table = table(&["key", "value", "from"]);
    settings.for_each(|setting| row(&mut table, setting));
    files.map(file).collect::<String>() + &table.to_string()
}

/// What is known after earlier runs.
pub(crate) fn known(known: &Known) -> String {
    if known.pairs.is_empty() {
        return format!("nothing is known from earlier runs; {} will keep it", escape_line(&known.file));
    }
    let mut pairs = table(&["from", "to", "crosses at", "first byte after", "the next", "kinds proven", "last seen"]);
    for pair in &known.pairs {
        let of = |value: fn(&Crossing) -> String| pair.crossing.as_ref().map_or_else(|| "-".to_owned(), value);
        row(
            &mut pairs,
            [
                pair.source.name.clone(),
                pair.destination.name.clone(),
                of(|crossing| format!("{:.0} % of the model", 100.0 * crossing.pace)),
                of(|crossing| span(crossing.setup_seconds)),
                of(|crossing| {
                    let apart = crossing.setups_apart_seconds;
                    apart.map_or_else(|| "-".to_owned(), |apart| format!("{} later", span(apart)))
                }),
                pair.proven.to_string(),
                pair.at.clone(),
            ],
        );
    }
    right_align(&mut pairs, &[2, 3, 4, 5]);
    let mut domains =
        table(&["domain", "crosses of its resident", "writes", "over at most", "migrations", "last seen"]);
    for domain in &known.domains {
        let of = |value: fn(&Writes) -> String| domain.lesson.writes.as_ref().map_or_else(|| "-".to_owned(), value);
        row(
            &mut domains,
            [
                domain.domain.clone(),
                format!("{:.0} %", 100.0 * domain.lesson.crosses),
                of(|writes| format!("{}/s", size(writes.bytes_per_second as u64))),
                of(|writes| match writes.open_after_seconds {
                    Some(_) => format!("{} or more", size(writes.most_bytes)),
                    None => size(writes.most_bytes),
                }),
                domain.lesson.migrations.to_string(),
                domain.at.clone(),
            ],
        );
    }
    right_align(&mut domains, &[1, 2, 3, 4]);
    format!("{}:\n\n{pairs}\n\n{domains}", escape_line(&known.file))
}

/// How each domain ended.
pub fn report(report: &Report) -> String {
    report_on(report, &Page::of_stdout())
}

/// A [`report`] on a page of its own width and colours.
pub fn report_on(report: &Report, page: &Page) -> String {
    if report.job == Job::Recover && report.domains.is_empty() {
        return escape_line(&outcome_line(report)).into_owned();
    }
    let mut table = table(&["domain", "technique", "time", "downtime", "copied", "outcome"]);
    for domain in &report.domains {
        row(
            &mut table,
            [
                domain.domain.clone(),
                domain.technique.map_or_else(|| "-".to_owned(), |technique| technique.to_string()),
                span(domain.seconds),
                domain.downtime_seconds.map_or_else(|| "-".to_owned(), span),
                size(domain.bytes),
                outcome(domain.outcome).to_owned(),
            ],
        );
    }
    right_align(&mut table, &[2, 3, 4]);
    page.fit(&mut table);
    let mut text = format!("{table}\n");
    for domain in &report.domains {
        let notice = domain.notice.as_ref().map(ToString::to_string);
        for sentence in [domain.error(), notice].into_iter().flatten() {
            text += &page.bad(&page.entry(&domain.domain, &sentence));
        }
    }
    let end = escape_line(&outcome_line(report)).into_owned();
    text + &if report.outcome == Outcome::Evacuated { page.good(&end) } else { page.bad(&end) }
}

/// The end of an evacuation in one line.
pub(super) fn outcome_line(report: &Report) -> String {
    let (source, destination) = (&report.source, report.destinations.join(", "));
    if report.job == Job::Recover && report.domains.is_empty() {
        return format!("nothing is left to recover between {source} and {destination}");
    }
    let end = match report.outcome {
        Outcome::Evacuated if report.job == Job::Recover => "recovered",
        Outcome::Partial if report.job == Job::Recover => "recovered",
        Outcome::Evacuated => "evacuated",
        Outcome::Partial => "partly evacuated",
        Outcome::Failed => "not evacuated",
        Outcome::Interrupted => "interrupted",
        Outcome::NeedsRecovery => "needs attention",
    };
    let predicted = report.predicted_seconds.map_or_else(String::new, |s| format!(" ({} predicted)", span(s)));
    let time = format!("total migration time {}{predicted}", span(report.total_seconds));
    let number = |outcome| report.domains.iter().filter(|domain| domain.outcome == outcome).count();
    let (moved, gone) = (number(DomainOutcome::Migrated), number(DomainOutcome::Gone));
    let all = count(report.domains.len());
    if report.outcome == Outcome::Partial && moved + gone == report.domains.len() {
        let paused = report.domains.iter().filter(|domain| domain.paused_by.is_some()).count();
        let in_distress = report.domains.iter().filter(|domain| domain.is_in_distress()).count();
        let be = |count| if count == 1 { "is" } else { "are" };
        let mut but = Vec::new();
        if gone > 0 {
            but.push(format!("{gone} of {all} ended and {} not at {destination}", be(gone)));
        }
        if paused > 0 {
            but.push(format!("{paused} of {all} {} paused at {destination} by an error", be(paused)));
        }
        if in_distress > 0 {
            but.push(format!("{in_distress} of {all} {} in distress at {destination}", be(in_distress)));
        }
        return format!("{source} has no domain left to move, but {}, {time}", but.join(", and "));
    }
    format!("{source} {end}: {moved} of {all} at {destination}, {time}")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table
}

/// Adds a row; what others wrote stays within its cell.
fn row<T: AsRef<str>>(table: &mut Table, cells: impl IntoIterator<Item = T>) {
    table.add_row(cells.into_iter().map(|cell| escape_line(cell.as_ref()).into_owned()));
}

fn right_align(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

const METER: usize = 8;

/// Traffic as a part of the link, as a bar of [`METER`] cells in eighths of a cell; what is not idle shows.
fn meter(bits_per_second: f64, port: Option<&Port>) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let Some(port) = port.filter(|port| !port.is_idle(bits_per_second)) else {
        return format!("{:<METER$}", "idle");
    };
    let part = (bits_per_second / port.bits_per_second).clamp(0.0, 1.0);
    let eighths = ((part * (METER * 8) as f64).round() as usize).max(1);
    let bar = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    format!("{bar:·<METER$}")
}

pub(super) fn outcome(outcome: DomainOutcome) -> &'static str {
    match outcome {
        DomainOutcome::Migrated => "migrated",
        DomainOutcome::Remains => "remains",
        DomainOutcome::NeedsRecovery => "NEEDS RECOVERY",
        DomainOutcome::Lost => "LOST",
        DomainOutcome::Gone => "gone",
    }
}

/// A predicted end. Near the border of convergence the model can't tell whether there is one.
fn end(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "may not end".to_owned(), span)
}

fn traffic(bits_per_second: f64, port: &Port) -> String {
    if port.is_idle(bits_per_second) { "idle".to_owned() } else { rate(bits_per_second) }
}

/// An amount of traffic, decimal, as traffic is counted; what is too little to matter is not told to the digit.
fn lost(bits: f64) -> String {
    // Chosen: the least that any run of `docs/bench` lost is 9 Mbit.
    const LEAST: f64 = 1e6;
    match bits {
        0.0 => "none".to_owned(),
        bits if bits < LEAST => "< 1 Mbit".to_owned(),
        bits => Rate::from_bits_per_second(bits).to_string(),
    }
}

fn link(Port { name, bits_per_second, origin, .. }: &Port, address: Option<IpAddr>) -> String {
    let origin = match origin {
        CapacityOrigin::Option => "--link",
        CapacityOrigin::Configuration => "configured",
        CapacityOrigin::Detected => "detected",
        CapacityOrigin::Assumed => "assumed",
    };
    let name = if name == UPLINK { String::new() } else { format!(": {name}") };
    let at = address.map_or_else(String::new, |address| format!(", at {address}"));
    format!("{} ({origin}{name}{at})", rate(*bits_per_second))
}

/// Where the traffic of guests goes at a host, if some of it does not meet the migrations.
fn wires(ports: &HostPorts) -> Option<String> {
    let mut plugs: BTreeMap<&Binding, Vec<&str>> = BTreeMap::new();
    for outlet in &ports.outlets {
        plugs.entry(&outlet.port).or_default().push(outlet.plug.name());
    }
    if plugs.keys().all(|binding| ports.contends(binding)) {
        return None;
    }
    let verb = |plugs: &[&str], one, several| if plugs.len() == 1 { one } else { several };
    let lead = |(binding, plugs): (&&Binding, &Vec<&str>)| {
        let names = plugs.join(", ");
        match binding {
            Binding::Port { name } => format!("{names} {} by {name}", verb(plugs, "goes", "go")),
            Binding::Internal => format!("{names} {} within the host", verb(plugs, "stays", "stay")),
            Binding::Unknown => {
                format!("where {names} {} is not known, and counts as there, too", verb(plugs, "goes", "go"))
            }
        }
    };
    let leads: Vec<_> = plugs.iter().map(lead).collect();
    let apart = if plugs.keys().any(|binding| ports.contends(binding)) { "" } else { ": no traffic meets them" };
    let HostPorts { host, migration_port: Port { name, .. }, .. } = ports;
    Some(format!("{host}: migrations cross {name}, {}{apart}", leads.join(", ")))
}

pub(super) fn count(domains: usize) -> String {
    if domains == 1 { "1 domain".to_owned() } else { format!("{domains} domains") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DomainState, Fault};
    use crate::failure::Distress;
    use crate::report::{DomainNotice, DomainReport};

    #[test]
    fn domains_that_ended_or_that_an_error_paused_are_counted_as_such() {
        let gone = DomainReport::new("o1", "u1", DomainOutcome::Gone);
        let end = |domains: Vec<DomainReport>| {
            outcome_line(&Report {
                schema: crate::report::SCHEMA.to_owned(),
                job: Job::Evacuate,
                source: "host-a".to_owned(),
                destinations: vec!["host-b".to_owned()],
                outcome: Outcome::of(&domains, false),
                total_seconds: 1.0,
                predicted_seconds: None,
                domains,
            })
        };
        let all = end(vec![gone.clone(), gone.clone()]);
        assert!(all.contains("2 of 2 domains ended and are not at host-b") && !all.contains("evacuated"), "{all}");
        let remains = DomainReport { outcome: DomainOutcome::Remains, ..gone.clone() };
        let partly = end(vec![gone.clone(), remains]);
        assert!(partly.contains("partly evacuated: 0 of 2"), "{partly}");
        let (outcome, paused_by) = (DomainOutcome::Migrated, Some(Fault::IoError));
        let paused = DomainReport { outcome, paused_by, ..gone.clone() };
        let one = end(vec![paused.clone()]);
        assert!(one.contains("but 1 of 1 domain is paused at host-b by an error,") && !one.contains("ended"), "{one}");
        let (source, destination) = ("host-a".to_owned(), "host-b".to_owned());
        let distress = Distress::Stopped { state: DomainState::ShutOff, fault: Fault::Crash };
        let notice = Some(DomainNotice::InDistress { domain: "o1".to_owned(), source, destination, distress });
        let moved = DomainReport { notice, ..DomainReport::new("o1", "u1", DomainOutcome::Migrated) };
        let distressed = end(vec![moved]);
        assert!(
            distressed.contains("no domain left to move, but 1 of 1 domain is in distress at host-b"),
            "{distressed}"
        );
        let both = end(vec![gone, paused]);
        assert!(both.contains("ended and is not at host-b, and 1 of 2 domains is paused at host-b"), "{both}");
    }

    #[test]
    fn a_bar_shows_a_part_of_the_link_and_idle_for_what_does_not_matter() {
        let link = Port::unnamed(1e8, CapacityOrigin::Option);
        for (bits_per_second, bar) in [
            (0.0, "idle    "),
            (279.0, "idle    "),
            (91e3, "idle    "),
            (210e3, "▏·······"),
            (50e6, "████····"),
            (30e6, "██▍·····"),
            (1e8, "████████"),
            (7e8, "████████"),
            (f64::NAN, "idle    "),
        ] {
            assert_eq!(meter(bits_per_second, Some(&link)), bar, "{bits_per_second}");
        }
    }
}
