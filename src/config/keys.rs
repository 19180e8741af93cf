//! The keys of a configuration file and what they mean: the one definition that the reader, the manual and the tests
//! share. What a key of `[defaults]` means is told by the option of its name.

/// A key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it holds, with an example of it as TOML.
    pub value: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// The sections at the top of a file.
pub const SECTIONS: [&str; 4] = ["hosts", "defaults", "domains", "hooks"];

/// `[hosts.NAME]`.
pub const HOSTS: [Key; 9] = [
    Key { name: "uri", value: "URI", about: "Its libvirt URI; without it, qemu+ssh://NAME/system." },
    Key {
        name: "migration_uri",
        value: "URI",
        about: "Where it takes migrated memory in, for example tcp://10.1.0.2; --migration-uri beats it.",
    },
    Key {
        name: "link",
        value: "RATE",
        about: "Capacity of its NIC each way; beats the link of [defaults], and --link beats it.",
    },
    Key {
        name: "memory",
        value: "SIZE",
        about: "Memory that its guests may have as a destination, all together, for example 240GiB. Without it, what the \
                host says is available.",
    },
    Key {
        name: "memory_reserve",
        value: "SIZE",
        about: "Memory that stays free for the host itself. Without it, what Linux gives to no process: four times the \
                square root of its memory, both in KiB, which is 64 MiB of 256 GiB; nothing where memory is given, or \
                where libvirt says what is available.",
    },
    Key {
        name: "shell",
        value: "BOOLEAN",
        about: "If false, tsmig runs nothing in its shell. Otherwise, on a host that is reached by ssh or is this machine, tsmig \
                runs scripts of sh there that only read what libvirt can't tell, such as its addresses.",
    },
    Key {
        name: "migration_port",
        value: "DEVICE",
        about: "The NIC or bond that migrations cross. Without it, the one that the host's route leads to, if its shell tells \
                that; else one is assumed, and all traffic of guests that leaves the host counts as in the migrations' way.",
    },
    Key {
        name: "ports",
        value: "{ DEVICE = RATE, ... }",
        about: "What its NICs and bonds carry each way; beats what is detected.",
    },
    Key {
        name: "bridges",
        value: "{ DEVICE = DEVICE, ... }",
        about: "The NIC or bond that each bridge leads to, or \"none\" if its traffic stays within the host; beats what is \
                detected.",
    },
];

/// `[[domains]]`.
pub const DOMAINS: [Key; 6] = [
    Key { name: "match", value: "PATTERN", about: "The domains it is about: a name, or a glob such as web-*. Needed." },
    Key {
        name: "technique",
        value: "TECHNIQUE",
        about: "pre-copy, post-copy, hybrid (a pass of pre-copy, then post-copy), or auto for the planner's choice. \
                post-copy and hybrid need no proof then, as with --trust-destination. It beats the technique of \
                [defaults]; --technique, --pre-copy and --post-copy beat it.",
    },
    Key {
        name: "order",
        value: "ORDER",
        about: "first to launch it before all others, last for after them, any for the planner's choice; --first and \
                --last beat it.",
    },
    Key { name: "keep", value: "BOOLEAN", about: "true leaves it where it is; --only that matches it beats that." },
    Key {
        name: "timeout",
        value: "DURATION",
        about: "As --timeout, which beats it; it beats the timeout of [defaults].",
    },
    Key {
        name: "max_downtime",
        value: "DURATION",
        about: "As --max-downtime, which beats it; it beats the max-downtime of [defaults].",
    },
];

/// `[hooks]`.
pub const HOOKS: [Key; 5] = [
    Key {
        name: "before-run",
        value: "COMMAND",
        about: "Runs once the plan is made and checked, before anything moves. Where it fails, nothing is moved and \
                the exit status is 1. An interrupt ends it, with all that it started: then the status is 130.",
    },
    Key {
        name: "after-run",
        value: "COMMAND",
        about: "Runs at the end, whatever the outcome, and also where the hook before the run failed or was interrupted; \
                not where a run ends before that, such as one whose plan is refused. The second interrupt while it runs \
                ends it; the exit status stays that of the run.",
    },
    Key {
        name: "before-domain",
        value: "COMMAND",
        about: "Runs before each domain's migration. Where it fails, that domain remains at the source and is named; \
                the others go on. An interrupt ends it.",
    },
    Key {
        name: "after-domain",
        value: "COMMAND",
        about: "Runs after each domain that was to be launched, whatever became of it, also where the hook before it \
                failed. The migrations of others go on meanwhile.",
    },
    Key {
        name: "timeout",
        value: "DURATION",
        about: "How long each hook may take, 1min where it is not given; then it is killed with all that it started, \
                and has failed.",
    },
];

/// `[defaults]`: the options that have a default there, by their long names.
pub const DEFAULTS: [&str; 21] = [
    "bandwidth",
    "concurrency",
    "interval",
    "link",
    "max-downtime",
    "no-replan",
    "objective",
    "offline",
    "on-stall",
    "output",
    "owned",
    "partial",
    "post-copy-limit",
    "quiet",
    "strict",
    "technique",
    "timeout",
    "trust-destination",
    "watch-arrivals",
    "window",
    "window-limit",
];

/// Options that have no key in `[defaults]`, each with the reason.
pub const OPTIONS_ONLY: &[(&str, &str)] = &[
    ("accept-drift", "it is said of one run"),
    ("accept-overrun", "it is said of one run"),
    ("config", "it names the configuration"),
    ("dry-run", "it is said of one run"),
    ("exclude", "`keep` in [[domains]]"),
    ("first", "`order` in [[domains]]"),
    ("from-report", "it is said of one run"),
    ("help", "it is no setting"),
    ("last", "`order` in [[domains]]"),
    ("migration-uri", "`migration_uri` in [hosts.NAME]"),
    ("only", "it is said of one run"),
    ("plan", "it is said of one run"),
    ("post-copy", "`technique` in [[domains]]"),
    ("pre-copy", "`technique` in [[domains]]"),
    ("profile", "it is said of one run"),
    ("report", "a file for each run"),
    ("save", "a file for each run"),
    ("version", "it is no setting"),
];

/// `; did you mean ...?` if `given` is close to a known name, and all the known ones if it is not.
pub(super) fn nearest(given: &str, known: &[&str]) -> String {
    let similarity =
        |name: &str| strsim::normalized_damerau_levenshtein(&given.replace('_', "-"), &name.replace('_', "-"));
    let best = known.iter().map(|name| (similarity(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        // Two letters of four changed or swapped are still the same word misspelt.
        Some((similarity, name)) if similarity >= 0.5 => format!("did you mean `{name}`?"),
        _ => format!("known are {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(nearest("lnik", &["uri", "link"]), "did you mean `link`?");
        assert_eq!(nearest("post_copy_limit", &["post-copy-limit", "window"]), "did you mean `post-copy-limit`?");
        assert_eq!(nearest("colour", &["uri", "link"]), "known are `uri`, `link`");
    }
}
