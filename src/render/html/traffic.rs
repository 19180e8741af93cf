//! What crossed the two NICs that a migration loads, against their capacity: the source's outbound direction and the
//! destination's inbound one.

use super::axis::Axis;
use super::{add, escape, heading};
use crate::history::{History, TrafficInterval};
use crate::report::Report;
use crate::topology::migration_port;
use crate::units::rate;

const HEIGHT: u32 = 150;
/// A plot's width in its own units; it is stretched to the page's.
const WIDTH: f64 = 100.0;

const LEGEND: [(&str, &str); 4] = [
    ("<rect class=\"guests\" width=\"18\" height=\"12\"/>", "the guests' own traffic"),
    ("<rect class=\"first\" width=\"18\" height=\"12\"/>", "memory, pre-copy"),
    ("<rect class=\"post\" width=\"18\" height=\"12\"/>", "memory, post-copy"),
    ("<path class=\"capacity\" d=\"M0 6H18\"/>", "capacity of the link"),
];

struct Direction<'a> {
    title: String,
    note: &'a str,
    capacity_bits_per_second: f64,
    guests: fn(&TrafficInterval) -> Option<f64>,
}

pub(super) fn draw(body: &mut String, axis: &Axis, report: &Report, history: &History) {
    heading(body, "What crossed the NICs", &LEGEND);
    let capacity = |host: &str| migration_port(&history.hosts, host).map_or(0.0, |port| port.bits_per_second);
    for direction in [
        Direction {
            title: format!("{} sends", escape(&report.source)),
            note: "its NIC, outbound",
            capacity_bits_per_second: capacity(&report.source),
            guests: |interval| interval.source_outbound_bits_per_second,
        },
        Direction {
            title: format!("{} receives", escape(&report.destinations.join(", "))),
            note: "its NIC, inbound",
            capacity_bits_per_second: report.destinations.first().map_or(0.0, |host| capacity(host)),
            guests: |interval| interval.destination_inbound_bits_per_second,
        },
    ] {
        plot(body, axis, &direction, &history.traffic);
        axis.row(body);
    }
}

fn plot(body: &mut String, axis: &Axis, direction: &Direction<'_>, traffic: &[TrafficInterval]) {
    let Direction { title, note, capacity_bits_per_second, guests } = direction;
    let layers = |interval: &TrafficInterval| {
        let guests = guests(interval).unwrap_or_default().max(0.0);
        let pre_copy = guests + interval.pre_copy_bits_per_second.max(0.0);
        [guests, pre_copy, pre_copy + interval.post_copy_bits_per_second.max(0.0)]
    };
    let peak = traffic.iter().map(|interval| layers(interval)[2]).fold(*capacity_bits_per_second, f64::max);
    let top = peak.max(1.0) * 1.08;
    let y = |rate: f64| (1.0 - rate / top) * f64::from(HEIGHT);
    let x = |seconds: f64| axis.place(seconds) / 100.0 * WIDTH;
    let capacity = rate(*capacity_bits_per_second);

    add(
        body,
        format_args!(
            "<div class=\"row nic\"><div class=\"name\">{title}<small>{note}, {capacity}</small></div>\
             <svg class=\"track plot\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title} over time, against {capacity}\">"
        ),
    );
    for interval in traffic.iter().filter(|interval| guests(interval).is_none()) {
        let (from, to) = (x(interval.from_seconds), x(interval.to_seconds));
        add(
            body,
            format_args!(
                "<rect class=\"unseen\" x=\"{from:.3}\" width=\"{:.3}\" y=\"0\" height=\"{HEIGHT}\"><title>the guests' \
                 traffic was not seen</title></rect>",
                (to - from).max(0.0)
            ),
        );
    }
    // From the back to the front, so that each layer only has to say its upper edge.
    for (layer, class) in [(2, "post"), (1, "first"), (0, "guests")] {
        let mut path = String::new();
        for interval in traffic {
            let (from, to, edge) = (x(interval.from_seconds), x(interval.to_seconds), y(layers(interval)[layer]));
            add(&mut path, format_args!("M{from:.3} {HEIGHT}V{edge:.2}H{to:.3}V{HEIGHT}Z"));
        }
        add(body, format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }
    add(
        body,
        format_args!("<path class=\"capacity\" d=\"M0 {0:.2}H{WIDTH}\"/></svg></div>\n", y(*capacity_bits_per_second)),
    );
}
