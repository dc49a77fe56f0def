//! One-time tokens as an instance makes them, and the proof with which a browser redeems one
//! (protocol, section 7).

use serde_json::{Value, json};

use crate::signer::{Algorithm, BrowserKey, Intent, Projection};
use crate::{Fault, jws};

/// `typ` of a token.
pub const TOKEN_TYP: &str = "ucloud-session+jwt";
/// How long after its issue a token can be redeemed, in seconds.
pub const TOKEN_LIFETIME_S: i64 = 60;
/// The call of a proof that opens a session.
pub const OPEN: &str = "session.open";
/// The call of a proof that continues a session.
pub const CONTINUE: &str = "session.continue";

/// The key with which a user's instance signs tokens.
#[derive(Clone, Debug)]
pub struct InstanceKey(BrowserKey);

impl InstanceKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`Fault::Key`] if no key can be made.
    pub fn make() -> Result<Self, Fault> {
        BrowserKey::make(Algorithm::Es256).map(Self)
    }

    /// The public key as SubjectPublicKeyInfo in standard base64.
    ///
    /// # Errors
    /// [`Fault::Key`] if the library cannot write it.
    pub fn public_spki(&self) -> Result<String, Fault> {
        self.0.public_spki().map(|spki| jws::base64(&spki))
    }

    /// Makes a token. `alter` can change header and claims before the signature.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn token(
        &self,
        aud: &str,
        username: &str,
        call: &str,
        now: i64,
        alter: impl FnOnce(&mut Value, &mut Value),
    ) -> Result<String, Fault> {
        let mut header = json!({"alg": "ES256", "typ": TOKEN_TYP});
        let mut claims = json!({
            "aud": aud, "username": username, "call": call, "params": jws::base64url(&jws::sha256(b"an item")),
            "jti": jws::random(16)?, "iat": now, "exp": now.saturating_add(TOKEN_LIFETIME_S),
        });
        alter(&mut header, &mut claims);
        jws::compact(header.to_string().as_bytes(), claims.to_string().as_bytes(), |input| self.0.sign(input))
    }
}

/// A piece of a file, as its request declares it.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The offset of the first byte in the file.
    pub offset: i64,
    /// The content.
    pub bytes: &'a [u8],
    /// The size of the whole file.
    pub total: i64,
}

impl Piece<'_> {
    /// The value of `Content-Digest`.
    #[must_use]
    pub fn content_digest(&self) -> String {
        format!("sha-256=:{}:", jws::base64(&jws::sha256(self.bytes)))
    }
}

/// The projection of a proof's one item. `enc` is the encapsulated key of a sealed session.
#[must_use]
pub fn projection(token: &str, piece: Option<&Piece<'_>>, enc: Option<&str>) -> Projection {
    let number = |number: Option<i64>| number.map_or(Value::Null, Value::from);
    let size = piece.and_then(|piece| i64::try_from(piece.bytes.len()).ok());
    let mut members = vec![
        ("token", json!(jws::base64url(&jws::sha256(token.as_bytes())))),
        ("offset", number(piece.map(|piece| piece.offset))),
        ("size", number(size)),
        ("total", number(piece.map(|piece| piece.total))),
        ("digest", json!(piece.map(|piece| jws::base64url(&jws::sha256(piece.bytes))))),
    ];
    members.extend(enc.map(|enc| ("enc", json!(enc))));
    Projection::new(members)
}

/// Makes the proof with which the user's browser redeems a token.
///
/// # Errors
/// [`Fault::Json`] or [`Fault::Key`] if it cannot be made.
pub fn proof(
    aud: &str,
    username: &str,
    call: &str,
    token: &str,
    piece: Option<&Piece<'_>>,
    now: i64,
) -> Result<Intent, Fault> {
    Intent::new(aud, username, call, &[projection(token, piece, None)], now)
}

/// Makes the proof with which the user's browser redeems a token and seals the session.
///
/// # Errors
/// [`Fault::Json`] or [`Fault::Key`] if it cannot be made.
pub fn sealed_proof(
    aud: &str,
    username: &str,
    token: &str,
    piece: Option<&Piece<'_>>,
    enc: &str,
    now: i64,
) -> Result<Intent, Fault> {
    Intent::new(aud, username, OPEN, &[projection(token, piece, Some(enc))], now)
}
