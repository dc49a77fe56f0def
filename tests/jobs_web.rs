//! Web interfaces and desktops of jobs, on a real Slurm, as real accounts: their users reach them,
//! and nothing else does.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::time::Duration;

use crate::support::slurm::Slurm;
use crate::support::stream::{self, Browser};
use crate::support::test_site::{PROVIDER, Person, TestSite, said};
use bytes::Bytes;
use countersign_portal::core::{JobDeed, applications};
use countersign_portal::line::Line;
use countersign_portal::session::{self, OPEN};
use countersign_portal::signer::Projection;
use countersign_portal::{Answer, Deed, Endpoint, Intent, Request, malicious, now};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// The longest that one request may take.
const PATIENCE: Duration = Duration::from_secs(60);

const APPLICATION: (&str, &str) = ("hello-native", "1.0");

/// Writes a server that serves what it sees of a request, and echoes bodies and messages.
pub(crate) const SERVER: &str = r#"
cat >server.py <<'EOF'
import base64, hashlib, http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *unused):
        pass
    def answer(self, body, more=()):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        for name, value in more:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.headers.get("Upgrade"):
            return self.socket()
        if self.path == "/big":
            return self.answer(bytes(range(256)) * 40960)
        if self.path == "/cookies":
            return self.answer(b"set", [("Set-Cookie", "a=b; Domain=.localhost; Path=/"),
                ("Set-Cookie", "__Host-countersign=x; Path=/; Secure"), ("Clear-Site-Data", '"cookies"')])
        seen = [[name.lower(), value] for name, value in self.headers.items()]
        self.answer(json.dumps([self.path, sys.argv[1], seen]).encode())
    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))
    def socket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        if self.headers.get("Sec-WebSocket-Protocol"):
            self.send_header("Sec-WebSocket-Protocol", self.headers["Sec-WebSocket-Protocol"])
        self.end_headers()
        self.wfile.write(bytes([0x81, len(self.path)]) + self.path.encode())
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                self.close_connection = True
                return
            mask, body = self.rfile.read(4), self.rfile.read(head[1] & 127)
            body = bytes(one ^ mask[at % 4] for at, one in enumerate(body))
            self.wfile.write(bytes([head[0], len(body)]) + body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
EOF
"#;

/// A centre with a Slurm of two nodes, and a connected user.
pub(crate) struct Site {
    pub(crate) slurm: Slurm,
    pub(crate) centre: TestSite,
    pub(crate) alice: Person,
}

/// An open session of a web interface.
struct Web {
    /// Its host name and port.
    host: String,
    /// `name=value` of its cookie.
    cookie: String,
}

impl Site {
    async fn open() -> Self {
        Self::with("", "").await
    }

    /// A site with more keys of `[gateway]`, and more tables.
    pub(crate) async fn with(gateway: &str, tables: &str) -> Self {
        let slurm = Slurm::start(&["alice", "bob"]).await;
        let web = format!("web = {{ prefix = \"app-\", suffix = \".localhost\" }}\n{gateway}");
        let tables = format!("{}{tables}", slurm.tables());
        let centre = TestSite::furnish_at(Endpoint::plain, &web, &tables).await.opened().await;
        Self::of(slurm, centre).await
    }

    /// A site whose first user is connected and served.
    pub(crate) async fn of(slurm: Slurm, centre: TestSite) -> Self {
        let alice = centre.connect("alice").await;
        let site = Self { slurm, centre, alice };
        site.until_served(&site.alice).await;
        site
    }

    pub(crate) async fn until_served(&self, person: &Person) {
        let is_served = async || self.centre.browse(person, "/home").await.is_ok();
        self.centre.until("the user is served", is_served).await;
    }

    /// An application of a type that runs this script.
    pub(crate) fn application(kind: &str, script: &str) -> Value {
        let mut application = applications::swapped(&applications::resolved(APPLICATION.0, APPLICATION.1), script);
        application["invocation"]["applicationType"] = json!(kind);
        application["invocation"]["web"] = json!({"port": 8080});
        application["invocation"]["vnc"] = json!({"password": "a secret", "port": 5900});
        application["invocation"]["parameters"] = json!([]);
        application
    }

    /// What a user asks for.
    pub(crate) fn specification(nodes: u32) -> Value {
        json!({
            "application": {"name": APPLICATION.0, "version": APPLICATION.1}, "name": "my job", "replicas": nodes,
            "product": {"id": "small", "category": "small", "provider": PROVIDER}, "parameters": {}, "hostname": "",
            "resources": [], "timeAllocation": {"hours": 0, "minutes": 10, "seconds": 0}, "allowDuplicateJob": false,
        })
    }

    pub(crate) fn request(&self, person: &Person, number: &str, specification: Value, application: &Value) -> Request {
        let deed = Deed::StartJob { number: number.to_owned(), specification, script: None };
        malicious::another_application(self.centre.signed(person, &deed), application)
    }

    /// Approves what waits, as an administrator does.
    pub(crate) async fn approve(&self) {
        let listed = self.centre.run_as("root", &["apps", "pending", "--json"]).await;
        let pending: Value = serde_json::from_slice(&listed.stdout).unwrap_or_else(|_| panic!("{}", said(&listed)));
        let (digest, (name, version)) = (pending[0]["digest"].as_str().unwrap(), APPLICATION);
        let approved = self.centre.run_as("root", &["apps", "approve", name, version, digest, "--yes"]).await;
        assert!(approved.status.success(), "{}", said(&approved));
    }

    /// Starts a job of an application that is approved first, and waits until it runs.
    pub(crate) async fn start(&self, person: &Person, number: &str, nodes: u32, application: &Value) {
        let answer = self.submit(person, number, &Self::specification(nodes), application).await;
        self.until_running(number, &answer).await;
    }

    /// The answer to a request to start a job, of an application that is approved first.
    pub(crate) async fn submit(
        &self,
        person: &Person,
        number: &str,
        specification: &Value,
        application: &Value,
    ) -> Answer {
        let request = || self.request(person, number, specification.clone(), application);
        let answer = self.centre.core.invoke(&request()).await.unwrap();
        if answer.error_code() != "APPLICATION_NOT_APPROVED" {
            return answer;
        }
        self.approve().await;
        self.centre.core.invoke(&request()).await.unwrap()
    }

    /// Waits until a job that was started runs.
    pub(crate) async fn until_running(&self, number: &str, answer: &Answer) {
        assert!(answer.is_ok(), "{answer:?}\n{}", self.centre.last_words());
        let is_running = async || {
            let states = self.slurm.run(&["squeue", "-h", "-t", "all", "-o", "%j|%T"]).await;
            states.lines().any(|line| line == format!("{number}|RUNNING"))
        };
        self.centre.until("the job runs", is_running).await;
    }

    /// Starts a job of alice's that serves its own interface.
    async fn serve(&self, number: &str) {
        let script = format!("{SERVER}exec /usr/bin/python3 server.py own \"$UCLOUD_PORT\"\n");
        self.start(&self.alice, number, 1, &Self::application("WEB", &script)).await;
        self.port(&self.alice, number).await;
    }

    /// The port that a job's script has chosen.
    pub(crate) async fn port(&self, person: &Person, number: &str) -> u16 {
        let file = person.home.join(format!("ucloud-jobs/{number}/allocated-port.txt"));
        let read = || -> Option<u16> { fs::read_to_string(&file).ok()?.strip_suffix('\n')?.parse().ok() };
        self.centre.until("a port is chosen", async || read().is_some()).await;
        read().unwrap()
    }

    /// The answer to a signed request for a session.
    pub(crate) async fn ask(
        &self,
        person: &Person,
        number: &str,
        rank: i64,
        kind: &str,
        target: Option<&str>,
    ) -> Answer {
        let deed = Deed::Job(JobDeed::Session(number.to_owned(), rank, kind.to_owned()));
        let item = Projection::new([
            ("id", json!(number)),
            ("rank", json!(rank)),
            ("sessionType", json!(kind)),
            ("target", json!(target)),
        ]);
        let (origin, call) = (self.centre.origin(), "jobs.openInteractiveSession");
        let intent = Intent::new(&origin, &person.username, call, &[item], now()).unwrap();
        let intent = intent.sign(&person.key).unwrap();
        let request = self.centre.core.request(&person.username, &deed, Some(&intent)).unwrap();
        let request = request.altered(|body| body["items"][0]["target"] = json!(target));
        self.centre.core.invoke(&request).await.unwrap()
    }

    pub(crate) fn proof(&self, person: &Person, token: &str) -> String {
        let proof = session::proof(&self.centre.origin(), &person.username, OPEN, token, None, now()).unwrap();
        proof.sign(&person.key).unwrap()
    }

    /// The host of an interface and the token, from the answer to a request for one. The address of
    /// a web interface is a page of the provider's; its own host is in the token.
    pub(crate) fn address(answer: &Answer, member: &str) -> (String, String) {
        let address = answer.json()["responses"][0][member].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        let (rest, token) = address.split_once(['#', '=']).unwrap();
        let (_, claims) = countersign_portal::jws::read(token).unwrap();
        let of_page = format!("/ucloud/{PROVIDER}/interface");
        assert_eq!(rest.ends_with(&of_page), member == "redirectClientTo", "{address}");
        let host = claims["interface"]["origin"].as_str().unwrap().split_once("://").unwrap().1;
        (host.to_owned(), token.to_owned())
    }

    /// Sends a request to a host of the gateway.
    pub(crate) async fn send(
        &self,
        host: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let name = host.split(':').next().unwrap();
        let line = Line::new(Endpoint::plain_at(self.centre.address, name), PATIENCE);
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        line.send(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap()
    }

    async fn get(&self, web: &Web, target: &str) -> Answer {
        self.send(&web.host, "GET", target, &[("cookie", &web.cookie)], Vec::new()).await
    }

    async fn redeem(&self, host: &str, token: &str, proof: &str) -> Answer {
        let target = format!("/ucloud/{PROVIDER}/authorize-app?token={token}&intent={proof}");
        self.send(host, "GET", &target, &[], Vec::new()).await
    }

    /// Opens an interface of alice's, as her browser does.
    async fn visit(&self, number: &str, rank: i64, target: Option<&str>) -> Web {
        let asked = self.ask(&self.alice, number, rank, "WEB", target).await;
        assert!(asked.is_ok(), "{asked:?}\n{}", self.centre.last_words());
        let (host, token) = Self::address(&asked, "redirectClientTo");
        let opened = self.redeem(&host, &token, &self.proof(&self.alice, &token)).await;
        assert_eq!((opened.status, opened.header("location")), (303, "/"), "{opened:?}\n{}", self.centre.last_words());
        let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
        let web = Web { host, cookie };
        self.centre.until("the application answers", async || self.get(&web, "/").await.status == 200).await;
        web
    }

    async fn socket(&self, web: &Web, origin: &str) -> Result<Browser, u16> {
        let headers = [("cookie", web.cookie.as_str()), ("origin", origin)];
        stream::open_at(&self.centre, &web.host, "/socket?x=%20", &headers).await
    }
}

pub(crate) async fn text(socket: &mut Browser) -> String {
    socket.hear().await.unwrap().into_text().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j06_a_web_interface_is_reached_by_its_user() {
    let site = Site::open().await;
    site.serve("5").await;
    let web = site.visit("5", 0, None).await;
    assert!(web.host.starts_with("app-5-0.localhost:"), "{}", web.host);

    // What the application sees: its own cookies and host, and nothing of Countersign's.
    let cookies = format!("mine=1; {}; other=2", web.cookie);
    let headers = [
        ("cookie", cookies.as_str()),
        ("ucloud-web-session", "x"),
        ("ucloud-username", "x"),
        ("x-forwarded-for", "x"),
        ("authorization", "token of the application"),
    ];
    let seen = site.send(&web.host, "GET", "/a%2Fb?token=1&x=%7B", &headers, Vec::new()).await.json();
    assert_eq!((&seen[0], &seen[1]), (&json!("/a%2Fb?token=1&x=%7B"), &json!("own")), "{seen}");
    let mut names: Vec<(&str, &str)> =
        seen[2].as_array().unwrap().iter().map(|one| (one[0].as_str().unwrap(), one[1].as_str().unwrap())).collect();
    names.sort_unstable();
    let want = [
        ("authorization", "token of the application"),
        ("cookie", "mine=1; other=2"),
        ("host", web.host.as_str()),
        ("x-forwarded-host", web.host.as_str()),
        ("x-forwarded-proto", "http"),
    ];
    assert_eq!(names, want);

    // Ten MiB in both directions, whole.
    let big: Vec<u8> = (0..=255).cycle().take(256 * 40960).collect();
    assert!(site.get(&web, "/big").await.bytes == big);
    let echoed = site.send(&web.host, "POST", "/", &[("cookie", &web.cookie)], big.clone()).await;
    assert!((echoed.status, echoed.bytes.as_ref()) == (200, big.as_slice()));

    // What the application sets stays at its host, and has not the session's name.
    let set = site.get(&web, "/cookies").await;
    assert_eq!(set.bytes, "set");
    let cookies: Vec<_> = set.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=b; Path=/"]);
    assert!(!set.headers.contains_key("clear-site-data") && !set.headers.contains_key("content-security-policy"));

    let origin = format!("http://{}", web.host);
    let socket = site.socket(&web, &origin).await;
    let mut socket = socket.unwrap_or_else(|status| panic!("{status}\n{}", site.centre.last_words()));
    assert_eq!(text(&mut socket).await, "/socket?x=%20");
    for message in ["hello", "", "again"] {
        socket.say(Message::text(message)).await;
        assert_eq!(text(&mut socket).await, message);
    }

    // The job ends, and with it the socket and the session.
    let ended = site.centre.perform(&site.alice, &Deed::Job(JobDeed::Terminate("5".to_owned()))).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert!(socket.hear().await.is_none());
    site.centre.until("the session has ended", async || site.get(&web, "/").await.status == 403).await;
    let headers = [("cookie", web.cookie.as_str()), ("accept", "text/html")];
    let told = site.send(&web.host, "GET", "/", &headers, Vec::new()).await;
    assert!(String::from_utf8_lossy(&told.bytes).contains("interface in UCloud"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j06_nobody_else_gets_into_a_web_interface() {
    let site = Site::open().await;
    let bob = site.centre.connect("bob").await;
    site.until_served(&bob).await;
    site.serve("5").await;
    site.serve("6").await;
    let asked = site.ask(&site.alice, "5", 0, "WEB", None).await;
    let (host, token) = Site::address(&asked, "redirectClientTo");
    let proof = site.proof(&site.alice, &token);

    // Core has the token, and no key of the user's.
    let alone = format!("/ucloud/{PROVIDER}/authorize-app?token={token}");
    assert_eq!(site.send(&host, "GET", &alone, &[], Vec::new()).await.status, 482);
    assert_eq!(site.redeem(&host, &token, &site.proof(&bob, &token)).await.status, 482, "another user's proof");
    let other = site.ask(&site.alice, "6", 0, "WEB", None).await;
    let (other_host, other_token) = Site::address(&other, "redirectClientTo");
    assert_eq!(site.redeem(&host, &other_token, &proof).await.status, 482, "another token's proof");
    let own = site.centre.origin();
    let own = own.split_once("://").unwrap().1;
    let at_own = site.redeem(own, &token, &proof).await;
    assert_eq!(at_own.status, 404, "not at the provider's own host: {at_own:?}");

    let opened = site.redeem(&host, &token, &proof).await;
    assert_eq!(opened.status, 303, "{opened:?}\n{}", site.centre.last_words());
    let set = opened.header("set-cookie");
    assert!(set.starts_with("__Host-") && set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{set}");
    assert_eq!(site.redeem(&host, &token, &proof).await.status, 482, "a proof opens once");
    let proof = site.proof(&site.alice, &token);
    assert_eq!(site.redeem(&host, &token, &proof).await.status, 303, "with a new proof again");
    let proof = site.proof(&site.alice, &other_token);
    let astray = site.redeem(&host, &other_token, &proof).await;
    assert_eq!(astray.status, 401, "a token of one job at another: {astray:?}");

    let web = Web { host: host.clone(), cookie: set.split(';').next().unwrap().to_owned() };
    site.centre.until("the application answers", async || site.get(&web, "/").await.status == 200).await;
    let elsewhere = Web { host: other_host.clone(), cookie: web.cookie.clone() };
    assert_eq!(site.get(&elsewhere, "/").await.status, 403, "a cookie of one job at another");
    let forged = Web { host: host.clone(), cookie: format!("__Host-countersign={}", "A".repeat(43)) };
    assert_eq!(site.get(&forged, "/").await.status, 403);
    let without = site.send(&host, "GET", "/", &[("accept", "text/html")], Vec::new()).await;
    assert_eq!(without.status, 403);
    assert!(String::from_utf8_lossy(&without.bytes).contains("interface in UCloud"), "{without:?}");
    // The secret is worth nothing as a header, and nothing at the provider's own host.
    let secret = web.cookie.split_once('=').unwrap().1;
    let smuggled = [("ucloud-web-session", secret), ("ucloud-web-place", "5-0"), ("cookie", &web.cookie)];
    assert_eq!(site.send(own, "GET", "/", &smuggled, Vec::new()).await.status, 404);
    assert_eq!(site.send(&host, "GET", "/", &smuggled[..2], Vec::new()).await.status, 403);

    // Pages of other jobs and of the provider, with the cookie that the browser sends along.
    for origin in [format!("http://{other_host}"), site.centre.origin(), "null".to_owned()] {
        let headers = [("cookie", web.cookie.as_str()), ("origin", origin.as_str())];
        assert_eq!(site.send(&host, "POST", "/", &headers, b"x".to_vec()).await.status, 403, "{origin}");
        assert_eq!(site.socket(&web, &origin).await.err(), Some(403), "{origin}");
    }
    // A page of the job at the provider's own origin.
    let page = format!("http://{host}");
    for (method, target) in [("POST", "intents"), ("GET", "intent/calls.json"), ("POST", "connect/offer")] {
        let kind = if target == "intents" { "application/jwt" } else { "application/json" };
        let headers = [("origin", page.as_str()), ("content-type", kind)];
        let refused = site.send(own, method, &format!("/ucloud/{PROVIDER}/{target}"), &headers, Vec::new()).await;
        assert_eq!(refused.status, 403, "{target}: {refused:?}");
    }

    // Another user can neither open nor name the job.
    assert_eq!(site.ask(&bob, "5", 0, "WEB", None).await.status, 404);
    for (rank, kind, target) in [(1, "WEB", None), (0, "VNC", None), (0, "WEB", Some("own")), (0, "", None)] {
        assert_eq!(site.ask(&site.alice, "5", rank, kind, target).await.status, 404, "{rank} {kind} {target:?}");
    }
    assert_eq!(site.get(&web, "/").await.status, 200, "all that changed nothing");

    // The key that opened it is revoked.
    let mut socket = site.socket(&web, &page).await.unwrap();
    assert_eq!(text(&mut socket).await, "/socket?x=%20");
    let revoked = site.centre.run_as("alice", &["keys", "revoke", site.alice.key.kid()]).await;
    assert!(revoked.status.success(), "{}", said(&revoked));
    assert!(socket.hear().await.is_none());
    site.centre.until("the session has ended", async || site.get(&web, "/").await.status != 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j06_another_accounts_listener_is_not_the_application() {
    let site = Site::open().await;
    site.start(&site.alice, "7", 1, &Site::application("WEB", "sleep 600\n")).await;
    let port = site.port(&site.alice, "7").await;
    let asked = site.ask(&site.alice, "7", 0, "WEB", None).await;
    let (host, token) = Site::address(&asked, "redirectClientTo");
    let opened = site.redeem(&host, &token, &site.proof(&site.alice, &token)).await;
    assert_eq!(opened.status, 303, "{opened:?}\n{}", site.centre.last_words());
    let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
    let web = Web { host, cookie };
    assert_eq!(site.get(&web, "/").await.status, 502, "nothing listens yet");

    for address in ["127.0.0.1", "0.0.0.0"] {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let heard = directory.path().join("heard");
        let script = format!(
            "exec /usr/bin/python3 -c 'import socket\ns = socket.create_server((\"{address}\", {port}))\n\
             open(\"{heard}\", \"w\").close()\nc, _ = s.accept()\nopen(\"{heard}\", \"w\").write(\"a connection\")\n'",
            heard = heard.display()
        );
        let asking = async {
            site.centre.until("it listens", async || heard.exists()).await;
            let refused = site.get(&web, "/").await;
            assert_eq!(refused.status, 403, "{refused:?}");
            assert!(refused.text("why").contains("another account"), "{refused:?}");
            assert_eq!(fs::read(&heard).unwrap(), b"", "it hears nothing");
        };
        // Ended with the future that waits for it.
        tokio::select! {
            () = asking => {}
            ended = site.centre.shell_as("mallory", &script) => panic!("{}", said(&ended)),
        }
        site.centre.until("it is gone", async || site.get(&web, "/").await.status == 502).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j06_targets_and_nodes_are_interfaces_of_their_own() {
    let site = Site::open().await;
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (first, second, desktop) = (free(), free(), free());
    let script = format!(
        "{{{{ dynamicInterface(0, \"WEB\", \"Dash board\", {first}) }}}}\n\
         {{{{ dynamicInterface(1, \"WEB\", \"Dash board\", {second}) }}}}\n\
         {{{{ dynamicInterface(1, \"VNC\", \"Desktop\", {desktop}) }}}}\n\
         {SERVER}for one in {first} {second} {desktop}; do\n  /usr/bin/python3 server.py $one $one &\ndone\n\
         exec /usr/bin/python3 server.py own \"$UCLOUD_PORT\"\n"
    );
    site.start(&site.alice, "8", 2, &Site::application("VNC", &script)).await;
    site.port(&site.alice, "8").await;
    let named = async |web: &Web| site.get(web, "/").await.json()[1].as_str().unwrap().to_owned();
    let one = site.visit("8", 0, Some("Dash board")).await;
    let two = site.visit("8", 1, Some("Dash board")).await;
    assert!(one.host.starts_with("app-8-0-1.localhost:") && two.host.starts_with("app-8-1-2.localhost:"));
    assert_eq!((named(&one).await, named(&two).await), (first.to_string(), second.to_string()));
    let mixed = Web { host: one.host.clone(), cookie: two.cookie.clone() };
    assert_eq!(site.get(&mixed, "/").await.status, 403);
    assert_eq!(site.ask(&site.alice, "8", 0, "WEB", None).await.status, 404, "the application has a desktop");

    // Desktops: the viewer's socket is the application's websockify, with its password.
    for (rank, target) in [(0, None), (1, Some("Desktop"))] {
        let asked = site.ask(&site.alice, "8", rank, "VNC", target).await;
        assert_eq!(asked.json()["responses"][0]["password"], "a secret", "{asked:?}");
        let (host, token) = Site::address(&asked, "url");
        let alone = format!("/ucloud/{PROVIDER}/vnc?token={token}");
        let offered = [("sec-websocket-protocol", "binary")];
        let refused = stream::open_at(&site.centre, &host, &alone, &offered).await;
        assert_eq!(refused.err(), Some(482), "the token alone");
        let target = format!("{alone}&intent={}", site.proof(&site.alice, &token));
        let opened = stream::open_at(&site.centre, &host, &target, &offered).await;
        let mut viewer = opened.unwrap_or_else(|status| panic!("{status}\n{}", site.centre.last_words()));
        assert_eq!(text(&mut viewer).await, "/websockify");
        viewer.say(Message::binary(b"RFB 003.008\n".to_vec())).await;
        assert_eq!(viewer.hear().await.unwrap().into_data().as_ref(), b"RFB 003.008\n");
        assert_eq!(stream::open_at(&site.centre, &host, &target, &offered).await.err(), Some(482), "it opens one");
        let target = format!("{alone}&intent={}", site.proof(&site.alice, &token));
        let again = stream::open_at(&site.centre, &host, &target, &offered).await;
        assert!(again.is_ok(), "a viewer connects again");
    }
}
