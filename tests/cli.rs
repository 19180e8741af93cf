//! Command lines with their output and exit status: the cases in `tests/cmd`. They need no host: `test:///default`
//! is libvirt's own mock driver.

#[test]
fn command_lines() {
    trycmd::TestCases::new()
        .env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("XDG_STATE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"))
        .env("LC_ALL", "C.UTF-8")
        .case("tests/cmd/*.trycmd")
        .case("README.md");
}
