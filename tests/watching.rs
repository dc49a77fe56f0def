//! Metrics of a running centre, and the page for administrators about them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::support::test_site::TestSite;
use countersign_metrics::{FAMILIES, Family};

/// The page for administrators.
const PAGE: &str = "docs/watching.md";

/// The heading of the tables, which reach to the next heading or the end.
const TABLES: &str = "## All metrics\n";

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
    text
}

#[test]
fn w01_the_page_has_every_metric_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let begin = page.find(TABLES).unwrap() + TABLES.len();
    let begin = begin + page[begin..].find("-->\n\n").unwrap() + "-->\n\n".len();
    let end = page[begin..].find("\n## ").map_or(page.len(), |end| begin + end + 1);
    let mended = format!(
        "{}{}{}",
        &page[..begin],
        if end < page.len() { tables() } else { tables().trim_end().to_owned() + "\n" },
        &page[end..]
    );
    if std::env::var_os("COUNTERSIGN_MEND").is_some() {
        std::fs::write(path, &mended).unwrap();
    } else {
        assert!(page == mended, "{PAGE} is not what the program has: COUNTERSIGN_MEND=1 writes it");
    }
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
    // The address serves nothing else.
    assert!(ask(TcpStream::connect(address).await.unwrap(), "/healthz/x").await.starts_with("HTTP/1.1 404 "));
    // The gateway ends, and its successor serves the same address.
    centre.kill(crate::support::test_site::Part::Gateway);
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
