//! Public links of jobs, on a real Slurm, as real accounts: anyone reaches what the owner signed,
//! and nothing else.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::net::TcpListener;

use crate::jobs_web::{SERVER, Site, text};
use crate::support::stream::{self, Browser};
use crate::support::test_site::{PROVIDER, Person};
use countersign_portal::core::{JobDeed, Resource, ResourceDeed};
use countersign_portal::{Answer, Deed};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const LINKS: &str = "links = { prefix = \"link-\", suffix = \".localhost\" }";
const PRODUCT: &str = "\n[[products]]\nname = \"link\"\ncategory = \"link\"\ntype = \"ingress\"\n";

/// A centre that offers public links, with two users.
struct LinkSite {
    site: Site,
    bob: Person,
    /// Two ports at which the application listens beside its own: one may be public, the other is
    /// not.
    ports: [u16; 2],
}

impl LinkSite {
    async fn open() -> Self {
        let site = Site::with(LINKS, PRODUCT).await;
        let bob = site.centre.connect("bob").await;
        site.until_served(&bob).await;
        Self { site, bob, ports: free() }
    }

    fn alice(&self) -> &Person {
        &self.site.alice
    }

    /// What a user asks for to get a link of that domain.
    fn asked(domain: &str) -> Value {
        json!({"domain": domain, "product": {"id": "link", "category": "link", "provider": PROVIDER}, "labels": {}})
    }

    async fn create(&self, person: &Person, number: &str, name: &str) -> Answer {
        let deed =
            ResourceDeed::Create(Resource::Link, number.to_owned(), Self::asked(&format!("link-{name}.localhost")));
        self.site.centre.perform(person, &Deed::Resource(deed)).await
    }

    async fn created(&self, person: &Person, number: &str, name: &str) {
        let answer = self.create(person, number, name).await;
        assert!(answer.is_ok(), "{answer:?}\n{}", self.site.centre.last_words());
    }

    /// A specification with these links: Core's number and the port, or none for the application's
    /// own.
    fn with_links(links: &[(&str, Option<u16>)]) -> Value {
        let mut specification = Site::specification(1);
        let link =
            |(number, port): &(&str, Option<u16>)| json!({"type": "ingress", "id": number, "port": port.unwrap_or(0)});
        specification["resources"] = links.iter().map(link).collect();
        specification
    }

    /// Starts a job of a web application with these links.
    async fn serve(&self, person: &Person, number: &str, links: &[(&str, Option<u16>)]) {
        let answer = self.submit(person, number, links).await;
        self.site.until_running(number, &answer).await;
        self.site.port(person, number).await;
    }

    async fn submit(&self, person: &Person, number: &str, links: &[(&str, Option<u16>)]) -> Answer {
        let [one, two] = self.ports;
        let script = format!(
            "{SERVER}for one in {one} {two}; do\n  /usr/bin/python3 server.py $one $one &\ndone\n\
             exec /usr/bin/python3 server.py own \"$UCLOUD_PORT\"\n"
        );
        self.site.submit(person, number, &Self::with_links(links), &Site::application("WEB", &script)).await
    }

    /// The host of a link, with the gateway's port.
    fn host(&self, name: &str) -> String {
        format!("link-{name}.localhost:{}", self.site.centre.address.port())
    }

    async fn get(&self, name: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.site.send(&self.host(name), "GET", target, headers, Vec::new()).await
    }

    async fn until_reached(&self, name: &str) {
        self.site.centre.until("the link is reached", async || self.get(name, "/", &[]).await.status == 200).await;
    }

    async fn until_gone(&self, name: &str) {
        self.site.centre.until("the link leads nowhere", async || self.get(name, "/", &[]).await.status == 404).await;
    }

    /// What answers: `own`, or a port.
    async fn named(&self, name: &str) -> String {
        self.get(name, "/", &[]).await.json()[1].as_str().unwrap().to_owned()
    }

    /// The lines of the server's audit log.
    fn records(&self) -> Vec<String> {
        let entries = self.site.centre.state.join("audit/server/entries");
        let files = std::fs::read_dir(entries).into_iter().flatten().flatten();
        let text: String = files.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default()).collect();
        text.lines().map(str::to_owned).collect()
    }

    async fn socket(&self, name: &str) -> Result<Browser, u16> {
        let headers = [("origin", "https://anywhere.example")];
        stream::open_at(&self.site.centre, &self.host(name), "/socket?x=%20", &headers).await
    }
}

fn free() -> [u16; 2] {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, two) = (listen(), listen());
    [one, two].map(|listener| listener.local_addr().unwrap().port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j07_a_link_is_open_to_anyone_until_its_job_ends() {
    let links = LinkSite::open().await;
    links.created(links.alice(), "71", "paper").await;
    links.created(links.alice(), "72", "data").await;
    assert_eq!(links.get("paper", "/", &[]).await.status, 404, "no job has it");
    let [port, other] = links.ports;
    links.serve(links.alice(), "5", &[("71", None), ("72", Some(port))]).await;
    links.until_reached("paper").await;
    links.until_reached("data").await;
    assert_eq!((links.named("paper").await, links.named("data").await), ("own".to_owned(), port.to_string()));

    // A client without any cookie; what a browser has from other hosts, and headers of ours, are
    // not passed on.
    let ours = format!("mine=1; __Host-countersign={}", "A".repeat(43));
    let headers = [
        ("cookie", ours.as_str()),
        ("ucloud-web-link", "data"),
        ("ucloud-web-job", "6"),
        ("ucloud-username", "x"),
        ("x-forwarded-for", "x"),
        ("origin", "https://anywhere.example"),
    ];
    let seen = links.get("paper", "/a%2Fb?token=1", &headers).await.json();
    assert_eq!((&seen[0], &seen[1]), (&json!("/a%2Fb?token=1"), &json!("own")), "{seen}");
    let mut names: Vec<(&str, &str)> =
        seen[2].as_array().unwrap().iter().map(|one| (one[0].as_str().unwrap(), one[1].as_str().unwrap())).collect();
    names.sort_unstable();
    let host = links.host("paper");
    let want = [
        ("cookie", "mine=1"),
        ("host", host.as_str()),
        ("origin", "https://anywhere.example"),
        ("x-forwarded-host", host.as_str()),
        ("x-forwarded-proto", "http"),
    ];
    assert_eq!(names, want);
    let big: Vec<u8> = (0..=255).cycle().take(256 * 40960).collect();
    assert!(links.get("paper", "/big", &[]).await.bytes == big);
    let echoed = links.site.send(&host, "POST", "/", &[], b"hello".to_vec()).await;
    assert_eq!((echoed.status, echoed.bytes.as_ref()), (200, &b"hello"[..]));
    let set = links.get("paper", "/cookies", &[]).await;
    assert_eq!(set.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=b; Path=/"]);
    let mut socket = links.socket("paper").await.unwrap_or_else(|status| panic!("{status}"));
    assert_eq!(text(&mut socket).await, "/socket?x=%20");
    socket.say(Message::text("hello")).await;
    assert_eq!(text(&mut socket).await, "hello");

    // The gateway's own paths, and its other lanes, are not at this host. The token of the same
    // job's interface opens nothing here.
    let asked = links.site.ask(links.alice(), "5", 0, "WEB", None).await;
    let (_, token) = Site::address(&asked, "redirectClientTo");
    let proof = links.site.proof(links.alice(), &token);
    for path in ["authorize-app", "vnc", "download", "connect", "intent/calls.json"] {
        let target = format!("/ucloud/{PROVIDER}/{path}?token={token}&intent={proof}");
        assert_eq!(links.get("paper", &target, &[]).await.status, 404, "{path}");
        let offered = [("sec-websocket-protocol", "binary")];
        let refused = stream::open_at(&links.site.centre, &host, &target, &offered).await;
        assert_eq!(refused.err(), Some(404), "{path}");
    }
    // A port that the job did not sign, and one that no link names: no host leads there.
    for host in [format!("link-{other}"), "link-own".to_owned(), "link-5-0".to_owned()] {
        let host = format!("{host}.localhost:{}", links.site.centre.address.port());
        assert_eq!(links.site.send(&host, "GET", "/", &[], Vec::new()).await.status, 404, "{host}");
    }
    let own = links.site.centre.origin();
    let own = own.split_once("://").unwrap().1;
    let smuggled = [("ucloud-web-link", "paper"), ("ucloud-web-job", "5")];
    assert_eq!(links.site.send(own, "GET", "/", &smuggled, Vec::new()).await.status, 404);

    // Another job cannot take the link meanwhile.
    let taken = links.submit(links.alice(), "6", &[("71", None)]).await;
    assert!(taken.status == 400 && taken.text("why").contains("until it ends"), "{taken:?}");
    // The job ends, and with it the socket and the links.
    let ended = links.site.centre.perform(links.alice(), &Deed::Job(JobDeed::Terminate("5".to_owned()))).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert!(socket.hear().await.is_none());
    links.until_gone("paper").await;
    links.until_gone("data").await;
    let page = links.get("paper", "/", &[("accept", "text/html")]).await;
    assert!(String::from_utf8_lossy(&page.bytes).contains("no running job"), "{page:?}");

    // Creation, binding and its end are on record.
    let is_noted = |call: &str, note: &str| links.records().iter().any(|one| one.contains(call) && one.contains(note));
    assert!(is_noted("links.make", "public link paper") && is_noted("jobs.submitted", "public links paper data"));
    links.site.centre.until("the end is recorded", async || is_noted("links.unbind", "paper data of job 5")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j07_a_link_is_its_owners_and_core_cannot_swap_it() {
    let links = LinkSite::open().await;
    let (alice, bob) = (links.alice(), &links.bob);
    links.created(alice, "71", "paper").await;
    links.created(bob, "72", "bobs").await;
    // Domains of another user, of an interface, of the provider, and none of the site's.
    let refused = links.create(bob, "73", "paper").await;
    assert!(refused.status == 409 && refused.text("why").contains("another user's"), "{refused:?}");
    for domain in ["app-5-0.localhost", "localhost", "link-a.b.localhost", "link-.localhost", "paper.example.org"] {
        let deed = ResourceDeed::Create(Resource::Link, "74".to_owned(), LinkSite::asked(domain));
        let refused = links.site.centre.perform(bob, &Deed::Resource(deed)).await;
        assert_eq!(refused.status, 400, "{domain}: {refused:?}");
    }
    // Core asks for another domain than the user signed.
    let deed =
        Deed::Resource(ResourceDeed::Create(Resource::Link, "75".to_owned(), LinkSite::asked("link-mine.localhost")));
    let request = links.site.centre.signed(bob, &deed);
    let swapped = request.altered(|body| body["items"][0]["specification"]["domain"] = json!("link-other.localhost"));
    assert_eq!(links.site.centre.core.invoke(&swapped).await.unwrap().status, 482);
    // A domain in capitals is signed as Core sends it.
    let deed = ResourceDeed::Create(Resource::Link, "76".to_owned(), LinkSite::asked("Link-Big.localhost"));
    let answer = links.site.centre.perform(alice, &Deed::Resource(deed)).await;
    assert!(answer.is_ok(), "{answer:?}");
    // A repeat without another signature changes nothing.
    let deed =
        Deed::Resource(ResourceDeed::Create(Resource::Link, "77".to_owned(), LinkSite::asked("link-again.localhost")));
    let signed = links.site.centre.signed(alice, &deed);
    assert!(links.site.centre.core.invoke(&signed).await.unwrap().is_ok());
    let repeated = signed.altered(|body| body["items"][0]["id"] = json!("72"));
    assert_eq!(links.site.centre.core.invoke(&repeated).await.unwrap().status, 482);

    // A job with another user's link, whose number its user has signed.
    let port = links.ports[0];
    let foreign = links.submit(alice, "5", &[("72", None)]).await;
    assert!(foreign.status == 400 && foreign.text("why").contains("not yours"), "{foreign:?}");
    // Core puts another number, or another port, into the signed job.
    for (member, value) in [("id", json!("76")), ("port", json!(port))] {
        let application = Site::application("WEB", "sleep 1\n");
        let request = links.site.request(alice, "6", LinkSite::with_links(&[("71", None)]), &application);
        let swapped = request.altered(|body| body["items"][0]["specification"]["resources"][0][member] = value.clone());
        assert_eq!(links.site.centre.core.invoke(&swapped).await.unwrap().status, 482, "{member}");
    }

    // The owner deletes the link: also an open socket ends. Another user's deletion does nothing.
    links.serve(alice, "7", &[("71", Some(port))]).await;
    links.until_reached("paper").await;
    let delete = async |person: &Person, number: &str| {
        let deed = Deed::Resource(ResourceDeed::Delete(Resource::Link, number.to_owned()));
        let answer = links.site.centre.perform(person, &deed).await;
        assert!(answer.is_ok(), "{answer:?}");
    };
    delete(bob, "71").await;
    assert_eq!(links.named("paper").await, port.to_string());
    let mut socket = links.socket("paper").await.unwrap_or_else(|status| panic!("{status}"));
    assert_eq!(text(&mut socket).await, "/socket?x=%20");
    delete(alice, "71").await;
    assert_eq!(links.get("paper", "/", &[]).await.status, 404, "at once");
    assert!(socket.hear().await.is_none());
    // Its name is free, and the job that had it is not public under it any more.
    links.created(bob, "78", "paper").await;
    assert_eq!(links.get("paper", "/", &[]).await.status, 404);
    let relabelled = ResourceDeed::Relabel(Resource::Link, "78".to_owned(), json!({"Colour": "red"}));
    assert!(links.site.centre.perform(bob, &Deed::Resource(relabelled)).await.is_ok());
    // Core, which failed to keep the labels, repeats the old ones without a signature.
    let old = Deed::Resource(ResourceDeed::Relabel(Resource::Link, "78".to_owned(), json!({})));
    let core = &links.site.centre.core;
    let repeated = core.request(&bob.username, &old, None).unwrap();
    assert_eq!(core.invoke(&repeated).await.unwrap().status, 482);
}
