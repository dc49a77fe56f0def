//! The honest part of the demo: the start of the provider, two connections, some calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_portal::core::{Control, ControlCall};
use countersign_portal::{
    Algorithm, Answer, BrowserKey, ConnectionPage, Core, CoreKeys, Deed, Fault, Intent, IntentForwarding, Request, now,
};
use serde_json::Value;

use crate::demo::screen::Screen;
use crate::demo_provider::{Accounts, DemoProvider, Person};
use crate::program_error::{ErrorContext as _, ProgramError};
use crate::test_server::{new_core, wait_until_it_serves};

/// How long the provider may take to tell Core of a connection.
const TOLD_MAX: Duration = Duration::from_secs(10);

/// A user and the key in the user's browser.
pub(super) struct User {
    pub(super) person: Person,
    pub(super) key: BrowserKey,
}

/// The steps of the demo and their outcomes.
pub(crate) struct Story<'s> {
    pub(super) screen: Screen,
    pub(super) control: &'s Arc<Control>,
    pub(super) keys: &'s Arc<CoreKeys>,
    pub(super) core: Option<Core>,
    pub(super) users: Vec<User>,
    done: u32,
    refused: u32,
    wrong: Vec<String>,
}

impl<'s> Story<'s> {
    /// Makes a story without steps.
    pub(crate) fn new(screen: Screen, keys: &'s Arc<CoreKeys>, control: &'s Arc<Control>) -> Self {
        Self { screen, control, keys, core: None, users: Vec::new(), done: 0, refused: 0, wrong: Vec::new() }
    }

    /// Whether every outcome so far is as expected.
    pub(crate) fn is_as_expected(&self) -> bool {
        self.wrong.is_empty() && self.refused > 0
    }

    /// Starts the provider.
    pub(crate) async fn open(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        self.screen.title("Countersign: a provider that Core cannot speak for");
        self.screen.note(match demo_provider.accounts() {
            Accounts::Own => "A real installation: accounts ucloud, alice, bob and mallory, instances started by sudo.",
            Accounts::Shared => {
                "The small version: one account for everything. Gateway and instances still verify everything."
            }
        });
        self.screen.note(&format!("Files: {}", demo_provider.place()));
        self.did("stand-in Core", &self.control.origin(), "");
        demo_provider.start_server()?;
        let core = self.new_core(demo_provider)?;
        let took = wait_until_it_serves(demo_provider, &core).await?;
        let gateway = demo_provider.endpoint()?.origin();
        self.did("server, and gateway over TLS", &gateway, &format!("after {} ms", took.as_millis()));
        self.core = Some(core);
        Ok(())
    }

    /// Connects Alice and Bob.
    pub(crate) async fn connect(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        self.screen.title("Two users connect, each with a new key");
        for person in demo_provider.people().to_vec() {
            let key = self.connect_one(demo_provider, &person, Algorithm::Es256).await?;
            self.users.push(User { person, key });
        }
        Ok(())
    }

    /// Makes one connection: Core begins it, the browser offers a key, the user approves it at the
    /// centre.
    pub(super) async fn connect_one(
        &mut self,
        demo_provider: &DemoProvider,
        person: &Person,
        algorithm: Algorithm,
    ) -> Result<BrowserKey, ProgramError> {
        let username = person.username;
        let redirect = self.core()?.connect(username).await?;
        let page = ConnectionPage::open(&redirect, demo_provider.endpoint()?)?;
        let mut key = BrowserKey::make(algorithm)?;
        let offer = expect(page.offer(&key).await?, "connect/offer")?;
        key.set_kid(&offer.text("kid"));
        let what = format!("{username}: the browser offers an {} key", algorithm.name());
        self.did(&what, &offer.status.to_string(), &offer.text("fingerprint"));
        let code = offer.text("code");
        let approved = demo_provider.run_as(person, &["connect", "approve", &code, "--yes"]).await?;
        if !approved.status.success() {
            let said = String::from_utf8_lossy(&approved.stderr).trim().to_owned();
            return Err(ProgramError::new(format!("connect approve: {said}")));
        }
        self.did(&format!("{}$ countersign connect approve", person.account), "approved", &code);
        demo_provider.start_instance(person)?;
        page.status_after("offered").await?;
        expect(page.probe(&key, username).await?, "connect/probe")?;
        let told = ControlCall::Approved(username.to_owned());
        let heard = tokio::time::timeout(TOLD_MAX, self.control.wait_for(&told)).await;
        heard.context("waiting for the provider to tell Core")?;
        self.did(&format!("{username}: the new key signs a probe"), "connected", "and Core has been told");
        Ok(key)
    }

    /// Makes signed calls: a listing, a folder, a move, and a listing whose intent Core drops.
    pub(crate) async fn work(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        self.screen.title("Honest work, every call signed by its user");
        let [alice, _] = self.pair()?;
        let listing = self.signed(demo_provider, alice, &Deed::browse("/home"))?;
        let (who, home) = (alice.person.account, alice.person.home.clone());
        let begun = Instant::now();
        let first = self.core()?.send(&listing).await?;
        if first.status == 449 {
            self.did(&format!("{who} lists /home: no instance yet"), "449 NO_INSTANCE", "Core calls init and repeats");
        }
        let answer = match first.status {
            449 => self.core()?.invoke(&listing).await?,
            _ => first,
        };
        self.judge(&format!("{who} lists /home"), &answer, &format!("after {} ms", begun.elapsed().as_millis()));
        let mut names = names_of(&answer);
        for name in &names {
            self.screen.note(&format!("        {name}"));
        }
        names.retain(|name| name.contains("notes.txt"));
        self.must(!names.is_empty(), "the listing shows what is in the directory");

        let [alice, _] = self.pair()?;
        let folder = self.signed(demo_provider, alice, &Deed::create_folder("/home/results"))?;
        let answer = self.core()?.invoke(&folder).await?;
        self.judge(&format!("{who} makes the folder /home/results"), &answer, &on_disk(&home.join("results")));
        self.must(home.join("results").is_dir(), "the folder is there");

        let [alice, _] = self.pair()?;
        let moved = self.signed(demo_provider, alice, &Deed::move_("/home/results.csv", "/home/results/run1.csv"))?;
        let answer = self.core()?.invoke(&moved).await?;
        let target = home.join("results/run1.csv");
        self.judge(&format!("{who} moves results.csv into it"), &answer, &on_disk(&target));
        self.must(target.is_file() && !home.join("results.csv").exists(), "the file has moved");

        let [_, bob] = self.pair()?;
        let who = bob.person.account;
        let listing = self.signed(demo_provider, bob, &Deed::browse("/home"))?;
        let today = self.new_core(demo_provider)?.with_forwarding(IntentForwarding::Dropped);
        let deposit = today.deposit(listing.intent.as_deref().unwrap_or_default()).await?;
        self.must(deposit.status == 202, "a deposited intent is taken");
        let answer = today.invoke(&listing).await?;
        self.judge(&format!("{who} lists /home through today's Core"), &answer, "it drops intents: deposited");
        Ok(())
    }

    /// Prints the summary.
    pub(crate) fn sum_up(&self) {
        self.screen.title("Summary");
        let what = format!("{} honest steps done, {} attacks refused", self.done, self.refused);
        if self.is_as_expected() {
            self.screen.verdict(true, &format!("  {what}, as it must be."));
            return;
        }
        self.screen.verdict(false, &format!("  {what}; not as it must be:"));
        for wrong in &self.wrong {
            self.screen.verdict(false, &format!("    {wrong}"));
        }
    }

    // --- Helpers of both parts ---

    pub(super) fn core(&self) -> Result<&Core, ProgramError> {
        self.core.as_ref().ok_or_else(|| ProgramError::new("Core has not begun"))
    }

    pub(super) fn new_core(&self, demo_provider: &DemoProvider) -> Result<Core, ProgramError> {
        new_core(self.keys, self.control, demo_provider)
    }

    pub(super) fn pair(&self) -> Result<[&User; 2], ProgramError> {
        match self.users.as_slice() {
            [alice, bob, ..] => Ok([alice, bob]),
            _ => Err(ProgramError::new("nobody is connected")),
        }
    }

    /// The request that Core sends for a deed that the user signs now.
    pub(super) fn signed(
        &self,
        demo_provider: &DemoProvider,
        user: &User,
        deed: &Deed,
    ) -> Result<Request, ProgramError> {
        let intent = Intent::of(&demo_provider.origin(), user.person.username, deed, now())?;
        Ok(self.core()?.request(user.person.username, deed, Some(&intent.sign(&user.key)?))?)
    }

    /// Records an honest step that succeeded.
    pub(super) fn did(&mut self, what: &str, answer: &str, more: &str) {
        self.done = self.done.saturating_add(1);
        self.screen.ok(what, answer, more);
    }

    /// Records an attack that was refused.
    pub(super) fn withstood(&mut self, what: &str, answer: &str, more: &str) {
        self.refused = self.refused.saturating_add(1);
        self.screen.refused(what, answer, more);
    }

    /// Records an outcome that is not as expected.
    pub(super) fn fail(&mut self, what: &str, answer: &str, more: &str) {
        self.wrong.push(format!("{what}: {answer} {more}"));
        self.screen.wrong(what, answer, more);
    }

    /// Records a failure unless `holds`.
    pub(super) fn must(&mut self, holds: bool, what: &str) {
        if !holds {
            self.fail(what, "is not so", "");
        }
    }

    pub(super) fn judge(&mut self, what: &str, answer: &Answer, more: &str) {
        if answer.is_ok() {
            self.did(what, &answer.status.to_string(), more);
        } else {
            let body = String::from_utf8_lossy(&answer.bytes).into_owned();
            self.fail(what, &answer.status.to_string(), &body);
        }
    }
}

pub(super) fn expect(answer: Answer, what: &'static str) -> Result<Answer, ProgramError> {
    if answer.is_ok() {
        return Ok(answer);
    }
    let body = String::from_utf8_lossy(&answer.bytes).into_owned();
    Err(Fault::Unexpected { what, status: answer.status, body }.into())
}

/// Path and size of every entry of a listing.
fn names_of(answer: &Answer) -> Vec<String> {
    let items = answer.json().get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |item: &Value, at: &str| item.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let line = |item: &Value| {
        let size = item.pointer("/status/sizeInBytes").and_then(Value::as_i64).unwrap_or_default();
        format!("{:32} {:10} {size:>6} bytes", text(item, "/id"), text(item, "/status/type"))
    };
    items.iter().map(line).collect()
}

fn on_disk(path: &Path) -> String {
    let seen = if path.exists() { "on disk" } else { "NOT on disk" };
    format!("{seen}: {}", PathBuf::from(path).display())
}
