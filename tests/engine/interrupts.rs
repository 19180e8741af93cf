//! Interrupts, and a reader who holds up nothing.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::scripted::{Script, Scripted};
use crate::support::{await_phase, journal, options, outcomes, plan, start};
use indicatif::{InMemoryTerm, ProgressDrawTarget};
use tsmig::domain::{Phase, Technique};
use tsmig::engine::events::{Event, Timed};
use tsmig::engine::{Control, Evacuation};
use tsmig::render::Screen;
use tsmig::render::bars::{Bars, Terminal};
use tsmig::render::feed::Feed;
use tsmig::render::printer::Printer;
use tsmig::report::{DomainOutcome, Outcome};

#[test]
fn the_first_interrupt_cancels_pre_copies_and_lets_post_copies_finish() {
    let hosts =
        Arc::new(Scripted::new(&[("post", Script::Copies), ("pre", Script::Copies), ("never", Script::Copies)]));
    let steps = [("post", Technique::PostCopy, 2), ("pre", Technique::PreCopy, 2), ("never", Technique::PreCopy, 2)];
    let (events, interrupt, thread) = start(plan(&steps), &hosts);
    await_phase(&events, "post", Phase::PostCopy);
    interrupt();
    let done = events.iter().find_map(|event| if let Event::Done(report) = event { Some(report) } else { None });
    assert_eq!(done.unwrap().domain, "pre");
    hosts.finish("post");
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Remains, DomainOutcome::Remains]);
    assert_eq!(report.outcome.exit_status(), 130);
    assert!(hosts.with("never", |domain| domain.requests.is_empty()));
}

#[test]
fn the_second_interrupt_leaves_at_once_and_names_what_is_on_its_way() {
    let hosts = Arc::new(Scripted::new(&[("post", Script::Copies)]));
    let (events, interrupt, thread) = start(plan(&[("post", Technique::PostCopy, 1)]), &hosts);
    await_phase(&events, "post", Phase::PostCopy);
    interrupt();
    interrupt();
    let report = thread.join().unwrap();
    assert_eq!(report.outcome.exit_status(), 130);
    let error = report.domains[0].error().unwrap();
    assert!(error.contains("post-copy") && error.contains("virsh domstate post"), "{error}");
}

#[test]
fn an_interrupt_before_the_first_launch_launches_nothing() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Arrives)]));
    let evacuation =
        Evacuation::new(&plan(&[("o1", Technique::PreCopy, 1)]), Vec::new(), hosts.clone(), journal(), options());
    evacuation.control().interrupt();
    let report = evacuation.run(&mut |timed| assert!(!matches!(timed.event, Event::Launch { .. }), "{timed:?}"));
    assert_eq!((report.outcome, outcomes(&report)), (Outcome::Interrupted, vec![DomainOutcome::Remains]));
    assert!(hosts.with("o1", |domain| domain.requests.is_empty()));
}

#[test]
fn a_reader_that_does_not_read_holds_up_neither_migrations_nor_interrupts() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Arrives), ("o2", Script::Copies)]));
    let steps = [("o1", Technique::PreCopy, 1), ("o2", Technique::PreCopy, 1)];
    let printer = Printer::default();
    let (reads, reader) = channel::<()>();
    printer.post(move || {
        let _ = reader.recv();
    });
    let term = InMemoryTerm::new(24, 120);
    let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
    let bars = Bars::on(target, Terminal { lines: 24, columns: 120, colors: false });
    let mut feed = Feed::by(printer.clone(), Screen::Bars(Box::new(bars)));
    let evacuation = Evacuation::new(&plan(&steps), Vec::new(), hosts, journal(), options());
    let mut interrupter = Some(evacuation.control());
    let report = evacuation.run(&mut |timed: &Timed| {
        feed.tell(timed);
        if matches!(&timed.event, Event::Progress { domain, .. } if domain == "o2") {
            interrupter.take().iter().for_each(Control::interrupt);
        }
    });
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Remains]);
    assert_eq!(term.contents(), "", "nothing was read yet");
    assert!(printer.finish(Duration::from_millis(50)) > 0, "and the end does not wait for ever");
    drop(reads);
    printer.finish(Duration::MAX);
    assert!(term.contents().contains("host-a interrupted: 1 of 2 domains at host-b"), "{}", term.contents());
}
