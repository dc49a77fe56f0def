//! Tests of `[slurm]`, and of the keys of products that say how jobs are submitted.

use std::fs;

use super::{NAME, check, check_file, said};
use crate::support::config_fixture::{ConfigFixture, GOOD};

#[test]
fn jobs_are_started_only_where_the_configuration_says_how() {
    let drive = "slurm.drive: is none of the drives without {group} and {name}: each user has one folder for jobs";
    check("drive = \"home\"", "drive = \"attic\"", drive);
    let scratch = "id = \"scratch\"\npath = \"/scratch\"";
    for made in ["id = \"g-{group}\"\npath = \"/{group}\"", "id = \"own-{name}\"\npath = \"~/Drives/{name}\""] {
        let id = made.split('"').nth(1).unwrap();
        let site = ConfigFixture::new();
        let text = GOOD.replacen(scratch, made, 1).replacen("drive = \"home\"", &format!("drive = \"{id}\""), 1);
        site.write("config.toml", &text, 0o644);
        assert_eq!(site.placeless(), [drive]);
    }
    check(
        "drive = \"home\"\n",
        "",
        "slurm.drive: is missing: the id of the drive that holds job folders, such as \"home\"",
    );
    for folder in ["", "..", "a/b", "/jobs", "-jobs"] {
        let bad = format!("job_folder = \"{folder}\"");
        check("job_folder = \"jobs\"", &bad, &format!("slurm.job_folder: {NAME}"));
    }
    check("commands = \"/bin\"", "commands = \"bin\"", "slurm.commands: has to be an absolute path");
    check("config = \"/etc/slurm-b", "config = \"slurm-b", "slurm.config: has to be an absolute path");
    check("poll_s = 7", "poll_s = 0", "slurm.poll_s: is not between 1 and 600");
    let gone = "slurm.readme: cannot open none.markdown: No such file or directory (os error 2)";
    check("readme = \"readme.markdown\"", "readme = \"none.markdown\"", gone);
    let long = "x".repeat(16 * 1024 + 1);
    check_file(
        |site| site.write("readme.markdown", &long, 0o644),
        "slurm.readme: readme.markdown is longer than 16384 bytes",
    );
    check("time_max_h = 48", "time_max_h = 0", "slurm.time_max_h: is not between 1 and 8760");
    for (key, value) in [("partition", "standard"), ("qos", "day"), ("account", "shared"), ("constraint", "avx512")] {
        for bad in ["-x", "a b", "a,b", "", "a\\nb", "a=b"] {
            check(
                &format!("{key} = \"{value}\""),
                &format!("{key} = \"{bad}\""),
                &format!("products[1].{key}: {NAME}"),
            );
        }
    }
}

#[test]
fn web_interfaces_have_hosts_of_their_own() {
    let web = |prefix: &str, suffix: &str| format!("web = {{ prefix = \"{prefix}\", suffix = \"{suffix}\" }}");
    let good = web("app-", ".apps.example.org");
    let form = "gateway.web: prefix and suffix are of lower-case letters, digits and hyphens, the prefix has at most 24, \
                and the suffix has a dot: \"app-\" and \".apps.example.org\"";
    for (prefix, suffix) in [("App-", ".example.org"), ("app.", ".example.org"), ("app-", "example"), ("app-", "..org")]
    {
        check(&good, &web(prefix, suffix), form);
    }
    let taken =
        "gateway.web: the host of provider.origin or core.origin has this form: choose another prefix or suffix";
    for suffix in [".example.org", ".sdu.dk", "c.example.org"] {
        check(&good, &web("", suffix), taken);
    }
    check(
        &good,
        "web = { prefix = \"app-\" }",
        "gateway.web.suffix: is missing: what follows the job in the host names \
        of web interfaces, such as \".apps.example.org\"",
    );
    check("relay = \"/opt", "relay = \"opt", "slurm.relay: has to be an absolute path");
}

#[test]
fn j07_public_links_have_hosts_of_no_interface_and_not_the_providers() {
    let links = |prefix: &str, suffix: &str| format!("links = {{ prefix = \"{prefix}\", suffix = \"{suffix}\" }}");
    let good = links("link-", ".links.example.org");
    let form = "gateway.links: prefix and suffix are of lower-case letters, digits and hyphens, the prefix has at most \
                24, and the suffix has a dot: \"app-\" and \".apps.example.org\"";
    check(&good, &links("Link-", ".links.example.org"), form);
    let taken =
        "gateway.links: the host of provider.origin or core.origin has this form: choose another prefix or suffix";
    for suffix in [".example.org", ".sdu.dk", "c.example.org"] {
        check(&good, &links("", suffix), taken);
    }
    let interfaces = "gateway.links: a host name could be of a public link and of a web interface: choose another \
                      prefix or suffix";
    for prefix in ["", "app-", "a", "app-link-"] {
        check(&good, &links(prefix, ".apps.example.org"), interfaces);
    }
    check(
        &good,
        "links = { prefix = \"link-\" }",
        "gateway.links.suffix: is missing: what follows the name in the host names of public links, such as \
         \".links.example.org\"",
    );
}

#[test]
fn a_partition_means_something_only_with_slurm_and_a_machine() {
    let site = ConfigFixture::new();
    let (before, rest) = GOOD.split_once("[slurm]").unwrap();
    let (_, after) = rest.split_once("[ssh]").unwrap();
    site.write("config.toml", &format!("{before}[ssh]{after}"), 0o644);
    let want = "products[1]: means nothing unless there is a table [slurm]";
    assert_eq!(site.placeless(), [want; 4]);
    check(
        "name = \"disk\"",
        "name = \"disk\"\npartition = \"fast\"",
        "products[0]: means nothing unless the product's type is \"compute\"",
    );
}

#[test]
fn programs_that_users_run_are_not_replaced_by_others() {
    let site = ConfigFixture::new();
    fs::create_dir(site.path("slurm")).unwrap();
    site.chmod("slurm", 0o777);
    let commands = site.path("slurm");
    site.flip("commands = \"/bin\"", &format!("commands = {commands:?}"));
    assert_eq!(site.problems().len(), 1);
    site.chmod("slurm", 0o755);
    assert!(
        said(&site).contains("has no sbatch, squeue, sacct, scancel, srun, scontrol, sinfo: no job can be started")
    );
}

#[test]
fn usage_is_reported_only_where_the_configuration_says_so() {
    check("every_s = 120", "every_s = 0", "accounting.every_s: is not between 1 and 86400");
    check(
        "storage_command = [\"/usr/bin/cat\", \"-\"]",
        "storage_command = [\"printf\"]",
        "accounting.storage_command[0]: has to begin with the absolute path of a program",
    );
    let max = "accounting.job_max: is not between 1 and 1000000000000000";
    check("job_max = 100000", "job_max = 0", max);
    let site = ConfigFixture::new();
    assert!(
        said(&site).contains("usage        of jobs is reported to UCloud every 120 s, as Slurm's accounting has it")
    );
    assert!(said(&site).contains("; more than 100000 units of one job are held back"));
    site.flip("[accounting]\nevery_s = 120\njob_max = 100000\nstorage_command = [\"/usr/bin/cat\", \"-\"]\n", "");
    assert!(said(&site).contains("usage        is not reported to UCloud: there is no [accounting]"));
}
