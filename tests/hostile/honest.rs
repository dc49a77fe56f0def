//! An honest user whose every answer can be told from every other: each request lists a folder in
//! which one file's name says which it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign_portal::core::{Flavour, username_header};
use countersign_portal::{Core, Deed, Intent, now};

use crate::support::test_site::{PROVIDER, Person, TestSite};

/// How long an answer may take. A machine with other work must not make a test fail.
const PATIENCE: Duration = Duration::from_secs(30);

/// Folders, and so answers that differ.
const FOLDERS: usize = 32;

/// The centre, and the user.
pub(crate) struct Honest {
    pub(crate) centre: TestSite,
    pub(crate) alice: Person,
    core: Core,
    /// Requests that were answered as they should.
    served: AtomicUsize,
    /// Those of them that were written by hand, and may be refused with their connection.
    asked: AtomicUsize,
}

impl Honest {
    /// Connects the user and makes the folders.
    pub(crate) async fn at(centre: TestSite) -> Self {
        let alice = centre.connect("alice").await;
        let mkdir: Vec<String> =
            (0..FOLDERS).map(|number| format!("mkdir h-{number}; touch h-{number}/{}", marker(number))).collect();
        let made = centre.shell_as("alice", &format!("cd \"$HOME\"; {}", mkdir.join("; "))).await;
        assert!(made.status.success(), "{made:?}");
        let core = core(&centre);
        centre.begin_to_judge(&alice).await;
        Self { centre, alice, core, served: AtomicUsize::new(0), asked: AtomicUsize::new(0) }
    }

    fn next(&self) -> usize {
        self.asked.fetch_add(1, Ordering::Relaxed) % FOLDERS
    }

    /// One signed request by way of UCloud, which must be answered, and with its own answer. How
    /// long that took.
    pub(crate) async fn asks(&self, meanwhile: &str) -> Duration {
        self.asks_by(&self.core, meanwhile).await
    }

    /// The same on a new connection.
    pub(crate) async fn asks_anew(&self, meanwhile: &str) -> Duration {
        self.asks_by(&core(&self.centre), meanwhile).await
    }

    /// Asks and asks until that has come about.
    pub(crate) async fn asks_until<T>(&self, what: &str, comes: impl Future<Output = T>) -> T {
        let mut comes = std::pin::pin!(comes);
        loop {
            let mut ask = std::pin::pin!(self.asks_anew(what));
            tokio::select! {
                came = comes.as_mut() => {
                    ask.await;
                    return came;
                }
                _answered = ask.as_mut() => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    async fn asks_by(&self, core: &Core, meanwhile: &str) -> Duration {
        let number = self.next();
        let began = Instant::now();
        let request = self.centre.signed(&self.alice, &Deed::browse(&format!("/home/h-{number}")));
        let answer =
            core.send(&request).await.unwrap_or_else(|why| panic!("{meanwhile}: {why}\n{}", self.centre.last_words()));
        let text = String::from_utf8_lossy(&answer.bytes);
        assert_eq!(answer.status, 200, "{meanwhile}: {text}");
        assert!(
            text.contains(&marker(number)) && text.matches("marker-").count() == 1,
            "{meanwhile}: another's answer: {text}"
        );
        self.served.fetch_add(1, Ordering::Relaxed);
        began.elapsed()
    }

    /// The same request as bytes, after which the connection is to be closed; and what only its
    /// answer contains.
    pub(crate) fn bytes(&self) -> (String, String) {
        let number = self.next();
        let deed = Deed::browse(&format!("/home/h-{number}"));
        let body = deed.body(&self.alice.username, PROVIDER, Flavour::Core2).unwrap();
        let intent = Intent::of(&self.centre.origin(), &self.alice.username, &deed, now()).unwrap();
        let text = format!(
            "POST /ucloud/{PROVIDER}/files/browse HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nUcloud-Username: {}\r\n\
             UCloud-Signed-Intent: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
            self.host(),
            self.core.token().unwrap(),
            username_header(&self.alice.username),
            intent.sign(&self.alice.key).unwrap(),
            body.len(),
            std::str::from_utf8(&body).unwrap(),
        );
        (text, marker(number))
    }

    /// A request of [`Honest::bytes`] was answered.
    pub(crate) fn was_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were answered as they should.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// The provider's host, with its port.
    pub(crate) fn host(&self) -> String {
        self.centre.origin().split_once("://").unwrap().1.to_owned()
    }

    /// How many of the user's requests the gateway has let through.
    pub(crate) fn forwarded(&self) -> usize {
        let is_one = |decision: &serde_json::Value| {
            decision["decision"] == "forward"
                && decision["call"].as_str().is_some_and(|call| call.starts_with("files."))
        };
        self.centre.decisions().iter().filter(|decision| is_one(decision)).count()
    }
}

/// Core, with connections of its own.
fn core(centre: &TestSite) -> Core {
    Core::new(Arc::clone(&centre.keys), centre.core.endpoint().clone()).with_patience(PATIENCE)
}

fn marker(number: usize) -> String {
    format!("marker-{number}-")
}
