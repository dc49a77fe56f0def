//! Follows docs/first-day.md word for word on an empty machine that systemd has started. The test
//! runs each command as the document gives it, with the placeholders filled in. At the end a user
//! has connected, worked and left again.
//!
//! Runs alone on its own machine, `tests/support/booted.sh`: see `./test`.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::machine::{self, journal, shell};
use crate::support::test_site::said;
use countersign_portal::core::Control;
use countersign_portal::{
    Algorithm, Answer, BrowserKey, ConnectionPage, Core, CoreKeys, Deed, Endpoint, Intent, TestCertificate, now,
};

const NAME: &str = "hpc.example.org";
const PORT: u16 = 8889;
const USER: &str = "alice#1234";

struct Document {
    text: String,
}

impl Document {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/first-day.md");
        Self { text: fs::read_to_string(path).unwrap() }
    }

    /// The section with that heading.
    fn section(&self, heading: &str) -> &str {
        let (_, section) = self.text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("## {heading}"));
        section.split("\n## ").next().unwrap()
    }

    /// The blocks of that language in a section.
    fn blocks(&self, heading: &str, language: &str) -> Vec<&str> {
        let section = self.section(heading);
        section.split(&format!("```{language}\n")).skip(1).map(|block| block.split("```").next().unwrap()).collect()
    }

    /// Runs, as that account, a command that the document names in a line, with its placeholder
    /// filled in.
    fn run(&self, account: &str, command: &str, placeholder: (&str, &str)) -> String {
        assert!(self.text.contains(&format!("`{command}`")), "the document does not say {command}");
        let command = command.replace(placeholder.0, placeholder.1);
        let output = shell(&format!(
            "setpriv --reuid {account} --regid {account} --init-groups env HOME=$(getent passwd {account} | cut -d : -f 6) {command}"
        ));
        assert!(output.status.success(), "{command}: {}\n{}", said(&output), journal());
        said(&output)
    }
}

/// Runs a line of a shell script with this standard input.
fn paste(line: &str, input: &str) -> Output {
    let mut child = Command::new("sh")
        .args(["-euc", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

async fn perform(core: &Core, key: &BrowserKey, deed: &Deed) -> Answer {
    let intent = Intent::of(&core.endpoint().origin(), USER, deed, now()).unwrap().sign(key).unwrap();
    core.perform(USER, deed, Some(&intent)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn c14_the_first_day_word_for_word() {
    let document = Document::read();
    assert!(document.text.contains("Do not use *Renew token*"), "what locks a provider out");

    // 1 and 2: the machine has a name and a certificate that its users trust. UCloud has made a key
    // and a token.
    let certificate = TestCertificate::make(NAME).unwrap();
    let append =
        |path: &str, text: &str| fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes());
    append("/etc/hosts", &format!("\n127.0.0.1 {NAME}\n")).unwrap();
    append("/etc/ssl/certs/ca-certificates.crt", &certificate.authority_pem).unwrap();
    fs::write("/etc/ssl/FULLCHAIN", &certificate.certificate_pem).unwrap();
    fs::write("/etc/ssl/KEY", &certificate.key_pem).unwrap();
    let keys = Arc::new(CoreKeys::generate("hpc").unwrap());
    let control = Control::start(Arc::clone(&keys)).await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    let endpoint = Endpoint::tls(address, NAME, &certificate.authority_pem).unwrap();
    let core = Core::new(Arc::clone(&keys), endpoint.clone()).with_control(&control);

    // 3: install and configure.
    machine::install_as_documented();
    let mut was_pasted = 0;
    for line in document.blocks("3. Install and configure", "sh")[0].lines() {
        let line = line.replace("FULLCHAIN ", "/etc/ssl/FULLCHAIN ").replace("KEY ", "/etc/ssl/KEY ");
        let input = match &line {
            line if line.contains("core.pem") => keys.public_base64().unwrap(),
            line if line.contains("refresh-token") => format!("{}\n", control.refresh_token()),
            _ => String::new(),
        };
        was_pasted += usize::from(!input.is_empty());
        let output = paste(&format!("cd /etc/countersign; {line}"), &input);
        assert!(output.status.success(), "{line}: {}", said(&output));
    }
    assert_eq!(was_pasted, 2);
    let config = Path::new("/etc/countersign/config.toml");
    let mut text = fs::read_to_string(config).unwrap();
    for (before, after) in [
        ("origin = \"https://hpc.example.org\" ", format!("origin = \"{}\" ", endpoint.origin())),
        ("origin = \"https://cloud.sdu.dk\" ", format!("origin = \"{}\" ", control.origin())),
    ] {
        assert_eq!(text.matches(before).count(), 1, "{before}");
        text = text.replace(before, &after);
    }
    fs::write(config, format!("{text}\n{}", document.blocks("3. Install and configure", "toml")[0])).unwrap();
    let checked = shell(document.blocks("3. Install and configure", "sh")[1]);
    assert!(checked.status.success(), "{}", said(&checked));

    // 4: start. It serves when the command returns, by name and with a verified certificate.
    let started = shell(document.blocks("4. Start", "sh")[0]);
    assert!(started.status.success() && said(&started).contains("serving"), "{}\n{}", said(&started), journal());
    let keys_of_log = document.run("root", "countersign audit key", ("", ""));
    assert!(!keys_of_log.trim().is_empty());

    // 5: Core knows the product, and the journal says so.
    let asked = Instant::now();
    let registered = loop {
        let registered = shell(document.blocks("5. Make the products known", "sh")[0]);
        if registered.status.success() || asked.elapsed() > Duration::from_secs(20) {
            break registered;
        }
    };
    assert!(said(&registered).contains("registered products at Core"), "{}\n{}", said(&registered), journal());
    let products = control.products();
    assert_eq!(products.len(), 1, "{products:?}");
    assert_eq!((&products[0]["name"], &products[0]["description"]), (&"disk".into(), &"Home directories".into()));

    // 6: connect one user.
    document.run("root", "usermod --append --groups ucloud_users alice", ("", ""));
    let redirect = core.connect(USER).await.unwrap();
    assert!(redirect.starts_with("https://hpc.example.org:8889/ucloud/hpc/connect"), "{redirect}");
    let page = ConnectionPage::open(&redirect, endpoint).unwrap();
    let mut key = BrowserKey::make(Algorithm::Es256).unwrap();
    let offer = page.offer(&key).await.unwrap();
    key.set_kid(&offer.text("kid"));
    let code = format!("{} --yes", offer.text("code"));
    document.run("alice", "countersign connect approve CODE", ("CODE", &code));
    let probe = page.probe(&key, USER).await.unwrap();
    assert!(probe.is_ok(), "{probe:?}\n{}", journal());
    assert!(document.run("root", "countersign connect list --all", ("", "")).contains(USER));
    assert!(document.run("root", "countersign audit show --last 20", ("", "")).contains(USER));

    // 7: use it, and end it.
    for deed in [Deed::browse("/home"), Deed::create_folder("/home/first"), Deed::trash("/home/first")] {
        let answer = perform(&core, &key, &deed).await;
        assert!(answer.is_ok(), "{}: {answer:?}\n{}", deed.call(), journal());
    }
    assert!(!Path::new("/home/alice/first").exists());
    let shown = document.run("root", "countersign audit show --user 'alice#1234'", ("", ""));
    for call in ["files.browse", "files.createFolder", "files.trash"] {
        assert!(shown.contains(call), "{call}: {shown}");
    }
    assert!(document.run("alice", "countersign keys list", ("", "")).contains(key.kid()));
    document.run("alice", "countersign keys revoke KID", ("KID", key.kid()));
    let refused = perform(&core, &key, &Deed::browse("/home")).await;
    assert_eq!((refused.status, refused.error_code().as_str()), (482, "INTENT_INVALID"));
    document.run("alice", "countersign connect remove", ("remove", "remove --yes"));
    let listed = document.run("root", "countersign connect list --all", ("", ""));
    assert!(!listed.contains(USER), "{listed}");
}
