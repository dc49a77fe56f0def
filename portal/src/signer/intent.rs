//! Intents and proofs of possession, built as the protocol says and open to alteration before they
//! are signed.

use serde_json::{Map, Value, json};

use crate::core::Deed;
use crate::signer::BrowserKey;
use crate::{Fault, jws};

/// `typ` of an intent of version 2.
pub const INTENT_TYP: &str = "ucloud-intent+jwt";
/// `typ` of an enrolment proof.
pub const PROOF_TYP: &str = "ucloud-enrol+jwt";
/// `typ` of a renewal's proof.
const RENEWAL_TYP: &str = "ucloud-renew+jwt";
/// Lifetime of an intent in seconds. Providers allow up to 60 s.
pub const LIFETIME_S: i64 = 30;
/// Length of a `jti`, in bytes.
const JTI_BYTES: usize = 16;

/// The bound parameters of one item, as names and values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Projection(pub Vec<(String, Value)>);

impl Projection {
    /// Makes a projection from names and values.
    #[must_use]
    pub fn new<'n>(members: impl IntoIterator<Item = (&'n str, Value)>) -> Self {
        Self(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The JSON object that is digested.
    #[must_use]
    pub fn object(&self) -> Value {
        Value::Object(self.0.iter().cloned().collect::<Map<_, _>>())
    }

    fn script(&self) -> Option<String> {
        let script = self.0.iter().find(|(name, _)| name == "script");
        script.and_then(|(_, digest)| digest.as_str()).map(str::to_owned)
    }

    /// The digest that is signed: base64url of SHA-256 of the canonical JSON (RFC 8785).
    ///
    /// # Errors
    /// [`Fault::Json`] if a value has no canonical form.
    pub fn digest(&self) -> Result<String, Fault> {
        Ok(jws::base64url(&jws::sha256(&serde_jcs::to_vec(&self.object())?)))
    }
}

/// A user's statement: this call with these parameters, at this provider and time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Intent {
    /// The provider's origin.
    pub aud: String,
    /// The UCloud username.
    pub username: String,
    /// The project that the user acts in.
    pub project: Option<String>,
    /// The call's name.
    pub call: String,
    /// The time of signing, in seconds since 1970.
    pub iat: i64,
    /// The expiry, in seconds since 1970.
    pub exp: i64,
    /// The unique id of the intent.
    pub jti: String,
    /// The digests, one for each item.
    pub params: Vec<String>,
    /// Whether the signer states that it asked its user.
    pub asked: bool,
    /// The digest of a script, if an item has one: no request of Core carries it.
    pub script: Option<String>,
}

/// The last part of the names of calls that read, or that open a session. A signer does not ask its
/// user about them.
const UNASKED: [&str; 9] =
    ["browse", "continue", "createDownload", "follow", "list", "open", "preview", "retrieve", "streamingSearch"];

impl Intent {
    /// Makes the honest intent for a call with these items.
    ///
    /// # Errors
    /// [`Fault::Json`] or [`Fault::Key`] if it cannot be made.
    pub fn new(aud: &str, username: &str, call: &str, items: &[Projection], now: i64) -> Result<Self, Fault> {
        Ok(Self {
            aud: aud.to_owned(),
            username: username.to_owned(),
            project: None,
            call: call.to_owned(),
            iat: now,
            exp: now.saturating_add(LIFETIME_S),
            jti: jws::random(JTI_BYTES)?,
            params: items.iter().map(Projection::digest).collect::<Result<_, _>>()?,
            // This user approves every question.
            asked: !call.rsplit('.').next().is_some_and(|last| UNASKED.contains(&last)),
            script: items.iter().find_map(Projection::script),
        })
    }

    /// Makes the honest intent for a deed.
    ///
    /// # Errors
    /// As [`Intent::new`].
    pub fn of(aud: &str, username: &str, deed: &Deed, now: i64) -> Result<Self, Fault> {
        Self::new(aud, username, deed.call(), &deed.projections(), now)
    }

    /// The header and the claims that `key` will sign.
    #[must_use]
    pub fn draft(&self, key: &BrowserKey) -> Draft {
        let draft = Draft {
            header: json!({"alg": key.algorithm().name(), "kid": key.kid(), "typ": INTENT_TYP}),
            claims: json!({
                "aud": self.aud, "username": self.username, "project": self.project, "call": self.call,
                "iat": self.iat, "exp": self.exp, "jti": self.jti, "params": self.params,
            }),
        };
        let draft = if self.asked { draft.with_claim("asked", json!(true)) } else { draft };
        self.script.iter().fold(draft, |draft, script| draft.with_claim("script", json!(script)))
    }

    /// Signs the intent.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn sign(&self, key: &BrowserKey) -> Result<String, Fault> {
        self.draft(key).sign(key)
    }
}

/// An unsigned JWS. Every member can be changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Draft {
    /// The protected header.
    pub header: Value,
    /// The claims.
    pub claims: Value,
}

impl Draft {
    /// Returns the draft with this header member set.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: Value) -> Self {
        set(&mut self.header, name, Some(value));
        self
    }

    /// Returns the draft without this header member.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        set(&mut self.header, name, None);
        self
    }

    /// Returns the draft with this claim set.
    #[must_use]
    pub fn with_claim(mut self, name: &str, value: Value) -> Self {
        set(&mut self.claims, name, Some(value));
        self
    }

    /// Returns the draft without this claim.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        set(&mut self.claims, name, None);
        self
    }

    /// The header's JSON text.
    #[must_use]
    pub fn header_text(&self) -> String {
        self.header.to_string()
    }

    /// The claims' JSON text.
    #[must_use]
    pub fn claims_text(&self) -> String {
        self.claims.to_string()
    }

    /// Signs the draft without further changes.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn sign(&self, key: &BrowserKey) -> Result<String, Fault> {
        sign_text(&self.header_text(), &self.claims_text(), key)
    }
}

/// Signs any two texts correctly.
///
/// # Errors
/// [`Fault::Key`] if signing fails.
pub fn sign_text(header: &str, claims: &str, key: &BrowserKey) -> Result<String, Fault> {
    jws::compact(header.as_bytes(), claims.as_bytes(), |input| key.sign(input))
}

fn set(object: &mut Value, name: &str, value: Option<Value>) {
    if let Some(members) = object.as_object_mut() {
        match value {
            Some(value) => members.insert(name.to_owned(), value),
            None => members.remove(name),
        };
    }
}

/// The intent that UCloud's own frontend signed: without key id, audience and parameters.
#[must_use]
pub fn intent_version_1(username: &str, project: Option<&str>, call: &str, now: i64) -> Draft {
    Draft {
        header: json!({"typ": "JWT", "alg": "RS256"}),
        claims: json!({
            "iat": now, "exp": now.saturating_add(LIFETIME_S),
            "call": call, "username": username, "project": project,
        }),
    }
}

/// The proof that this browser holds the offered key.
#[must_use]
pub fn enrolment_proof(key: &BrowserKey, aud: &str, ticket: &str, username: &str, nonce: &str) -> Draft {
    Draft {
        header: json!({"alg": key.algorithm().name(), "typ": PROOF_TYP}),
        claims: json!({"aud": aud, "ticket": ticket_hash(ticket), "username": username, "nonce": nonce}),
    }
}

/// The proof that this browser holds `key`, which replaces the user's key `old_kid`.
#[must_use]
pub fn renewal_proof(key: &BrowserKey, aud: &str, username: &str, old_kid: &str) -> Draft {
    Draft {
        header: json!({"alg": key.algorithm().name(), "typ": RENEWAL_TYP}),
        claims: json!({"aud": aud, "username": username, "kid": old_kid}),
    }
}

/// base64url of SHA-256 of the ticket's 32 bytes.
#[must_use]
pub fn ticket_hash(ticket: &str) -> String {
    let bytes = jws::from_base64url(ticket).unwrap_or_else(|_| ticket.as_bytes().to_vec());
    jws::base64url(&jws::sha256(&bytes))
}

/// A *tree* parameter as it is signed: without the zero values that Go cannot tell from absent
/// ones, at every depth.
#[must_use]
pub fn tree(mut value: Value) -> Value {
    drop_zeros(&mut value);
    if is_zero(&value) { Value::Null } else { value }
}

fn drop_zeros(tree: &mut Value) {
    match tree {
        Value::Object(members) => {
            for member in members.values_mut() {
                drop_zeros(member);
            }
            members.retain(|_, member| !is_zero(member));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_zeros),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}
