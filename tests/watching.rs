//! Metrics of a running centre, and the page for administrators about them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::support::test_site::{Part, TestSite, said, write_file};
use countersign_ipc::alarm::Alarm;
use countersign_metrics::{FAMILIES, Family};
use countersign_portal::Algorithm;
use nix::sys::signal::{Signal, kill};

/// The page for administrators.
const PAGE: &str = "docs/watching.md";

/// The tables of all families, as the page has them.
fn tables() -> String {
    let mut text = String::new();
    for (title, prefix) in [("gateway", "countersign_gateway_"), ("server", "countersign_server_"), ("program", "")] {
        text.push_str(&format!("Of the {title}:\n\n| metric | labels | unit | meaning |\n|---|---|---|---|\n"));
        let is_meant = |family: &&Family| match prefix {
            "" => !family.name.contains("_gateway_") && !family.name.contains("_server_"),
            prefix => family.name.starts_with(prefix),
        };
        for Family { name, kind, labels, unit, help } in FAMILIES.iter().filter(is_meant) {
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            text.push_str(&format!("| `{name}` ({}) | {labels} | {unit} | {help} |\n", kind.word()));
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

/// Replaces what follows `begin` up to the next heading or the end.
fn with_table(page: &str, heading: &str, table: &str) -> String {
    let heading = page.find(heading).unwrap();
    let begin = heading + page[heading..].find("-->\n\n").unwrap() + "-->\n\n".len();
    match page[begin..].find("\n## ") {
        Some(next) => format!("{}{table}{}", &page[..begin], &page[begin + next..]),
        None => format!("{}{table}", &page[..begin]),
    }
}

/// The table of alarms, as the page has it.
fn alarms() -> String {
    let rows =
        Alarm::ALL.iter().map(|alarm| format!("| `{}` | {} | {} |\n", alarm.word(), alarm.says(), alarm.remedy()));
    format!("| alarm | what happened | what to do |\n|---|---|---|\n{}", rows.collect::<String>())
}

#[test]
fn w01_the_page_has_every_metric_and_every_alarm_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let mended = with_table(&page, "\n## Alarms\n", &alarms());
    let mended = with_table(&mended, "\n## All metrics\n", &tables());
    if std::env::var_os("COUNTERSIGN_MEND").is_some() {
        std::fs::write(path, &mended).unwrap();
    } else {
        assert!(page == mended, "{PAGE} is not what the program has: COUNTERSIGN_MEND=1 writes it");
    }
}

/// What administrators take over: rules and a dashboard.
const RULES: &str = include_str!("../deploy/prometheus/countersign.rules.yml");
const DASHBOARD: &str = include_str!("../deploy/grafana/countersign.json");

/// The names of metrics in a text, without the suffixes of a histogram's series.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter| !is_part(letter)).filter(|word| word.starts_with("countersign_"));
    words
        .map(|word| ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word))
        .collect()
}

#[test]
fn w01_rules_and_dashboard_ask_for_metrics_that_exist() {
    for (what, text) in [("rules", RULES), ("dashboard", DASHBOARD)] {
        let named = metrics_in(text);
        assert!(named.len() > 10, "{what}: {named:?}");
        let unknown: Vec<_> =
            named.iter().filter(|name| !FAMILIES.iter().any(|family| family.name == **name)).collect();
        assert!(unknown.is_empty(), "{what}: {unknown:?}");
    }
}

#[test]
fn w01_every_alert_has_its_line_on_the_page() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let alerts: Vec<&str> = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        assert!(page.contains(&format!("\n| `{alert}` | ")), "{alert}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `Countersign")).count();
    assert_eq!(rows, alerts.len(), "a line of an alert that is not there");
}

/// Debian's Prometheus reads the rules, scrapes a running centre, and fires what it should.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn w01_prometheus_takes_the_rules_and_scrapes_a_running_centre() {
    let directory = tempfile::tempdir().unwrap();
    let (address, own) = (free_address(), free_address());
    let rules = directory.path().join("countersign.rules.yml");
    std::fs::write(&rules, RULES).unwrap();
    let config = directory.path().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{}]\nscrape_configs:\n  - job_name: \
         countersign\n    static_configs: [{{ targets: [\"{address}\"] }}]\n",
        rules.display()
    );
    std::fs::write(&config, text).unwrap();
    let checked = Command::new("promtool").args(["check", "config"]).arg(&config).output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));

    let centre = TestSite::open_with(&format!("[metrics]\nlisten = \"{address}\"\n")).await;
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    let text = scrape(address).await;
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), as_prometheus_text(body).as_bytes()).unwrap();
    let linted = promtool.wait_with_output().unwrap();
    assert!(linted.status.success(), "{}", said(&linted));

    let mut prometheus = tokio::process::Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
        .arg(format!("--web.listen-address={own}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let query = async |expression: &str| {
        let Ok(stream) = TcpStream::connect(own).await else { return 0 };
        let answer = ask(stream, &format!("/api/v1/query?query={expression}")).await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let found: serde_json::Value = serde_json::from_str(body.trim()).unwrap_or_default();
        found["data"]["result"].as_array().map_or(0, Vec::len)
    };
    centre.until("Prometheus has scraped the centre", async || query("countersign_server_users").await == 1).await;
    assert_eq!(query("up==1").await, 1);
    assert_eq!(query("countersign_gateway_server_answers==1").await, 1);
    assert_eq!(query("ALERTS").await, 0);
    assert!(query("countersign_gateway_decisions_total%7Blane=%22core%22%7D").await > 0);
    prometheus.kill().await.unwrap();
}

/// The older text format, which `promtool check metrics` reads: it knows no `# EOF`, and names a
/// counter with its suffix.
fn as_prometheus_text(text: &str) -> String {
    let counters: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let line = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        ["#", "EOF"] => String::new(),
        ["#", what, name, ref rest @ ..] if counters.contains(name) => {
            format!("# {what} {name}_total {}\n", rest.join(" "))
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn scrape(address: SocketAddr) -> String {
    ask(TcpStream::connect(address).await.unwrap(), "/metrics").await
}

/// The value of a series, as it is written.
fn value<'t>(text: &'t str, series: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(&format!("countersign_{series} ")))
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn w01_one_scrape_tells_of_gateway_and_server() {
    let address = free_address();
    let centre = TestSite::open_with(&format!("[metrics]\nlisten = \"{address}\"\n")).await;
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    let is_seen = async || {
        let text = scrape(address).await;
        value(&text, "server_users") == Some("1.0") && value(&text, "server_instances{phase=\"ready\"}") == Some("1.0")
    };
    // Users are counted once a minute, and at the start, when there was none.
    centre.until("the server's numbers are there", is_seen).await;
    let text = scrape(address).await;
    for series in
        ["gateway_server_answers", "server_gateway_starts_total", "server_audit_backlog_records{log=\"gateway\"}"]
    {
        assert!(value(&text, series).is_some(), "{series}\n{text}");
    }
    for process in ["server", "gateway"] {
        let memory = value(&text, &format!("server_process_resident_memory_bytes{{process=\"{process}\"}}"));
        assert!(memory.unwrap().parse::<f64>().unwrap() > 1e6, "{process}\n{text}");
    }
    assert!(!text.contains("alice"), "{text}");
    let status = centre.run_as("root", &["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["metrics"]["countersign_server_users"], 1.0, "{status}");
    assert_eq!(status["metrics"]["countersign_server_instances{phase=\"ready\"}"], 1.0, "{status}");
    // The address serves nothing else.
    assert!(ask(TcpStream::connect(address).await.unwrap(), "/healthz/x").await.starts_with("HTTP/1.1 404 "));
    // The gateway ends, and its successor serves the same address.
    centre.kill(Part::Gateway);
    centre
        .until("another gateway is counted", async || {
            value(&scrape(address).await, "server_gateway_starts_total") == Some("2.0")
        })
        .await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn w01_a_unix_socket_has_its_mode_and_replaces_no_other_file() {
    let directory = Path::new("/run/ucloud");
    let socket = directory.join("metrics.sock");
    let more = format!("[metrics]\nlisten = \"{}\"\nmode = \"0600\"\n", socket.display());
    let centre = TestSite::open_with(&more).await;
    let text = ask(UnixStream::connect(&socket).await.unwrap(), "/metrics").await;
    assert_eq!(value(&text, "gateway_server_answers"), Some("1.0"), "{text}");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    drop(centre);
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn w01_readiness_follows_the_server_and_health_does_not() {
    let address = free_address();
    let centre = TestSite::open_with(&format!("[metrics]\nlisten = \"{address}\"\n")).await;
    centre.until("the gateway is ready", async || centre.health("/readyz").await == "200").await;
    let server = centre.pid(Part::Server).unwrap();
    kill(server, Signal::SIGSTOP).unwrap();
    centre.until("the gateway is not ready", async || centre.health("/readyz").await == "503").await;
    assert_eq!(centre.health("/healthz").await, "200");
    let why = ask(TcpStream::connect(address).await.unwrap(), "/readyz").await;
    assert!(why.starts_with("HTTP/1.1 503 ") && why.contains("\nserver FAILS\n"), "{why}");
    kill(server, Signal::SIGCONT).unwrap();
    centre.until("the gateway is ready again", async || centre.health("/readyz").await == "200").await;
}

/// The site's program for alarms, which appends what it is told to a file that the server's account
/// can write.
struct AlarmProgram {
    told: PathBuf,
}

impl AlarmProgram {
    const PATH: &str = "/usr/local/bin/countersign-test-alarm";

    /// The program, and the keys of the configuration that name it.
    fn install() -> (Self, String) {
        let told = PathBuf::from("/var/lib/countersign/alarmed");
        write_file(Path::new(Self::PATH), &format!("#!/bin/sh\n{{ cat; echo; }} >> {}\n", told.display()), 0o755, None);
        (Self { told }, format!("[alarms]\ncommand = [\"{}\"]\n", Self::PATH))
    }

    /// What it was told.
    fn told(&self) -> Vec<serde_json::Value> {
        let told = std::fs::read_to_string(&self.told).unwrap_or_default();
        told.split_inclusive('\n').filter_map(|line| serde_json::from_str(line.strip_suffix('\n')?).ok()).collect()
    }
}

impl TestSite {
    /// How often that alarm is in the log of the server and its gateway.
    pub(crate) fn raised(&self, alarm: Alarm) -> usize {
        let log = std::fs::read_to_string(self.directory.path().join("server.log")).unwrap();
        let form = format!("ALARM: {}", alarm.says());
        log.lines().filter(|line| line.contains(&form) && line.contains(alarm.word())).count()
    }

    /// The status of a health check, for a client of the network.
    pub(crate) async fn health(&self, path: &str) -> String {
        let answer = ask(TcpStream::connect(self.address).await.unwrap(), path).await;
        answer.split(' ').nth(1).unwrap().to_owned()
    }
}

/// An alarm reaches the log, the metrics and the program of the site.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn w01_a_second_offer_is_an_alarm_everywhere() {
    let address = free_address();
    let (program, alarms) = AlarmProgram::install();
    let centre = TestSite::open_with(&format!("[metrics]\nlisten = \"{address}\"\n{alarms}")).await;
    let offered = centre.offer("alice#1234", Algorithm::Es256).await;
    let again = offered.page.offer(&offered.key).await.unwrap();
    assert!(!again.is_ok(), "{again:?}");
    centre.until("the program is told", async || !program.told().is_empty()).await;
    let told = &program.told()[0];
    assert_eq!((&told["alarm"], &told["username"]), (&"second_offer".into(), &"alice#1234".into()));
    let series = "server_alarms_total{process=\"server\",alarm=\"second_offer\"}";
    assert_eq!(value(&scrape(address).await, series), Some("1.0"));
    assert_eq!(centre.raised(Alarm::SecondOffer), 1, "{}", centre.last_words());
    let status = said(&centre.run_as("root", &["status"]).await);
    assert!(status.contains("ALARMS        1 since"), "{status}");
}

/// The server ends for an altered log, and does not start with one. It tells the program each time.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn w01_an_altered_audit_log_is_an_alarm_before_the_server_ends_and_when_it_starts() {
    let (program, alarms) = AlarmProgram::install();
    let centre = TestSite::open_with(&alarms).await;
    let alice = centre.connect("alice").await;
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());
    let server = centre.pid(Part::Server);
    let entries = centre.state.join("audit/server/entries");
    let segments = std::fs::read_dir(entries).unwrap().flatten().map(|entry| entry.path());
    let newest = segments.filter(|path| path.extension().is_some()).max().unwrap();
    // The second line of a checkpoint is the number of signed records.
    let checkpoint = centre.state.join("audit/server/checkpoint");
    let signed = || std::fs::read_to_string(&checkpoint).ok()?.lines().nth(1)?.parse::<u64>().ok();
    centre.until("records are signed", async || signed().is_some_and(|records| records > 0)).await;
    std::fs::File::options().write(true).open(newest).unwrap().set_len(10).unwrap();
    centre.until("the running server alarms", async || program.told().len() == 1).await;
    centre.until("it ends", async || centre.pid(Part::Server) != server).await;
    centre.until("its successor alarms", async || program.told().len() >= 2).await;
    for told in &program.told()[..2] {
        assert_eq!((&told["alarm"], &told["process"]), (&"audit_log_altered".into(), &"server".into()));
    }
    assert!(centre.raised(Alarm::AuditLogAltered) >= 2, "{}", centre.last_words());
}

/// The sources that have unit tests, and the tests of a whole centre.
const TESTED: [&str; 3] = ["src/server", "src/gateway", "tests"];

/// Each alarm of the list is raised by some test, by what raises it.
#[test]
fn w01_every_alarm_is_raised_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = TESTED.map(|folder| root.join(folder)).to_vec();
    let mut tests = String::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                tests.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let untested: Vec<&str> = Alarm::ALL
        .iter()
        .filter(|alarm| !tests.contains(&format!("raised(Alarm::{alarm:?})")))
        .map(|alarm| alarm.word())
        .collect();
    assert_eq!(untested, [""; 0]);
}
