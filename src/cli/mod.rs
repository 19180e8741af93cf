//! The command line: arguments only, no logic. The help texts here are also the man pages.

mod checks;
pub mod commands;
pub mod resolve;
mod selection;
mod steps;

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::config::Config;
use crate::engine::Timeout;
use crate::engine::migration::OnStall;
use crate::libvirt::uri;
use crate::plan::{LEAST_BANDWIDTH, Objective};
use crate::profile::window::Window;
use crate::units::{Rate, duration, max_downtime};

/// Evacuate a KVM host over libvirt by a traffic-sensitive plan.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Read this configuration after the usual ones (/etc/tsmig/config.toml, then
    /// $XDG_CONFIG_HOME/tsmig/config.toml).
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
A HOST is a libvirt URI or a name: `[hosts.NAME] uri` of the configuration, else qemu+ssh://NAME/system. ssh \
never asks for anything: `ssh -o BatchMode=yes NAME true` has to succeed. A URI with no_tty=0 lets it ask.

Exit status: 0 all selected domains are at the destination (or the plan or profile was printed); 1 this run moved \
nothing; 2 usage or configuration; 3 some domains don't run at the destination: they remain at the source, ended by \
themselves, or an error has paused them; or nothing gets through to one that has arrived; 4 a domain is between the \
hosts or lost; 130 interrupted, and some domains remain or are between the hosts.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Profile both hosts, plan, migrate all selected domains, report.
    Evacuate(EvacuateArgs),
    /// Print the plan that evacuate would run; nothing is moved.
    Plan(PlanArgs),
    /// Finish what an interrupted evacuation left: resume failed post-copies, wait for running migrations, clean up
    /// leftovers. Running it again changes nothing.
    Recover(RecoverArgs),
    /// Move some domains to the destination and back by pre-copy, which proves post-copy for guests of their kinds: what
    /// can't be loaded there stays where it is.
    Rehearse(RehearseArgs),
    /// Print the traffic of each domain over the window.
    Profile(ProfileArgs),
    /// Check the configuration, or show what it sets.
    Config(ConfigArgs),
    /// Print a saved report again, or draw it as a page for the browser.
    Report(ReportArgs),
    /// Show what earlier runs have taught about hosts and domains, or forget it.
    Model(ModelArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct OutputArgs {
    /// Form of the result on standard output. With json, evacuate prints one event per line.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// No progress and no notices on standard error, and evacuate does not print the plan. Errors and some warnings remain.
    #[arg(long, short, global = true, num_args = 0..=1, require_equals = true, value_name = "BOOLEAN", default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct EvacuateArgs {
    /// The host to evacuate.
    #[arg(add = ArgValueCompleter::new(hosts))]
    pub source: String,
    /// The host that takes the domains.
    #[arg(add = ArgValueCompleter::new(hosts))]
    pub destination: String,
    /// Stop after the plan. The exit status is the one that the run would start with: 1 if it would refuse the plan.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Run a plan that `plan --save` wrote. The hosts are profiled and examined again; if the plan no longer holds, the
    /// changes are named and nothing moves. The options that make a plan can't be given with it.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "only", "exclude", "from_report", "offline", "technique", "pre_copy", "post_copy", "first", "last", "concurrency",
        "objective", "post_copy_limit", "trust_destination", "bandwidth", "window_limit", "max_downtime",
    ])]
    pub plan: Option<PathBuf>,
    /// Run the saved plan even if it no longer holds. If a domain of it can't move any more, --partial is needed, too.
    #[arg(long, requires = "plan")]
    pub accept_drift: bool,
    /// Run the plan even if it may take longer than --window-limit.
    #[arg(long)]
    pub accept_overrun: bool,
    /// If some domains can't be moved, move the rest. Otherwise nothing moves.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOLEAN", default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub partial: bool,
    /// Address at which the destination takes memory, for example tcp://10.1.0.2 on a separate migration network.
    #[arg(long, value_name = "URI", value_parser = uri::migration)]
    pub migration_uri: Option<String>,
    /// Cancel a migration that has not switched over after this time; auto is 800 s per started GiB of memory.
    #[arg(long, value_name = "DURATION", default_value = "auto")]
    pub timeout: Timeout,
    /// What is done about a pre-copy that does not converge, as judged from pass to pass; the default is post-copy if
    /// the planner chose pre-copy, and abort if you did. One whose kind is not proven is cancelled instead of switched,
    /// unless --trust-destination is given. auto-converge slows the guest down from the start.
    #[arg(long, value_enum)]
    pub on_stall: Option<OnStall>,
    /// Watch each domain for up to 8 s after it has arrived. If it stands still, or if nothing gets through a NIC that had
    /// steady traffic before, nothing more is launched and the status is 3.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOLEAN", default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    pub watch_arrivals: bool,
    /// Keep the planned order, concurrency and techniques; only a pre-copy that does not converge is still dealt with as --on-stall
    /// says. Without it, the domains that wait are launched in another order, or more or fewer at once, if that ends clearly sooner;
    /// and a pre-copy that the planner chose is switched to post-copy if its passes show that it takes five seconds longer and its
    /// kind is proven, but not with --on-stall, --max-downtime or --objective impact.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOLEAN", default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub no_replan: bool,
    /// Write the report to a file as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Whether it is one way of a rehearsal, which has none of the options above.
    #[arg(skip)]
    pub rehearsal: bool,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub planning: PlanningArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// The host that was evacuated.
    pub source: String,
    /// The host that takes the domains.
    pub destination: String,
    /// Where resumed memory goes, such as tcp://10.1.0.2; the default is the configuration's, else the destination's
    /// host name.
    #[arg(long, value_name = "URI", value_parser = uri::migration)]
    pub migration_uri: Option<String>,
    /// Write the report to a file as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RehearseArgs {
    /// The host that is to be evacuated some day.
    #[arg(add = ArgValueCompleter::new(hosts))]
    pub source: String,
    /// The host that is to take its domains.
    #[arg(add = ArgValueCompleter::new(hosts))]
    pub destination: String,
    /// Domains that go there and come back: names, or globs such as test-*.
    #[arg(required = true, value_name = "PATTERN")]
    pub domains: Vec<String>,
    /// Address at which the destination takes memory; as for evacuate.
    #[arg(long, value_name = "URI", value_parser = uri::migration)]
    pub migration_uri: Option<String>,
    /// How long to watch the traffic before each way.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub window: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The host to evacuate.
    #[arg(required_unless_present = "profile", add = ArgValueCompleter::new(hosts))]
    pub source: Option<String>,
    /// The host that takes the domains.
    #[arg(required_unless_present = "profile", add = ArgValueCompleter::new(hosts))]
    pub destination: Option<String>,
    /// Plan from a saved profile instead of two hosts; no libvirt is needed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "destination", "window", "interval"])]
    pub profile: Option<PathBuf>,
    /// Write the plan to a file as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub planning: PlanningArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// The hosts to profile, all at the same time. Of a source and a destination, the result is what plan --profile reads.
    #[arg(required = true, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub hosts: Vec<String>,
    /// Write the profile to a file as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration: the given file, or all that are read. Every problem that a run would find is named:
    /// values, options that exclude each other, hooks that can't run.
    Check {
        /// A file of its own, such as one that is about to be installed.
        file: Option<PathBuf>,
    },
    /// Print every setting with its value and its origin.
    Show {
        /// Options of evacuate, as if they were given: tsmig config show -- --window 10s.
        #[arg(last = true, value_name = "OPTIONS")]
        options: Vec<String>,
    },
    /// Print the names of the configured hosts, one per line.
    Hosts,
}

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    pub command: ModelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Print what is known from earlier runs.
    ///
    /// The file in which it is kept, and what the next plan takes from it: of each pair of hosts how fast memory crosses, and
    /// how many kinds of guests are proven; of each domain how much of its memory crosses, and what it writes.
    Show,
    /// Forget what earlier runs have shown.
    Forget {
        /// Domains, by their names or by patterns as of --only; what they have proven is kept.
        #[arg(value_name = "DOMAIN", required_unless_present_any = ["migrations", "all"])]
        domains: Vec<String>,
        /// Forget how all domains moved and how fast, as after a change of the network; what is proven is kept.
        #[arg(long, conflicts_with_all = ["domains", "all"])]
        migrations: bool,
        /// Forget everything, also what is proven.
        #[arg(long, conflicts_with = "domains")]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A report that evacuate --report FILE wrote.
    #[arg(value_name = "REPORT")]
    pub file: PathBuf,
    /// Write a page with a timeline of each domain and the traffic of both NICs, which needs no other file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SamplingArgs {
    /// How long to watch the traffic; auto is 30 s, or 10 s where no guest does anything.
    #[arg(long, value_name = "DURATION", default_value = "auto")]
    pub window: Window,
    /// Time between two samples.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// Capacity of the NIC that carries the migration, each way, on both hosts. Default: configured, detected, or 1Gbit.
    #[arg(long, value_name = "RATE")]
    pub link: Option<Rate>,
}

/// Chosen: what a broken link may cost without a word of the user's. The link is full with fewer.
const POST_COPY_LIMIT: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// What a plan has to keep to. A PATTERN is a domain's name, or a glob such as web-*.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlanningArgs {
    /// Move only these domains; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub only: Vec<String>,
    /// Move only what an earlier run moved, by its report (--report): brings the domains back after maintenance.
    #[arg(long, value_name = "FILE")]
    pub from_report: Option<PathBuf>,
    /// Leave these domains where they are; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Move the definitions of inactive domains, too; their disks are not copied.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOLEAN", default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub offline: bool,
    /// Move domains, too, that belong to a manager such as OpenStack Nova, oVirt or Pacemaker, which does not learn of it.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOLEAN", default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub owned: bool,
    /// One technique for all domains that no pattern below names, or auto for the best mix. post-copy and hybrid need no proof
    /// then, as with --trust-destination.
    #[arg(long, value_enum, default_value_t = TechniqueArg::Auto)]
    pub technique: TechniqueArg,
    /// These domains go by pre-copy; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub pre_copy: Vec<String>,
    /// These domains go by post-copy, though nothing may have proven that the destination can load them, as with
    /// --trust-destination; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub post_copy: Vec<String>,
    /// These domains are launched before all others, in the order given; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub first: Vec<String>,
    /// These domains are launched after all others, in the order given; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub last: Vec<String>,
    /// At most this many migrations at once, or auto for the best number.
    #[arg(long, value_name = "N", default_value = "auto", value_parser = concurrency)]
    pub concurrency: std::option::Option<NonZeroUsize>,
    /// If a pre-copy makes no headway, allow it more downtime, in steps from QEMU's 300ms up to this, before --on-stall
    /// applies. The plan counts on it.
    #[arg(long, value_name = "DURATION", value_parser = max_downtime)]
    pub max_downtime: Option<Duration>,
    /// Aim at the least total time, or at the least harm to the guests' traffic.
    #[arg(long, value_enum, default_value_t = Objective::Time)]
    pub objective: Objective,
    /// At most this many domains in post-copy at once: the number that a permanent link failure can lose.
    #[arg(long, value_name = "N", default_value_t = POST_COPY_LIMIT)]
    pub post_copy_limit: NonZeroUsize,
    /// Allow post-copy also for kinds of guests that no migration has proven the destination to load. The first of each kind
    /// goes alone until it runs there; if it can't be loaded, it is lost, and nothing more is launched.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOLEAN", default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub trust_destination: bool,
    /// Cap on all migration traffic together; at least 1MiB/s, since libvirt can't limit a migration to less.
    #[arg(long, value_name = "RATE", value_parser = bandwidth)]
    pub bandwidth: Option<Rate>,
    /// Refuse what may harm a domain, too, not only what does: hosts that differ in the bridge behind a libvirt network or in
    /// the user that QEMU runs as, and the like. Without it these are notes.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOLEAN", default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub strict: bool,
    /// Length of the maintenance window. plan says whether the most that the evacuation is expected to take fits it;
    /// evacuate moves nothing if it does not, unless --accept-overrun is given.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub window_limit: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TechniqueArg {
    /// The planner chooses per domain.
    Auto,
    /// Pre-copy for all.
    PreCopy,
    /// Post-copy for all.
    PostCopy,
    /// A pass of pre-copy, then post-copy, for all.
    Hybrid,
}

/// The configured hosts that begin so, for the shells; a configuration that can't be read offers none.
fn hosts(begun: &OsStr) -> Vec<CompletionCandidate> {
    let config = Config::load(None, &resolve::judge).unwrap_or_default();
    let fits = |name: &&String| begun.to_str().is_some_and(|begun| name.starts_with(begun));
    config.hosts.keys().filter(fits).map(CompletionCandidate::new).collect()
}

fn concurrency(text: &str) -> Result<Option<NonZeroUsize>, &'static str> {
    match text {
        "auto" => Ok(None),
        number => number.parse().map(Some).map_err(|_| "write auto, or a whole number from 1"),
    }
}

/// A cap that libvirt can keep.
fn bandwidth(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse()?;
    match rate.bits_per_second() >= LEAST_BANDWIDTH {
        true => Ok(rate),
        false => Err("libvirt can't limit a migration to less than 1MiB/s (8.39 Mbit/s)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
