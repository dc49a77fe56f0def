//! The attacks of the demo: by a taken-over Core that sees and sends everything, by another
//! provider with its own credentials, and by a local account. The provider must refuse each attack,
//! change nothing, and log the reason.

use std::path::PathBuf;

use countersign_portal::core::Bearer;
use countersign_portal::{
    Algorithm, Answer, BrowserKey, ConnectionPage, Core, CoreKeys, Deed, Endpoint, Intent, Request, malicious, now,
};
use serde_json::json;

use crate::demo::story::{Story, User};
use crate::demo_provider::{Accounts, DemoProvider};
use crate::journal::Journal;
use crate::program_error::ProgramError;

/// The folder that Alice makes, and the folder that Core wants in a user's home.
const GOOD: &str = "/home/from-alice";
const EVIL: &str = "/home/from-core";

/// The status and the error code with which an attack must be answered.
pub(super) type Want = (u16, &'static str);

const REQUIRED: Want = (482, "INTENT_REQUIRED");
pub(super) const INVALID: Want = (482, "INTENT_INVALID");
const STALE: Want = (482, "INTENT_STALE");
pub(super) const REPLAYED: Want = (482, "INTENT_REPLAYED");
const UNAUTHORIZED: Want = (401, "UNAUTHORIZED");
pub(super) const NOT_FOUND: Want = (404, "NOT_FOUND");

impl Story<'_> {
    /// Runs every attack.
    pub(crate) async fn attack_all(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        self.screen.title("Core has been taken over: it holds its token, sees every intent, and sends what it likes");
        self.attack_requests(demo_provider).await?;
        self.attack_intents(demo_provider).await?;
        self.attack_keys(demo_provider).await?;
        self.screen.title("A neighbour: another provider's credentials, and a local account");
        self.attack_tokens(demo_provider).await?;
        match demo_provider.accounts() {
            Accounts::Own => self.attack_as_mallory(demo_provider).await,
            Accounts::Shared => self.attack_instance_port(demo_provider).await,
        }
    }

    /// Tries an honest intent on another request.
    async fn attack_requests(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        let used = self.alices(demo_provider, &Deed::create_folder(GOOD))?;
        let answer = self.core()?.invoke(&used).await?;
        self.judge("alice makes the folder from-alice", &answer, "and Core keeps a copy of the request");
        let twin = malicious::intents::twin(used.intent.as_deref().unwrap_or_default(), Algorithm::Es256)?;
        let twin = malicious::with_intent(used.clone(), &twin.unwrap_or_default());
        self.attack(demo_provider, "replay: the same request again", used, REPLAYED).await?;
        self.attack(demo_provider, "replay under the signature's mathematical twin", twin, REPLAYED).await?;

        let fresh = self.alices(demo_provider, &Deed::create_folder(GOOD))?;
        let other = malicious::another_path(fresh, GOOD, EVIL);
        self.attack(demo_provider, "another path under a good signature", other, INVALID).await?;

        let fresh = self.alices(demo_provider, &Deed::create_folder(GOOD))?;
        let more = malicious::item_added(fresh, GOOD, EVIL);
        self.attack(demo_provider, "an item added to a bulk", more, INVALID).await?;

        let listing = self.alices(demo_provider, &Deed::browse("/home"))?;
        let intent = listing.intent.unwrap_or_default();
        let trash = self.core()?.request("alice#1234", &Deed::trash("/home/notes.txt"), Some(&intent))?;
        self.attack(demo_provider, "a listing's signature on a deletion", trash, INVALID).await?;

        let fresh = self.alices(demo_provider, &Deed::create_folder(EVIL))?;
        let bobs = malicious::another_user(fresh, "bob#5678");
        self.attack(demo_provider, "another user: alice's intent in bob's name", bobs, INVALID).await?;

        let fresh = self.alices(demo_provider, &Deed::create_folder(EVIL))?;
        self.attack(demo_provider, "no intent", malicious::without_intent(fresh), REQUIRED).await?;

        let mut unknown = self.alices(demo_provider, &Deed::create_folder(EVIL))?;
        unknown.path = self.core()?.path("files/createFolderAsRoot");
        self.attack(demo_provider, "a call that is in no table", unknown, NOT_FOUND).await
    }

    /// Tries intents that Alice's browser was made to sign, or that were altered later.
    async fn attack_intents(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        let deed = Deed::create_folder(EVIL);
        let [alice, _] = self.pair()?;
        let honest = Intent::of(&demo_provider.origin(), alice.person.username, &deed, now())?;
        let sign = |intent: &Intent| intent.sign(&alice.key);
        let elsewhere = sign(&malicious::for_another_provider(honest.clone()))?;
        let expired = sign(&malicious::expired(honest.clone(), now()))?;
        let future = sign(&malicious::from_the_future(honest.clone(), now()))?;
        let good =
            sign(&Intent::of(&demo_provider.origin(), alice.person.username, &Deed::create_folder(GOOD), now())?)?;
        let digests = json!(honest.params);
        let altered = malicious::claim_altered(&good, "params", digests)?;
        let unsigned = malicious::intents::algorithm(&honest, &alice.key)?;
        let none = unsigned.into_iter().find(|one| one.name == "v10_none_bare").map(|one| one.it).unwrap_or_default();
        for (name, intent, want) in [
            ("another provider's intent", elsewhere, INVALID),
            ("expired two seconds ago", expired, STALE),
            ("from the future", future, STALE),
            ("claims altered after signing", altered, INVALID),
            ("no signature: alg none", none, INVALID),
        ] {
            let request = self.core()?.request("alice#1234", &deed, Some(&intent))?;
            self.attack(demo_provider, name, request, want).await?;
        }
        Ok(())
    }

    /// Tries keys that are not the user's, or that the user has removed.
    async fn attack_keys(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        let redirect = self.core()?.connect("alice#1234").await?;
        let page = ConnectionPage::open(&redirect, demo_provider.endpoint()?)?;
        let mut cores = BrowserKey::make(Algorithm::Es256)?;
        let offer = page.offer(&cores).await?;
        self.must(offer.is_ok(), "anyone with a ticket may offer a key");
        cores.set_kid(&offer.text("kid"));
        let request = self.deed_by(demo_provider, "alice#1234", &cores, &Deed::create_folder(EVIL))?;
        self.attack(demo_provider, "a key that Core offered, which nobody approved", request, INVALID).await?;

        let second = page.offer(&BrowserKey::make(Algorithm::Es256)?).await?;
        let state = page.status().await?.text("state");
        let answer = class(&second);
        if !second.is_ok() && state == "dead" {
            self.withstood("a second key for one ticket", &answer, "the ticket is dead, and both pages say so");
        } else {
            self.fail("a second key for one ticket", &answer, &format!("the ticket is {state}"));
        }

        let bob = self.pair()?[1].person.clone();
        let key = self.connect_one(demo_provider, &bob, Algorithm::EdDsa).await?;
        let listing = self.deed_by(demo_provider, bob.username, &key, &Deed::browse("/home"))?;
        let answer = self.core()?.invoke(&listing).await?;
        self.judge("bob lists /home with his second key", &answer, "");
        let revoked = demo_provider.run_as(&bob, &["keys", "revoke", key.kid()]).await?;
        if revoked.status.success() {
            self.did("bob$ countersign keys revoke", "revoked", key.kid());
        } else {
            let said = String::from_utf8_lossy(&revoked.stderr).trim().to_owned();
            self.fail("bob$ countersign keys revoke", "failed", &said);
        }
        let request = self.deed_by(demo_provider, bob.username, &key, &Deed::create_folder(EVIL))?;
        self.attack(demo_provider, "a revoked key", request, INVALID).await
    }

    /// Tries tokens that are not Core's.
    async fn attack_tokens(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        let stranger = CoreKeys::generate("other")?;
        for (name, bearer) in [
            ("Core's token for another provider", Bearer::Given(stranger.core2_token(now())?)),
            ("the provider's own token, played back", Bearer::Given(self.keys.provider_token(now())?)),
            ("no token of Core at all", Bearer::Absent),
        ] {
            let mut request = self.alices(demo_provider, &Deed::create_folder(EVIL))?;
            request.bearer = bearer;
            self.attack(demo_provider, name, request, UNAUTHORIZED).await?;
        }
        Ok(())
    }

    /// Tries the instances' sockets as the local account `mallory`.
    async fn attack_as_mallory(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        let sockets = demo_provider.instance_sockets();
        self.must(!sockets.is_empty(), "instances have sockets");
        for socket in sockets {
            let knocked = demo_provider.knock_as_mallory(&socket).await?;
            let said = String::from_utf8_lossy(&knocked.stdout).trim().to_owned();
            let what = "mallory knocks at an instance's socket";
            if knocked.status.code() == Some(1) {
                self.withstood(what, &said, &socket.display().to_string());
            } else {
                self.fail(what, &said, &socket.display().to_string());
            }
        }
        let kid = self.pair()?[0].key.kid().to_owned();
        let revoked = demo_provider.run_as_mallory(&["keys", "revoke", &kid]).await?;
        let said = String::from_utf8_lossy(&revoked.stderr).trim().to_owned();
        let what = "mallory$ countersign keys revoke (alice's key)";
        if revoked.status.success() {
            self.fail(what, "revoked", "");
        } else {
            self.withstood(what, "refused", &said);
        }
        let listing = self.alices(demo_provider, &Deed::browse("/home"))?;
        let answer = self.core()?.invoke(&listing).await?;
        self.judge("alice lists /home with it", &answer, "nothing has happened to it");
        Ok(())
    }

    /// With one shared account, every local account can connect to an instance's port. The instance
    /// must therefore verify by itself.
    async fn attack_instance_port(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        let person = self.pair()?[0].person.clone();
        let Some(address) = demo_provider.instance_address(&person) else {
            return Ok(());
        };
        let door = Core::new(std::sync::Arc::clone(self.keys), Endpoint::plain(address));
        let mut stranger = self.alices(demo_provider, &Deed::create_folder(EVIL))?;
        stranger.bearer = Bearer::Absent;
        let forged = malicious::another_path(self.alices(demo_provider, &Deed::create_folder(GOOD))?, GOOD, EVIL);
        let bare = malicious::without_intent(self.alices(demo_provider, &Deed::create_folder(EVIL))?);
        for (name, request, want) in [
            ("a local account knocks at the instance's port", stranger, UNAUTHORIZED),
            ("the same with Core's token, no intent", bare, REQUIRED),
            ("the same with an intent for another path", forged, INVALID),
        ] {
            self.attack_at(&door, &demo_provider.instance_journal(&person), demo_provider, name, request, want).await?;
        }
        Ok(())
    }

    /// Sends one attack to the gateway.
    async fn attack(
        &mut self,
        demo_provider: &DemoProvider,
        name: &str,
        request: Request,
        want: Want,
    ) -> Result<(), ProgramError> {
        let core = self.new_core(demo_provider)?;
        self.attack_at(&core, &demo_provider.journal(), demo_provider, name, request, want).await
    }

    /// Sends one attack to `door`. Checks the response, the absence of effects, and the reason in
    /// the log of the process that refused.
    async fn attack_at(
        &mut self,
        door: &Core,
        journal: &Journal,
        demo_provider: &DemoProvider,
        name: &str,
        request: Request,
        want: Want,
    ) -> Result<(), ProgramError> {
        let mark = journal.mark();
        let answer = door.send(&request).await?;
        let said = class(&answer);
        let refusal = journal.refusal_since(mark, answer.header("x-request-id")).await;
        if self.has_come_true(demo_provider)? {
            self.fail(name, &said, "and it has happened all the same");
            return Ok(());
        }
        match refusal {
            _ if (answer.status, answer.error_code().as_str()) != want => {
                self.fail(name, &said, &format!("it must be {} {}", want.0, want.1));
            }
            None => self.fail(name, &said, "but the log does not say why"),
            Some(refusal) => self.withstood(name, &said, &format!("{}: {}", refusal.process, refusal.reason)),
        }
        Ok(())
    }

    /// Whether Core's folder exists in a home, or the file that it wanted to delete is gone.
    fn has_come_true(&self, demo_provider: &DemoProvider) -> Result<bool, ProgramError> {
        let evil: PathBuf = EVIL.trim_start_matches("/home/").into();
        let notes = self.pair()?[0].person.home.join("notes.txt");
        Ok(!notes.exists() || demo_provider.people().iter().any(|person| person.home.join(&evil).exists()))
    }

    fn alices(&self, demo_provider: &DemoProvider, deed: &Deed) -> Result<Request, ProgramError> {
        let alice: &User = self.pair()?[0];
        self.signed(demo_provider, alice, deed)
    }

    fn deed_by(
        &self,
        demo_provider: &DemoProvider,
        username: &str,
        key: &BrowserKey,
        deed: &Deed,
    ) -> Result<Request, ProgramError> {
        let intent = Intent::of(&demo_provider.origin(), username, deed, now())?.sign(key)?;
        Ok(self.core()?.request(username, deed, Some(&intent))?)
    }
}

fn class(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.error_code())
}
