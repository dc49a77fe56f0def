//! Tests of `[projects]`.

use super::{check, said};
use crate::support::config_fixture::ConfigFixture;

#[test]
fn groups_of_projects_have_names_and_gids_of_their_own() {
    let said = said(&ConfigFixture::new());
    let want = "projects     of UCloud's have the members whom an administrator admits; UCloud removes 7 an hour of each, \
                and 70 of all; /usr/bin/printf makes groups of them, from p-1 on, with gids from 80000 to 80999";
    assert!(said.contains(want), "{said}");
    let prefix = "projects.prefix: has 1 to 16 lower-case letters, digits, '-' or '_', begins with a letter and does not \
                  end with a digit: a project's number follows it";
    for bad in ["", "P-", "7-", "p/", "p1"] {
        check("prefix = \"p-\"", &format!("prefix = \"{bad}\""), prefix);
    }
    let gids = "projects.gids: is the first gid and the last, from 1000 upward: [70000, 79999]";
    for bad in ["[]", "[80000]", "[80000, 79999]", "[999, 80999]", "[0, 4294967296]", "[1000, 2000, 3000]"] {
        check("gids = [80000, 80999]", &format!("gids = {bad}"), gids);
    }
    let missing = "projects.gids: is missing: the first and the last gid of groups of projects, such as [70000, 79999]";
    check("gids = [80000, 80999]\n", "", missing);
}

#[test]
fn the_program_for_groups_is_one_that_no_other_account_can_have_written() {
    check("/usr/bin/printf", "printf", "projects.command[0]: has to begin with the absolute path of a program");
    let site = ConfigFixture::new();
    let program = site.path("core.pem").display().to_string();
    site.chmod("core.pem", 0o775);
    site.flip("/usr/bin/printf", &program);
    let want = "projects.command[0]: core.pem has mode 0775: others can write it; chmod go-w core.pem";
    assert!(site.placeless().contains(&want.to_owned()), "{:?}", site.placeless());
    // Without a program there are no groups, and nothing says how they would be.
    let site = ConfigFixture::new();
    site.flip("command = [\"/usr/bin/printf\", \"x\"]\n", "");
    let idle = |key: &str| {
        format!("projects.{key}: means nothing unless projects.command names a program that makes the groups")
    };
    assert_eq!(site.placeless(), [idle("prefix"), idle("gids")]);
}
