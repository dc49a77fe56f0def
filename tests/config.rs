//! Tests of the configuration: each rule is broken once, and the exact message is expected.

mod jobs;
mod projects;
mod watching;

use std::fs;

use crate::support::config_fixture::{ConfigFixture, GOOD};

/// The message about an invalid origin.
const ORIGIN: &str = "an origin is https://host[:port], in lower case, without a default port, path or trailing slash \
                      (http only for a loop-back address)";

/// The message about an invalid name of a drive or product.
const NAME: &str = "is not 1 to 64 letters, digits, '.', '-' or '_', beginning with a letter or digit";

/// Changes the text once and expects one problem.
fn check(find: &str, replace: &str, want: &str) {
    let site = ConfigFixture::new();
    site.flip(find, replace);
    assert_eq!(site.placeless(), [want], "{replace:?} for {find:?}");
}

/// Changes one file and expects one problem.
fn check_file(flip: impl FnOnce(&ConfigFixture), want: &str) {
    let site = ConfigFixture::new();
    flip(&site);
    assert_eq!(site.placeless(), [want]);
}

/// The output for a valid configuration.
fn said(site: &ConfigFixture) -> String {
    let output = site.check_config(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_good_configuration_says_what_it_would_do() {
    let said = said(&ConfigFixture::new());
    for want in [
        "config.toml is good.",
        "provider     hpc, reached at https://hpc.example.org; intents are for this origin alone",
        "Core         https://cloud.sdu.dk: the only foreign origin that browsers may use",
        "Core's key   SHA256:",
        "listens      on 0.0.0.0:443 and [::1]:8889, with the certificate ",
        "limits       bodies of 512 KiB, 100 connections, 3 threads",
        "sandbox      of the gateway: as far as this kernel supports it",
        "gateway      is started by the service manager, and fetches its sockets at ",
        "intents      live at most 30 s, may be 2 s ahead of our clock; a request waits 500 ms for a deposited one",
        "version 1    is accepted from keys added for it; it binds no parameters",
        "passkeys     are needed by files.trash",
        "keys         live 90 days",
        "sessions     are opened with the token alone",
        "connections  begin only here, with countersign connect start",
        "their time   ends 30 days after their approval, which may be repeated",
        "users        become the account that /usr/bin/true says",
        "instances    are started with sudo for accounts from uid 2000 upward, on loop-back ports from 42000 upward",
        "idle         instances stop after 10 minutes",
        "maintenance  is on: only alice#1234, bob#5678 are served",
        "drive        home is the user's home",
        "drive        scratch is /scratch",
        "product      disk of storage (storage, 1 GB): registered at UCloud when the server starts",
        "jobs         are started on Slurm with the programs in /bin, in jobs of the drive home, for 48 h at most; looked up every 7 s; extended and suspended by the server's account; users choose the account at Slurm and modules; those begun without UCloud are shown there",
        "SSH keys     that users give UCloud, and sign, are written into their ~/.ssh/authorized_keys",
        "terminals    are not offered",
        "applications that jobs may run: workflows whose script the user signs",
        "- port 443 needs CAP_NET_BIND_SERVICE",
        "- gateway.sandbox is not \"required\"",
        "- intent.accept_v1:",
        "seals        are not offered: the gateway can read and change sessions",
        "/run/metrics.sock, with the mode 0600",
        "- sessions.proof is off",
        "- sessions.sealed is off",
        "- maintenance.enabled",
    ] {
        assert!(said.contains(want), "{want:?} in\n{said}");
    }
    assert!(!said.contains("0123456789abcdef"), "the refresh token is in\n{said}");
}

#[test]
fn programs_can_read_what_it_would_do() {
    let output = ConfigFixture::new().check_config(&["--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["does"][0]["subject"], "provider");
    assert!(said["remarks"].as_array().is_some_and(|remarks| !remarks.is_empty()), "{said}");
}

#[test]
fn the_shortest_good_configuration_is_short() {
    let site = ConfigFixture::new();
    let shortest = "provider = { id = 'hpc', origin = 'http://127.0.0.1:8889' }\n\
        core = { origin = 'http://localhost:8080', public_key = 'core.pem' }\n\
        gateway.listen = ['127.0.0.1:8889']\nipc.directory = 'run'\nstate.directory = 'state'\n";
    site.write("config.toml", shortest, 0o644);
    let said = said(&site);
    for want in [
        "without TLS, for this machine only",
        "bodies of 8 MiB, 4096 connections, 2 threads",
        "live at most 60 s, may be 5 s ahead of our clock; a request waits 1500 ms",
        "version 1    is refused",
        "keys         live 180 days",
        "sessions     are opened with the token and an intent",
        "connections  begin at UCloud or here",
        "from uid 1000 upward, on Unix sockets",
        "instances stop after 30 minutes",
    ] {
        assert!(said.contains(want), "{want:?} in\n{said}");
    }
}

#[test]
fn an_empty_configuration_fails_closed_and_names_what_is_missing() {
    let site = ConfigFixture::new();
    site.write("config.toml", "ipc.directory = 'run'\nstate.directory = 'state'\n", 0o644);
    assert_eq!(
        site.problems(),
        [
            "config.toml: provider.id: is missing: the id that UCloud knows this provider by, such as \"hpc\"",
            "config.toml: provider.origin: is missing: how browsers and Core reach this provider, such as \"https://hpc.example.org\"",
            "config.toml: core.origin: is missing: UCloud's own origin, such as \"https://cloud.sdu.dk\"",
            "config.toml: core.public_key: is missing: the file with the key that Core's tokens are verified with",
            "config.toml: gateway.listen: is missing: the addresses to listen on, such as [\"0.0.0.0:8889\"]",
        ]
    );
}

#[test]
fn all_problems_are_listed_at_once_in_the_order_of_the_file() {
    let site = ConfigFixture::new();
    let text = GOOD
        .replacen("id = \"hpc\"", "id = \"h p c\"\ncolour = \"red\"", 1)
        .replacen("threads = 3", "threads = \"3\"", 1)
        .replacen("path = \"/scratch\"", "path = \"scratch\"\nquota = 1", 1);
    site.write("config.toml", &text, 0o644);
    assert_eq!(
        site.problems(),
        [
            "config.toml:3:6: provider.id: a provider id is 1 to 64 letters, digits, '-' or '_'",
            "config.toml:4:1: provider.colour: unknown key, expected one of `id`, `origin`, `title`, `logo`, `contact`",
            "config.toml:17:11: gateway.threads: invalid type: string \"3\", expected a whole number",
            "config.toml:54:8: drives[1].path: has to be \"~\", or begin with \"~/\" or \"/\", without \"..\"",
            "config.toml:55:1: drives[1].quota: unknown key, expected one of `id`, `path`, `title`, `product`",
        ]
    );
}

#[test]
fn drives_of_groups_have_the_group_in_both() {
    let scratch = "id = \"scratch\"\npath = \"/scratch\"";
    check(
        scratch,
        "id = \"work-{group}\"\npath = \"/work\"",
        "drives[1].path: has to have {group} in it if the drive's id has, and only then",
    );
    check(
        scratch,
        "id = \"work\"\npath = \"/projects/{group}\"",
        "drives[1].path: has to have {group} in it if the drive's id has, and only then",
    );
    let name = format!("drives[1].id: {NAME}");
    for id in ["{group}-{group}", "a/{group}", "-{group}", "{groups}"] {
        check(scratch, &format!("id = \"{id}\"\npath = \"/projects/{{group}}\""), &name);
    }
    let made =
        "drives[1].path: has to be \"~/FOLDER/{name}\" if the drive's id has {name} in it, and has no {name} otherwise";
    for path in ["~/Drives", "~/{name}", "~/{name}/{name}", "~/Drives/{name}/x", "~/Drives/x{name}", "/drives/{name}"] {
        check(scratch, &format!("id = \"own-{{name}}\"\npath = \"{path}\""), made);
    }
    check(scratch, "id = \"own\"\npath = \"~/Drives/{name}\"", made);
    check(scratch, "id = \"{group}-{name}\"\npath = \"~/Drives/{name}\"", &name);
    let twice = "id = \"a-{name}\"\npath = \"~/A/{name}\"\n[[drives]]\nid = \"b-{name}\"\npath = \"~/B/{name}\"";
    check(scratch, twice, "drives[2].id: appears twice");
    let site = ConfigFixture::new();
    site.flip(
        scratch,
        "id = \"work-{group}\"\npath = \"/projects/{group}/x\"\ntitle = \"Work: {group}\"\nproduct = \"disk\"",
    );
    let said = said(&site);
    assert!(
        said.contains("drive        work-{group} is /projects/{group}/x, for each group that a user is in"),
        "{said}"
    );
    check(
        scratch,
        &format!("{scratch}\nproduct = \"tape\""),
        "drives[1].product: is none of the products of type \"storage\"",
    );
    check(
        scratch,
        &format!("{scratch}\ntitle = \"\""),
        "drives[1].title: is not 1 to 128 bytes without control characters",
    );
}

#[test]
fn the_audit_log_is_kept_as_it_says() {
    let audit = |keys: &str| format!("[audit]\n{keys}\n\n[state]");
    let says = |keys: &str, want: &str| {
        let site = ConfigFixture::new();
        site.flip("[state]", &audit(keys));
        let said = said(&site);
        assert!(said.contains(want), "{want:?} in\n{said}");
    };
    says(
        "",
        "audit log    names users, is kept 365 days, each log at most 1/4 of the file system; no copy of its checkpoints is kept elsewhere",
    );
    says(
        "keep_days = 0\nkeep_gib = 5\npseudonyms = true\nwitness_syslog = true\nwitness_url = \"https://w.example.org/a?b\"",
        "audit log    has pseudonyms for users, is kept for ever, at most 5 GiB each; every 60 s a checkpoint goes to the system's log and https://w.example.org/a?b",
    );
    check("[state]", &audit("keep_days = -1"), "audit.keep_days: is not between 0 and 36500");
    check("[state]", &audit("segment_max = \"1 GiB\""), "audit.segment_max: is not between 1 KiB and 64 MiB");
    check("[state]", &audit("witness_every_s = 0"), "audit.witness_every_s: is not between 1 and 86400");
    let url = "has to be an origin and a path, in printable ASCII, without a fragment";
    for (bad, want) in [
        ("http://w.example.org/", ORIGIN),
        ("w.example.org", ORIGIN),
        ("https://w.example.org/a b", url),
        ("https://w.example.org/#a", url),
    ] {
        check("[state]", &audit(&format!("witness_url = \"{bad}\"")), &format!("audit.witness_url: {want}"));
    }
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_place() {
    check("[provider]", "[provider", "unclosed table, expected `]`");
    check("threads = 3", "threads = 3\nthreads = 4", "duplicate key");
    check_file(|site| fs::write(site.path("config.toml"), b"\xff").unwrap(), "config.toml is not text");
}

#[test]
fn names_and_origins_have_one_spelling() {
    check("id = \"hpc\"", "id = \"\"", "provider.id: a provider id is 1 to 64 letters, digits, '-' or '_'");
    for bad in ["http://hpc.example.org", "https://hpc.example.org/", "https://HPC.example.org", "hpc.example.org"] {
        check("https://hpc.example.org", bad, &format!("provider.origin: {ORIGIN}"));
    }
    for bad in ["http://cloud.sdu.dk", "https://cloud.sdu.dk:443", "*", "null"] {
        check("https://cloud.sdu.dk", bad, &format!("core.origin: {ORIGIN}"));
    }
}

#[test]
fn r03_no_provider_has_the_name_of_a_file_that_instances_keep() {
    for id in ["drives", "unfinished"] {
        check(
            "id = \"hpc\"",
            &format!("id = \"{id}\""),
            "provider.id: cannot be \"drives\" or \"unfinished\": instances keep files of these names in \
             ~/.local/state/countersign. Choose another id",
        );
    }
    for id in ["Drives", "unfinished2"] {
        let site = ConfigFixture::new();
        site.flip("id = \"hpc\"", &format!("id = \"{id}\""));
        assert!(said(&site).contains(&format!("provider     {id}, ")));
    }
}

#[test]
fn unknown_keys_are_refused_everywhere() {
    check(
        "threads = 3",
        "thread = 3",
        "gateway.thread: unknown key, expected one of `listen`, `tls`, `body_max`, `threads`, `connections_max`, `sandbox`, `start`, `web`, `links`",
    );
    check(
        "[sessions]",
        "[session]",
        "session: unknown key, expected one of `provider`, `core`, `gateway`, `intent`, `sessions`, `instances`, `mapping`, `drives`, `products`, `slurm`, `projects`, `accounting`, `ssh`, `terminals`, `applications`, `connection`, `maintenance`, `calls`, `ipc`, `state`, `audit`, `metrics`, `alarms`",
    );
    check(
        "key = \"key.pem\"",
        "key = \"key.pem\", ca = \"ca.pem\"",
        "gateway.tls.ca: unknown key, expected `certificate` or `key`",
    );
    check(
        "adds = [",
        "add = [",
        "calls[0].add: unknown key, expected one of `call`, `method`, `path`, `from`, `to`, `transport`, `items`, `bound`, `adds`, `project`, `username`, `class`, `ask_if`, `words`, `user`",
    );
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    check(
        "threads = 3",
        "threads = 3.5",
        "gateway.threads: invalid type: floating point `3.5`, expected a whole number",
    );
    check(
        "accept_v1 = true",
        "accept_v1 = \"yes\"",
        "intent.accept_v1: invalid type: string \"yes\", expected a boolean",
    );
    check("proof = \"off\"", "proof = \"none\"", "sessions.proof: unknown word `none`, expected `required` or `off`");
    check(
        "sealed = \"off\"",
        "sealed = \"on\"",
        "sessions.sealed: unknown word `on`, expected one of `required`, `preferred`, `off`",
    );
    check(
        "sealed = \"off\"",
        "sealed = \"required\"",
        "sessions.sealed: is \"required\", and sessions.proof is \"off\": the proof signs the seal. Set sessions.proof to \"required\"",
    );
    check("listen = \"tcp\"", "listen = \"udp\"", "instances.listen: unknown word `udp`, expected `unix` or `tcp`");
    check(
        "type = \"command\"",
        "type = \"commands\"",
        "mapping.type: unknown word `commands`, expected `ticket` or `command`",
    );
    check(
        "type = \"storage\"",
        "type = \"gpu\"",
        "products[0].type: unknown word `gpu`, expected one of `storage`, `compute`, `ingress`, `license`",
    );
    check(
        "sandbox = \"available\"",
        "sandbox = \"on\"",
        "gateway.sandbox: unknown word `on`, expected one of `required`, `available`, `log`, `off`",
    );
    check("directory = \"run\"", "directory = 3", "ipc.directory: invalid type: integer `3`, expected a string");
}

#[test]
fn what_jobs_may_run_is_named_once_each() {
    check(
        "accept = [\"workflow\"]",
        "accept = []",
        "applications.accept: is empty: it names what may start: \"approved\", \"workflow\" or both",
    );
    check(
        "accept = [\"workflow\"]",
        "accept = [\"workflow\", \"approved\", \"workflow\"]",
        "applications.accept[2]: appears twice",
    );
    check(
        "accept = [\"workflow\"]",
        "accept = [\"approved\", \"all\"]",
        "applications.accept[1]: unknown word `all`, expected `approved` or `workflow`",
    );
    check("folder = \"approved\"", "folder = \"\"", "applications.folder: has to be the path of a folder");
    check(
        "folder = \"approved\"",
        "directory = \"approved\"",
        "applications.directory: unknown key, expected `folder` or `accept`",
    );
}

#[test]
fn c08_a_wait_for_deposits_leaves_time_for_the_work() {
    let want = "intent.deposit_wait_ms: is not between 0 and 3000: UCloud gives up on a request after 5 s, and its own \
                work needs the rest. Choose 3000 or less; 1500 is the default";
    check("deposit_wait_ms = 500", "deposit_wait_ms = 4000", want);
    check("deposit_wait_ms = 500", "deposit_wait_ms = 3001", want);
    check("deposit_wait_ms = 500", "deposit_wait_ms = -1", want);
}

#[test]
fn numbers_and_sizes_have_limits() {
    check("threads = 3", "threads = 0", "gateway.threads: is not between 1 and 256");
    check("connections_max = 100", "connections_max = 200001", "gateway.connections_max: is not between 1 and 200000");
    check("lifetime_max_s = 30", "lifetime_max_s = 601", "intent.lifetime_max_s: is not between 5 and 600");
    check("lifetime_max_s = 30", "lifetime_max_s = -1", "intent.lifetime_max_s: is not between 5 and 600");
    check("future_skew_s = 2", "future_skew_s = 61", "intent.future_skew_s: is not between 0 and 60");
    check("key_lifetime_days = 90", "key_lifetime_days = 0", "intent.key_lifetime_days: is not between 1 and 1095");
    check("first_port = 42000", "first_port = 80", "instances.first_port: is not between 1024 and 65000");
    check("uid_min = 2000", "uid_min = 0", "instances.uid_min: is not between 1 and 4294967293");
    check("idle_stop_s = 600", "idle_stop_s = 1", "instances.idle_stop_s: is not between 10 and 604800");
    check("\"512 KiB\"", "\"512KiB\"", "gateway.body_max: is not a size such as \"1 MiB\" (B, KiB, MiB, GiB)");
    check("\"512 KiB\"", "\"65 MiB\"", "gateway.body_max: is not between 1 KiB and 64 MiB");
    check("\"512 KiB\"", "512", "gateway.body_max: invalid type: integer `512`, expected a string");
}

#[test]
fn addresses_are_exact_and_guarded() {
    check(
        "[\"0.0.0.0:443\", \"[::1]:8889\"]",
        "[]",
        "gateway.listen: is empty: the addresses to listen on, such as [\"0.0.0.0:8889\"]",
    );
    check(
        "0.0.0.0:443",
        "localhost:443",
        "gateway.listen[0]: is not an IP address with a port, such as \"0.0.0.0:8889\" or \"[::1]:8889\"",
    );
    check("0.0.0.0:443", "0.0.0.0:0", "gateway.listen[0]: needs a port: with 0 it would be another one at every start");
    check("0.0.0.0:443", "[::1]:8889", "gateway.listen[1]: appears twice");
    check("0.0.0.0:443", "0.0.0.0:42000", "instances.first_port: is also the port of gateway.listen 0.0.0.0:42000");
    check(
        "tls = { certificate = \"fullchain.pem\", key = \"key.pem\" }",
        "",
        "gateway.tls: is missing: 0.0.0.0:443 is not a loop-back address, so it needs TLS: \
         tls = { certificate = \"fullchain.pem\", key = \"key.pem\" }",
    );
    check(", key = \"key.pem\"", "", "gateway.tls.key: is missing: the file with the certificate's private key in PEM");
}

#[test]
fn instances_are_static_or_started() {
    check(
        "launch = \"sudo\"",
        "launch = \"sudo\"\nstatic = [{ username = \"alice#1234\", address = \"127.0.0.1:42001\" }]",
        "instances.static: means nothing unless instances.launch is \"static\"",
    );
    check(
        "launch = \"sudo\"",
        "launch = \"static\"",
        "instances.static: is empty: with instances.launch = \"static\" it names every instance",
    );
    let fixed = |entry: &str, want: &str| {
        check("launch = \"sudo\"", &format!("launch = \"static\"\nstatic = [{entry}]"), want);
    };
    fixed(
        "{ username = \"a\", address = \"10.0.0.1:42001\" }",
        "instances.static[0].address: is not a loop-back address, and instances are asked in clear text",
    );
    fixed(
        "{ username = \"a\", address = \"127.0.0.1:1\" }, { username = \"a\", address = \"127.0.0.1:2\" }",
        "instances.static[1].username: appears twice",
    );
    fixed(
        "{ username = \"\", address = \"127.0.0.1:1\" }",
        "instances.static[0].username: the username is empty, longer than 256 bytes, or has control characters",
    );
    fixed(
        "{ username = \"a\" }",
        "instances.static[0].address: is missing: where it listens, such as \"127.0.0.1:42001\"",
    );
}

#[test]
fn mappers_have_their_program() {
    check(
        "type = \"command\"",
        "type = \"ticket\"",
        "mapping.command: means nothing unless mapping.type is \"command\"",
    );
    let what =
        "with mapping.type = \"command\" it is the program and its arguments, such as [\"/usr/local/bin/map-user\"]";
    check("command = [\"/usr/bin/true\", \"--map\"]", "", &format!("mapping.command: is missing: {what}"));
    check("[\"/usr/bin/true\", \"--map\"]", "[]", &format!("mapping.command: is empty: {what}"));
    check("/usr/bin/true", "true", "mapping.command[0]: has to begin with the absolute path of a program");
    check(
        "/usr/bin/true",
        "/usr/bin/no-such-program",
        "mapping.command[0]: cannot open /usr/bin/no-such-program: No such file or directory (os error 2)",
    );
    let site = ConfigFixture::new();
    let program = site.path("core.pem").display().to_string();
    site.flip("/usr/bin/true", &program);
    assert_eq!(site.placeless(), ["mapping.command[0]: core.pem is not executable: chmod +x core.pem"]);
    site.chmod("core.pem", 0o775);
    assert_eq!(
        site.placeless()[1],
        "mapping.command[0]: core.pem has mode 0775: others can write it; chmod go-w core.pem"
    );
}

#[test]
fn j09_a_licence_has_an_address_or_a_key() {
    let licence =
        |with: &str| format!("[[products]]\nname = \"m\"\ncategory = \"m\"\ntype = \"license\"\n{with}\n[slurm]");
    let check = |with: &str, want: &str| check("[slurm]", &licence(with), want);
    let absent = "is missing: the address of a licence server, or \"key\", the file with a licence's key, or both";
    check("", &format!("products[2].address: {absent}"));
    let address = "products[2].address: is not the address of a licence server, such as \"licences.example.org:27000\": letters, digits and . - _ : [ ]";
    check("address = \"$(id):1\"", address);
    check(
        "key = \"0123456789012345678901234567890123456789\"",
        "products[2].key: has to be the name of a file with the secret in it, never the secret itself",
    );
    check("address = \"[::1]:27000\"\ncpu = 1", "products[2]: means nothing unless the product's type is \"compute\"");
    self::check(
        "price = 1",
        "price = 1\naddress = \"a:1\"",
        "products[0]: means nothing unless the product's type is \"license\"",
    );
}

#[test]
fn drives_products_and_calls_are_named_once() {
    check("id = \"scratch\"", "id = \"home\"", "drives[1].id: appears twice");
    check("id = \"scratch\"", "id = \"../x\"", &format!("drives[1].id: {NAME}"));
    check("id = \"scratch\"", "", "drives[1].id: is missing: UCloud's providerGeneratedId of the drive");
    for path in ["scratch", "/scratch/../etc", "~/../x", "~root", "~//etc", ""] {
        let want = "drives[1].path: has to be \"~\", or begin with \"~/\" or \"/\", without \"..\"";
        check("\"/scratch\"", &format!("\"{path}\""), want);
    }
    check("name = \"disk\"", "name = \"big disk\"", &format!("products[0].name: {NAME}"));
    check("name = \"node\"", "name = \"disk\"", "products[1].name: appears twice");
    check(
        "category = \"cluster\"",
        "category = \"storage\"",
        "products[1]: has another type, unit, frequency or \"free\" than disk of the same category; these belong to the category",
    );
    check("price = 1", "price = 1\ncpu = 2", "products[0]: means nothing unless the product's type is \"compute\"");
    check("cpu = 64", "cpu = -1", "products[1].cpu: is not between 0 and 100000");
    check("price = 1", "price = -1", "products[0].price: is not between 0 and 1000000000000");
    check(
        "frequency = \"once\"",
        "frequency = \"week\"",
        "products[0].frequency: unknown word `week`, expected one of `once`, `minute`, `hour`, `day`",
    );
    check(
        "description = \"Home directories\"",
        "description = \"Home\\u0007\"",
        "products[0].description: is longer than 1024 bytes, or has control characters",
    );
    check("class = \"danger\"", "", "calls[0]: missing field `class`");
    check(
        "class = \"danger\"",
        "class = \"danger\"\nfrom = \"user\"\nto = \"instance\"",
        "calls[0].from: has to be \"core\": a site adds calls that come through UCloud",
    );
    check(
        "class = \"danger\"",
        "class = \"danger\"\nto = \"server\"",
        "calls[0]: call site.start: a row from the user has a destination, is a POST with one item, and has nothing that Core adds; one from Core has no destination",
    );
    check(
        "at = [\"/id\"]",
        "at = []",
        "calls[0]: call site.start: the bound parameter \"id\" has no place, or is repeated",
    );
    check(
        "call = \"site.start\"",
        "call = \"files.move\"",
        "calls[0]: call files.move: another row has the same call, the same method and path, or the same request of the user",
    );
    check(
        "path = \"/ucloud/{p}/site/start\"",
        "path = \"/site\"",
        "calls[0]: call site.start: the path must begin with /ucloud/ and have no empty or dotted segments",
    );
    check(
        "[\"files.trash\"]",
        "[\"files.trash\", \"files.burn\"]",
        "intent.step_up[1]: is not a call of the table: see countersign calls",
    );
    check("[\"files.trash\"]", "[\"files.trash\", \"files.trash\"]", "intent.step_up[1]: appears twice");
    check("[\"files.trash\"]", "[\"raised\", \"raised\"]", "intent.step_up[1]: appears twice");
}

#[test]
fn n19_a_sites_own_row_brings_the_words_with_which_the_signer_asks() {
    let words =
        "words = { one = \"Start {id}\", many = \"Start {n} of them\", button = \"Start\", subjects = [\"id\"] }\n";
    check(
        words,
        "",
        "calls[0].words: is missing: the signer asks with it, such as { one = \"Rotate the key {id}\", subjects = [\"id\"] }",
    );
    check(
        "Start {id}",
        "Start {what}",
        "calls[0]: call site.start: words name {what}, which is not a bound parameter of the call",
    );
    check(
        "Start {n} of them",
        "Start them",
        "calls[0]: call site.start: words.many has no {n} for the number of items",
    );
    check(
        words,
        &format!("{words}ask_if = [{{ parameter = \"path\", when = \"hidden\" }}]\n"),
        "calls[0]: call site.start: ask_if names \"path\", which is not a bound parameter of the call",
    );
}

#[test]
fn the_configuration_that_is_delivered_names_files_that_the_site_has_to_bring() {
    let site = ConfigFixture::new();
    let delivered = include_str!("../deploy/config.toml")
        .replace("# directory = \"/var/run/ucloud\"", "directory = \"run\"")
        .replace("# directory = \"/var/lib/countersign\"", "directory = \"state\"");
    site.write("config.toml", &delivered, 0o644);
    said(&site);
}

#[test]
fn the_operators_guide_names_every_key() {
    let guide = include_str!("../docs/operators.md");
    let good: toml::Table = GOOD.parse().unwrap();
    for (section, value) in &good {
        // A list of tables is one row.
        let keys: Vec<String> = value.as_table().map_or_else(
            || vec![section.clone()],
            |table| table.keys().map(|key| format!("{section}.{key}")).collect(),
        );
        for key in keys {
            assert!(guide.contains(&format!("| `{key}` |")), "{key}");
        }
    }
}
