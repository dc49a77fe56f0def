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
use crate::house::{Accounts, House};
use crate::journal::Journal;
use crate::trouble::Trouble;

/// The folder that Alice makes, and the folder that Core wants in a user's home.
const GOOD: &str = "/home/from-alice";
const EVIL: &str = "/home/from-core";

/// The status and the error code with which an attack must be answered.
type Want = (u16, &'static str);

const REQUIRED: Want = (482, "INTENT_REQUIRED");
const INVALID: Want = (482, "INTENT_INVALID");
const STALE: Want = (482, "INTENT_STALE");
const REPLAYED: Want = (482, "INTENT_REPLAYED");
const UNAUTHORIZED: Want = (401, "UNAUTHORIZED");
const NOT_FOUND: Want = (404, "NOT_FOUND");

impl Story<'_> {
    /// Runs every attack.
    pub(crate) async fn suffer(&mut self, house: &House) -> Result<(), Trouble> {
        self.screen.title("Core has been taken over: it holds its token, sees every intent, and sends what it likes");
        self.suffer_requests(house).await?;
        self.suffer_intents(house).await?;
        self.suffer_keys(house).await?;
        self.screen.title("A neighbour: another provider's credentials, and a local account");
        self.suffer_tokens(house).await?;
        match house.accounts() {
            Accounts::Own => self.suffer_mallory(house).await,
            Accounts::Shared => self.suffer_knocking(house).await,
        }
    }

    /// Tries an honest intent on another request.
    async fn suffer_requests(&mut self, house: &House) -> Result<(), Trouble> {
        let used = self.alices(house, &Deed::create_folder(GOOD))?;
        let answer = self.core()?.invoke(&used).await?;
        self.judge("alice makes the folder from-alice", &answer, "and Core keeps a copy of the request");
        let twin = malicious::intents::twin(used.intent.as_deref().unwrap_or_default(), Algorithm::Es256)?;
        let twin = malicious::with_intent(used.clone(), &twin.unwrap_or_default());
        self.attack(house, "replay: the same request again", used, REPLAYED).await?;
        self.attack(house, "replay under the signature's mathematical twin", twin, REPLAYED).await?;

        let fresh = self.alices(house, &Deed::create_folder(GOOD))?;
        let other = malicious::another_path(fresh, GOOD, EVIL);
        self.attack(house, "another path under a good signature", other, INVALID).await?;

        let fresh = self.alices(house, &Deed::create_folder(GOOD))?;
        let more = malicious::item_added(fresh, GOOD, EVIL);
        self.attack(house, "an item added to a bulk", more, INVALID).await?;

        let listing = self.alices(house, &Deed::browse("/home"))?;
        let intent = listing.intent.unwrap_or_default();
        let trash = self.core()?.request("alice#1234", &Deed::trash("/home/notes.txt"), Some(&intent))?;
        self.attack(house, "a listing's signature on a deletion", trash, INVALID).await?;

        let fresh = self.alices(house, &Deed::create_folder(EVIL))?;
        let bobs = malicious::another_user(fresh, "bob#5678");
        self.attack(house, "another user: alice's intent in bob's name", bobs, INVALID).await?;

        let fresh = self.alices(house, &Deed::create_folder(EVIL))?;
        self.attack(house, "no intent", malicious::without_intent(fresh), REQUIRED).await?;

        let mut unknown = self.alices(house, &Deed::create_folder(EVIL))?;
        unknown.path = self.core()?.path("files/createFolderAsRoot");
        self.attack(house, "a call that is in no table", unknown, NOT_FOUND).await
    }

    /// Tries intents that Alice's browser was made to sign, or that were altered later.
    async fn suffer_intents(&mut self, house: &House) -> Result<(), Trouble> {
        let deed = Deed::create_folder(EVIL);
        let [alice, _] = self.pair()?;
        let honest = Intent::of(&house.origin(), alice.person.username, &deed, now())?;
        let sign = |intent: &Intent| intent.sign(&alice.key);
        let elsewhere = sign(&malicious::for_another_provider(honest.clone()))?;
        let expired = sign(&malicious::expired(honest.clone(), now()))?;
        let future = sign(&malicious::from_the_future(honest.clone(), now()))?;
        let good = sign(&Intent::of(&house.origin(), alice.person.username, &Deed::create_folder(GOOD), now())?)?;
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
            self.attack(house, name, request, want).await?;
        }
        Ok(())
    }

    /// Tries keys that are not the user's, or that the user has removed.
    async fn suffer_keys(&mut self, house: &House) -> Result<(), Trouble> {
        let redirect = self.core()?.connect("alice#1234").await?;
        let page = ConnectionPage::open(&redirect, house.endpoint()?)?;
        let mut cores = BrowserKey::make(Algorithm::Es256)?;
        let offer = page.offer(&cores).await?;
        self.must(offer.is_ok(), "anyone with a ticket may offer a key");
        cores.set_kid(&offer.text("kid"));
        let request = self.deed_by(house, "alice#1234", &cores, &Deed::create_folder(EVIL))?;
        self.attack(house, "a key that Core offered, which nobody approved", request, INVALID).await?;

        let second = page.offer(&BrowserKey::make(Algorithm::Es256)?).await?;
        let state = page.status().await?.text("state");
        let answer = class(&second);
        if !second.is_ok() && state == "dead" {
            self.withstood("a second key for one ticket", &answer, "the ticket is dead, and both pages say so");
        } else {
            self.fail("a second key for one ticket", &answer, &format!("the ticket is {state}"));
        }

        let bob = self.pair()?[1].person.clone();
        let key = self.connect_one(house, &bob, Algorithm::EdDsa).await?;
        let listing = self.deed_by(house, bob.username, &key, &Deed::browse("/home"))?;
        let answer = self.core()?.invoke(&listing).await?;
        self.judge("bob lists /home with his second key", &answer, "");
        let revoked = house.run_as(&bob, &["keys", "revoke", key.kid()]).await?;
        if revoked.status.success() {
            self.did("bob$ countersign keys revoke", "revoked", key.kid());
        } else {
            let said = String::from_utf8_lossy(&revoked.stderr).trim().to_owned();
            self.fail("bob$ countersign keys revoke", "failed", &said);
        }
        let request = self.deed_by(house, bob.username, &key, &Deed::create_folder(EVIL))?;
        self.attack(house, "a revoked key", request, INVALID).await
    }

    /// Tries tokens that are not Core's.
    async fn suffer_tokens(&mut self, house: &House) -> Result<(), Trouble> {
        let stranger = CoreKeys::generate("other")?;
        for (name, bearer) in [
            ("Core's token for another provider", Bearer::Given(stranger.core2_token(now())?)),
            ("the provider's own token, played back", Bearer::Given(self.keys.provider_token(now())?)),
            ("no token of Core at all", Bearer::Absent),
        ] {
            let mut request = self.alices(house, &Deed::create_folder(EVIL))?;
            request.bearer = bearer;
            self.attack(house, name, request, UNAUTHORIZED).await?;
        }
        Ok(())
    }

    /// Tries the instances' sockets as the local account `mallory`.
    async fn suffer_mallory(&mut self, house: &House) -> Result<(), Trouble> {
        let sockets = house.instance_sockets();
        self.must(!sockets.is_empty(), "instances have sockets");
        for socket in sockets {
            let knocked = house.knock_as_mallory(&socket).await?;
            let said = String::from_utf8_lossy(&knocked.stdout).trim().to_owned();
            let what = "mallory knocks at an instance's socket";
            if knocked.status.code() == Some(1) {
                self.withstood(what, &said, &socket.display().to_string());
            } else {
                self.fail(what, &said, &socket.display().to_string());
            }
        }
        let kid = self.pair()?[0].key.kid().to_owned();
        let revoked = house.run_as_mallory(&["keys", "revoke", &kid]).await?;
        let said = String::from_utf8_lossy(&revoked.stderr).trim().to_owned();
        let what = "mallory$ countersign keys revoke (alice's key)";
        if revoked.status.success() {
            self.fail(what, "revoked", "");
        } else {
            self.withstood(what, "refused", &said);
        }
        let listing = self.alices(house, &Deed::browse("/home"))?;
        let answer = self.core()?.invoke(&listing).await?;
        self.judge("alice lists /home with it", &answer, "nothing has happened to it");
        Ok(())
    }

    /// With one shared account, every local account can connect to an instance's port. The instance
    /// must therefore verify by itself.
    async fn suffer_knocking(&mut self, house: &House) -> Result<(), Trouble> {
        let person = self.pair()?[0].person.clone();
        let Some(address) = house.instance_address(&person) else {
            return Ok(());
        };
        let door = Core::new(std::sync::Arc::clone(self.keys), Endpoint::plain(address));
        let mut stranger = self.alices(house, &Deed::create_folder(EVIL))?;
        stranger.bearer = Bearer::Absent;
        let forged = malicious::another_path(self.alices(house, &Deed::create_folder(GOOD))?, GOOD, EVIL);
        let bare = malicious::without_intent(self.alices(house, &Deed::create_folder(EVIL))?);
        for (name, request, want) in [
            ("a local account knocks at the instance's port", stranger, UNAUTHORIZED),
            ("the same with Core's token, no intent", bare, REQUIRED),
            ("the same with an intent for another path", forged, INVALID),
        ] {
            self.attack_at(&door, &house.instance_journal(&person), house, name, request, want).await?;
        }
        Ok(())
    }

    /// Sends one attack to the gateway.
    async fn attack(&mut self, house: &House, name: &str, request: Request, want: Want) -> Result<(), Trouble> {
        let core = self.new_core(house)?;
        self.attack_at(&core, &house.journal(), house, name, request, want).await
    }

    /// Sends one attack to `door`. Checks the response, the absence of effects, and the reason in
    /// the log of the process that refused.
    async fn attack_at(
        &mut self,
        door: &Core,
        journal: &Journal,
        house: &House,
        name: &str,
        request: Request,
        want: Want,
    ) -> Result<(), Trouble> {
        let mark = journal.mark();
        let answer = door.send(&request).await?;
        let said = class(&answer);
        let refusal = journal.refusal_since(mark, answer.header("x-request-id")).await;
        if self.has_come_true(house)? {
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
    fn has_come_true(&self, house: &House) -> Result<bool, Trouble> {
        let evil: PathBuf = EVIL.trim_start_matches("/home/").into();
        let notes = self.pair()?[0].person.home.join("notes.txt");
        Ok(!notes.exists() || house.people().iter().any(|person| person.home.join(&evil).exists()))
    }

    fn alices(&self, house: &House, deed: &Deed) -> Result<Request, Trouble> {
        let alice: &User = self.pair()?[0];
        self.signed(house, alice, deed)
    }

    fn deed_by(&self, house: &House, username: &str, key: &BrowserKey, deed: &Deed) -> Result<Request, Trouble> {
        let intent = Intent::of(&house.origin(), username, deed, now())?.sign(key)?;
        Ok(self.core()?.request(username, deed, Some(&intent))?)
    }
}

fn class(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.error_code())
}
