#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

#[test]
fn the_command_line_is_defined_without_contradictions() {
    Args::command().debug_assert();
}

#[test]
fn the_configuration_is_accepted_before_and_after_the_subcommand() {
    for line in [["portsplit", "-c", "x.toml", "check"], ["portsplit", "check", "--config", "x.toml"]] {
        let args = Args::try_parse_from(line).unwrap();
        assert_eq!(args.config.as_deref(), Some(Path::new("x.toml")), "{line:?}");
    }
}

#[test]
fn every_command_shows_examples_in_its_help() {
    let mut program = Args::command();
    program.build();
    let commands: Vec<clap::Command> = program.get_subcommands().filter(|c| c.get_name() != "help").cloned().collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for mut command in commands.into_iter().chain([Args::command()]) {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Examples:\n  "), "{help}");
    }
}
