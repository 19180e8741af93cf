//! What a person sees in a real terminal: tsmig in tmux, with the screens kept in `tests/terminal/` (`make docs` writes
//! them anew), and the completions in the shells themselves.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

#[path = "support/terminal.rs"]
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use console::Term;
use indicatif::ProgressDrawTarget;
use terminal::Terminal;
use tsmig::domain::{Phase, Technique};
use tsmig::engine::events::{Event, Timed};
use tsmig::engine::migration::Progress;
use tsmig::render::Screen;
use tsmig::render::bars::{self, Bars};
use tsmig::report::Job;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The search path with the tsmig that was built.
fn search_path() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_tsmig")).parent().unwrap();
    format!("{}:{}", program.display(), std::env::var("PATH").unwrap())
}

/// A configuration with some hosts; written once, since the tests run side by side.
static CONFIGURATION: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("terminal");
    fs::create_dir_all(directory.join("tsmig")).unwrap();
    fs::write(directory.join("tsmig/config.toml"), "[hosts.host-a]\n[hosts.host-b]\n[hosts.other]").unwrap();
    directory
});

fn in_environment(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path()).env("XDG_CONFIG_HOME", &*CONFIGURATION).env("LC_ALL", "C.UTF-8");
    command.env_remove("NO_COLOR").current_dir(root());
    command
}

fn tmux() -> Command {
    in_environment("tmux")
}

const DONE: &str = "-- done --";

/// What a command line of tsmig shows on a terminal, and the same with its colours as escape sequences.
fn shown(name: &str, columns: u16, command: &str) -> (String, String) {
    let terminal = Terminal::new(name, columns, tmux, &format!("{command}; echo '{DONE}'; exec cat"));
    let screen = terminal.showing(|screen| screen.contains(DONE));
    let colored = terminal.tmux(&["capture-pane", "-p", "-e"]);
    let until = |text: String| text.split(DONE).next().unwrap().trim_end().to_owned() + "\n";
    (until(screen), until(colored))
}

/// Compares with the kept screen, or keeps it where asked to.
fn check(name: &str, screen: &str) {
    let path = root().join("tests/terminal").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, screen).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == screen, "{} is another; look at this one, and `make docs` keeps it:\n{screen}", path.display());
}

fn output(command: &mut Command) -> (Output, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

#[test]
fn a_plan_fits_terminals_of_80_and_200_columns() {
    for (name, columns) in [("plan-80", 80), ("plan-200", 200)] {
        let (screen, _) = shown(name, columns, "tsmig plan --profile examples/profiles/mixed-ten.json");
        assert!(screen.lines().all(|line| line.chars().count() <= columns.into()), "{screen}");
        check(name, &screen);
    }
}

#[test]
fn a_plan_of_forty_domains_is_a_line_for_each_in_its_table() {
    let (screen, _) = shown("plan-forty", 80, "tsmig plan --profile examples/profiles/datacenter-40.json | head -45");
    check("plan-forty", &screen);
}

/// Forty domains in flight at once, drawn on a terminal in tmux, without colour; the screen when all have been drawn.
fn forty_in_flight(columns: u16) -> String {
    let name = format!("evacuate-forty-{columns}");
    let terminal = Terminal::new(&name, columns, tmux, "exec cat");
    terminal.tmux(&["resize-window", "-x", &columns.to_string(), "-y", "24"]);
    let tty = terminal.tmux(&["display-message", "-p", "#{pane_tty}"]);
    let open = || fs::OpenOptions::new().read(true).write(true).open(tty.trim()).unwrap();
    let target = ProgressDrawTarget::term(Term::read_write_pair(open(), open()), u8::MAX);
    let bars = Bars::on(target, bars::Terminal { lines: 24, columns, colors: false });
    let mut screen = Screen::Bars(Box::new(bars));
    let mut draw = |event| screen.draw(&Timed { elapsed_seconds: 0.0, event });
    let domains: Vec<String> = (1..=40).map(|i| format!("guest-{i:02}")).collect();
    draw(Event::Start {
        job: Job::Evacuate,
        source: "host-a".to_owned(),
        destinations: vec!["host-b".to_owned()],
        domains: domains.clone(),
        predicted_seconds: Some(39.0),
    });
    for domain in &domains {
        draw(Event::Launch { domain: domain.clone(), destination: "host-b".to_owned(), technique: Technique::PreCopy });
        draw(Event::Phase { domain: domain.clone(), phase: Phase::PreCopy });
    }
    let progress = Progress { percent: 40, pass: 1, transferred: 60 << 20, remaining: 55 << 20, ..Progress::default() };
    terminal.showing(|shown| {
        // Again and again: a draw too soon after another is left out.
        domains.iter().for_each(|domain| draw(Event::Progress { domain: domain.clone(), progress }));
        shown.matches(" 40 %").count() == 22
    })
}

#[test]
fn forty_migrations_at_once_fit_terminals_of_24_lines() {
    for columns in [80, 200] {
        let screen = forty_in_flight(columns);
        let lines: Vec<_> = screen.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 22, "{screen}");
        assert!(lines[0].starts_with("guest-01 [") && lines[19].starts_with("guest-20 ["), "in launch order: {screen}");
        assert!(lines[20].starts_with("others   [") && lines[20].ends_with("20 more on their way"), "{screen}");
        assert!(lines[21].ends_with("0 of 40 moved, 0 waiting"), "{screen}");
    }
}

#[test]
fn colour_is_for_what_went_wrong_and_no_color_turns_it_off() {
    let plan = "tsmig plan --profile examples/profiles/mixed-ten.json";
    let (screen, colored) = shown("colors", 80, plan);
    assert!(colored.contains("\u{1b}[31m"), "what is refused is red: {colored}");
    let (plain, bare) = shown("no-color", 80, &format!("NO_COLOR=1 {plan}"));
    assert!(!bare.contains('\u{1b}'), "{bare}");
    assert_eq!(screen, plain, "colour says nothing that words do not");
}

#[test]
fn what_is_no_terminal_gets_whole_lines_and_no_colour() {
    let (_, text) = output(in_environment("tsmig").args(["plan", "--profile", "examples/profiles/mixed-ten.json"]));
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.lines().any(|line| line.chars().count() > 100), "sentences are not wrapped: {text}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for arguments in [
        "plan --profile examples/profiles/datacenter-40.json",
        "plan --profile examples/profiles/datacenter-40.json --output json",
        "report examples/reports/balanced.json",
        "config show",
        "evacuate --help",
    ] {
        // `head -c 0` reads nothing at all, so that even the first line finds nobody.
        for reader in ["head -1", "head -c 0"] {
            let script = format!("set -o pipefail; tsmig {arguments} | {reader}");
            let (output, _) = output(in_environment("bash").args(["-c", &script]));
            let problems = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && problems.is_empty(), "{script}: {}: {problems}", output.status);
        }
    }
}

#[test]
fn zsh_completes_hosts_and_options() {
    let completions = root().join("completions");
    let terminal = Terminal::new("zsh", 80, tmux, "zsh -f -i");
    let set_up = format!(
        "PROMPT='> '; fpath=({} $fpath); autoload -Uz compinit && compinit -u -D && echo rea''dy",
        completions.display()
    );
    terminal.tmux(&["send-keys", "-l", &set_up]);
    terminal.tmux(&["send-keys", "Enter"]);
    terminal.showing(|screen| screen.contains("\nready"));
    // The first completion is the one that loads the function.
    for (typed, completed) in [
        ("tsmig evacuate oth", "> tsmig evacuate other"),
        ("tsmig evacuate host-a --conc", "> tsmig evacuate host-a --concurrency"),
        ("tsmig evacuate ho", "> tsmig evacuate host-"),
    ] {
        // ^U empties the line.
        terminal.tmux(&["send-keys", "C-u"]);
        terminal.tmux(&["send-keys", "-l", typed]);
        terminal.showing(|screen| screen.contains(typed));
        terminal.tmux(&["send-keys", "Tab"]);
        terminal.showing(|screen| screen.contains(completed));
    }
    // Where there are several, the next one lists them.
    terminal.tmux(&["send-keys", "Tab"]);
    terminal.showing(|screen| screen.contains("\nhost-a  host-b"));
}

#[test]
fn fish_completes_hosts_and_options() {
    let complete = |typed: &str| {
        let script = "source completions/tsmig.fish; complete --do-complete $argv[1]";
        let (output, text) = output(in_environment("fish").args(["--no-config", "-c", script, typed]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete("tsmig evacuate host"), ["host-a", "host-b"]);
    assert_eq!(complete("tsmig evacuate host-a oth"), ["other"]);
    assert_eq!(complete("tsmig evacuate --conc"), ["--concurrency"]);
    assert_eq!(complete("tsmig plan --objective i"), ["impact"]);
}
